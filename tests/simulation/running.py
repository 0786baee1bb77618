"""Running schedules: one seed each, on one Valkey, with what they found."""

from __future__ import annotations

import logging
import multiprocessing
import os
import tempfile
import traceback
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from receiver.config.load import load_settings
from receiver.config.routing import load_routing
from receiver.store.embedded import EmbeddedValkey
from tests.rig import KEYS, ROUTING
from tests.simulation.invariants import count_doubled, find_faults
from tests.simulation.lines import load_scripts, open_line
from tests.simulation.world import World


@dataclass
class Found:
    """What became of some schedules."""

    schedules: int = 0
    effects: int = 0
    kills: int = 0
    pages: int = 0
    said: int = 0
    doubled: int = 0
    broken: dict[int, str] = field(default_factory=dict)  # by seed: what was broken, and the trace

    def add(self, other: Found) -> None:
        for name in ("schedules", "effects", "kills", "pages", "said", "doubled"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.broken |= other.broken

    def __str__(self) -> str:
        return (
            f"{self.schedules} schedules: {self.effects} effects, {self.kills} kills, {self.pages} pages, "
            f"{self.said} things said in Slack, {self.doubled} of them doubled, {len(self.broken)} broken"
        )


class Theatre:
    """What all schedules share: the line to Valkey and the configuration."""

    def __init__(self, folder: Path, url: str) -> None:
        environ = {"REDIS_URL": url, "SLACK_BOT_TOKEN": "xoxb-test", **KEYS}
        (folder / "runbooks").mkdir(exist_ok=True)
        (folder / "routing.yaml").write_text(ROUTING.replace("runbooks: [runbooks/]\n", ""))
        self._settings = load_settings(environ)
        # With one responder's key changed in each.
        changes = ({}, *({name: "1" * 31 + key[-1]} for name, key in KEYS.items()))
        self._routings = [load_routing(folder / "routing.yaml", environ | change) for change in changes]
        self._line, self._beside = open_line(url)
        load_scripts(self._beside)  # or the first schedule would be another one than when it is played again

    def close(self) -> None:
        self._beside.flushall()
        self._line.connection_pool.disconnect()
        self._beside.close()

    def play(self, seed: int) -> tuple[World, list[str]]:
        """Play one schedule; return its world and the promises broken in it."""
        self._beside.flushall()
        world = World(seed, self._line, self._beside, self._settings, self._routings)
        try:
            world.play()
        except Exception as error:  # noqa: BLE001  whatever it is, the product raised it
            faults = [f"{type(error).__name__}: {error}", *traceback.format_exception(error)]
            world.stage.abandon()
            return world, faults
        faults = find_faults(world)
        if world.perils.is_calm and count_doubled(world)[1]:
            faults.append("doubled in Slack though nothing went wrong")
        world.stage.abandon()
        return world, faults

    def run(self, seeds: range) -> Found:
        found = Found()
        logging.disable(logging.CRITICAL)  # thousands of failures that are meant to be
        try:
            for seed in seeds:
                world, faults = self.play(seed)
                said, doubled = count_doubled(world)
                one = Found(
                    1, world.stage.number, world.kills, len(world.pager.account.opened()), said, doubled
                )
                if faults:
                    one.broken[seed] = "\n".join(faults) + "\n" + world.stage.describe()
                found.add(one)
        finally:
            logging.disable(logging.NOTSET)
        return found


def play_all(seeds: range) -> Found:
    """Play schedules on all processors, each with a Valkey of its own."""
    found = Found()
    processes = min(os.cpu_count() or 1, len(seeds), 4)
    spawn = multiprocessing.get_context("spawn")  # greenlets and sockets of this process are not for others
    with ProcessPoolExecutor(processes, spawn) as pool:
        for part in pool.map(_play_alone, [seeds[n::processes] for n in range(processes)]):
            found.add(part)
    return found


def _play_alone(seeds: range) -> Found:
    with tempfile.TemporaryDirectory(prefix="rcv-") as folder:
        server = EmbeddedValkey(Path(folder))
        process = server.start()
        try:
            server.wait_ready(process)
            return Theatre(Path(folder), server.url).run(seeds)
        finally:
            process.terminate()
            process.wait(10)
