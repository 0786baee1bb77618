"""Runs schedules, one per seed, on one Valkey, and collects the violations."""

from __future__ import annotations

import logging
import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

from receiver.config.routing_loader import load_routing
from receiver.config.settings import load_settings
from tests.rig import KEYS, ROUTING
from tests.sampling import Budget
from tests.simulation.connections import load_scripts, open_redis
from tests.simulation.invariants import count_doubled, find_violations
from tests.simulation.world import Scenario
from tests.valkey import run_valkey


@dataclass
class SimulationReport:
    """The results of some schedules."""

    schedules: int = 0
    effects: int = 0
    kills: int = 0
    pages: int = 0
    said: int = 0
    doubled: int = 0
    broken: dict[int, str] = field(default_factory=dict)  # by seed: the violations and the trace

    def merge(self, other: SimulationReport) -> None:
        for name in ("schedules", "effects", "kills", "pages", "said", "doubled"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.broken |= other.broken

    def __str__(self) -> str:
        return (
            f"{self.schedules} schedules: {self.effects} effects, {self.kills} kills, {self.pages} pages, "
            f"{self.said} things said in Slack, {self.doubled} of them doubled, {len(self.broken)} broken"
        )


class SimulationEnv:
    """What all schedules share: the connection to Valkey and the configuration."""

    def __init__(self, folder: Path, url: str) -> None:
        environ = {"REDIS_URL": url, "SLACK_BOT_TOKEN": "xoxb-test", **KEYS}
        (folder / "runbooks").mkdir(exist_ok=True)
        (folder / "routing.yaml").write_text(ROUTING.replace("runbooks: [runbooks/]\n", ""))
        self._settings = load_settings(environ)
        # One configuration for each responder, in which its routing key is changed.
        changes = ({}, *({name: "1" * 31 + key[-1]} for name, key in KEYS.items()))
        self._routings = [load_routing(folder / "routing.yaml", environ | change) for change in changes]
        self._redis, self._observer = open_redis(url)
        load_scripts(self._observer)  # else the first schedule would differ when it is run again

    def close(self) -> None:
        self._observer.flushall()
        self._redis.connection_pool.disconnect()
        self._observer.close()

    def run_scenario(self, seed: int) -> tuple[Scenario, list[str]]:
        """Run one schedule; return its scenario and the violations."""
        self._observer.flushall()
        scenario = Scenario(seed, self._redis, self._observer, self._settings, self._routings)
        try:
            scenario.run()
        except Exception as error:  # noqa: BLE001  whatever it is, the product raised it
            faults = [f"{type(error).__name__}: {error}", *traceback.format_exception(error)]
            scenario.scheduler.abandon()
            return scenario, faults
        faults = find_violations(scenario)
        if scenario.fault_rates.is_calm and count_doubled(scenario)[1]:
            faults.append("doubled in Slack though nothing went wrong")
        scenario.scheduler.abandon()
        return scenario, faults

    def run_scenarios(self, seeds: Iterable[int]) -> SimulationReport:
        found = SimulationReport()
        logging.disable(logging.CRITICAL)  # thousands of intended failures
        try:
            for seed in seeds:
                scenario, faults = self.run_scenario(seed)
                messages, doubled = count_doubled(scenario)
                one = SimulationReport(
                    1,
                    scenario.scheduler.number,
                    scenario.kills,
                    len(scenario.pager.account.opened()),
                    messages,
                    doubled,
                )
                if faults:
                    one.broken[seed] = "\n".join(faults) + "\n" + scenario.scheduler.describe()
                found.merge(one)
        finally:
            logging.disable(logging.NOTSET)
        return found


def run_all(seeds: range, budget: Budget) -> SimulationReport:
    """Run schedules on all processors, each process with its own Valkey."""
    found = SimulationReport()
    processes = min(os.cpu_count() or 1, len(seeds), 4)
    spawn = multiprocessing.get_context(
        "spawn"
    )  # greenlets and sockets of this process must not be inherited
    with ProcessPoolExecutor(processes, spawn) as pool:
        parts = [seeds[n::processes] for n in range(processes)]
        for part in pool.map(_run_isolated, parts, repeat(budget)):
            found.merge(part)
    return found


def _run_isolated(seeds: range, budget: Budget) -> SimulationReport:
    with tempfile.TemporaryDirectory(prefix="rcv-") as folder, run_valkey() as url:
        return SimulationEnv(Path(folder), url).run_scenarios(budget.limit(seeds))
