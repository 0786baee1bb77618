"""The connection to a real Valkey in the simulation: each round trip is an effect, and may fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import redis

from receiver.storage.client import Command, ServerClient
from receiver.storage.connection import Client, read_script, read_scripts
from tests.rig import QUEUES
from tests.simulation.scheduler import NEVER, Scheduler, pick_by_chance

TEXTS = {name: read_script(name) for name in (*read_scripts(), "record+release") if name != "_join"}
SCRIPTS = {digest: name for name, (_, digest) in TEXTS.items()}
Args = tuple[Any, ...]


class SimulatedRedis(ServerClient):
    """A Redis client whose round trips are effects of the scheduler."""

    scheduler: Scheduler
    chances: dict[str, float]  # probabilities of refused, lost, twice
    on_change: Callable[[list[str]], None]  # called with the group keys of the scripts that ran

    def run_commands(self, commands: Sequence[Command], raise_on_error: bool = True) -> list[Any]:
        run = super().run_commands
        answers: list[Any] = self.run_round_trip(
            [args for args, _ in commands], lambda: run(commands, raise_on_error)
        )
        return answers

    def run_round_trip(self, calls: list[Args], do: Callable[[], Any]) -> Any:
        """Run one round trip; if the seed says so, it fails before or after it takes effect."""
        name = name_trip(calls)
        actor = self.scheduler.wait_for_turn(name)
        fate = "" if actor is None else pick_by_chance(self.scheduler.rng, self.chances)
        if fate == "refused":
            self.scheduler.add_trace(f"{name}: refused")
            raise redis.ConnectionError("the line was cut before")
        answer = do()
        if fate == "twice":  # the answer was lost, so the client repeats the command once
            self.scheduler.add_trace(f"{name}: done twice")
            answer = do()
        self._wake_actors(calls)
        if fate == "lost":
            self.scheduler.add_trace(f"{name}: the answer is lost")
            raise redis.TimeoutError("the line was cut after")
        return answer

    def _wake_actors(self, calls: list[Args]) -> None:
        for call in calls:
            script = SCRIPTS.get(call[1]) if call[0] == "EVALSHA" else None
            if script in (None, "claim", "renew", "due", "reschedule", "queue_depth"):
                continue
            for queue, due in find_wakes(call):
                self.scheduler.wake(queue, due)
            if script == "commit":
                self.on_change([key for key in call[3 : 3 + int(call[2])] if ":incident:" in key])


def name_trip(calls: list[Args]) -> str:
    """Return the name of a round trip: the scripts it runs, and its other commands."""
    return ",".join(dict.fromkeys(_name(call) for call in calls))


def _name(call: Args) -> str:
    return SCRIPTS.get(call[1], "script") if call[0] == "EVALSHA" else str(call[0]).lower()


def find_wakes(call: Args) -> list[tuple[str, float]]:
    """Return the queues that a script wakes, with their due times; no time means at once."""
    wakes = []
    for before, text in pairwise(call):
        if text in QUEUES:
            due = 0.0
            if isinstance(before, str) and before not in QUEUES:
                due = _read_moment(before)
            wakes.append((text, due))
    return wakes


def _read_moment(text: str) -> float:
    try:
        return float(text) if text else NEVER
    except ValueError:
        return 0.0


def open_redis(url: str) -> tuple[SimulatedRedis, Client]:
    """Return a client for the actors, and a second one that observes the state and never fails."""
    # Without the product's own connection pool, in which waiting threads would switch: here is only one
    # thread.
    pools = (redis.ConnectionPool.from_url(url, protocol=2) for _ in range(2))
    return SimulatedRedis.from_pool(next(pools)), ServerClient.from_pool(next(pools))


def load_scripts(client: Client) -> None:
    """Load all scripts into the server, as happens soon after the start of the receiver."""
    for text, _ in TEXTS.values():
        client.script_load(text)
