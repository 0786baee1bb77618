"""A worker that is killed at a chosen instant, as by kill -9; no part of the product is replaced.

Only what a worker wrote to Redis and sent to the vendors survives it. Its Redis client counts the round
trips. A recorded run (`RecordedRun`) lists the round trips before or after which something had been written
or sent since the previous one. A kill between two of these instants has the same effect, so they are all that
need a test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis

from receiver.app.services import build_services
from receiver.app.worker import build_reconcilers
from receiver.engine.queue import LEASE_S
from receiver.storage.connection import Client, connect
from tests.rig import Rig
from tests.script_clocks import SHARED_CLOCK
from tests.simulation import connections as lines

# Until the leases of the killed worker have expired and the waiting work is done.
RECOVERS_IN_S = LEASE_S + 2.0


class Killed(BaseException):
    """Raised to kill the worker in the middle of its work."""


@dataclass(frozen=True)
class KillPoint:
    """The instant before or after a round trip to Redis: its number and its name."""

    trip: int
    what: str
    is_after: bool

    def __str__(self) -> str:
        return f"{'after' if self.is_after else 'before'} round trip {self.trip}, {self.what}"


class CountingRedis(lines.SimulatedRedis):
    """A Redis client that calls `on_round_trip` before and after each round trip."""

    on_round_trip: Callable[[KillPoint], None]
    trips = 0

    def run_round_trip(self, calls: list[lines.Args], do: Callable[[], Any]) -> Any:
        what = lines.name_trip(calls)
        if what == "look":  # the rig itself asks what is due; a worker does not
            return do()
        self.trips += 1
        number = self.trips
        self.on_round_trip(KillPoint(number, what, is_after=False))
        answer = do()
        self.on_round_trip(KillPoint(number, what, is_after=True))
        return answer


class CrashingWorker:
    """The worker of a rig; it is killed at each instant for which *should_die* returns true, then replaced."""

    def __init__(self, rig: Rig, should_die: Callable[[KillPoint], bool] = lambda _: False) -> None:
        self.rig = rig
        self.deaths: list[KillPoint] = []
        self._should_die = should_die
        url = rig.services.settings.redis_url.reveal()
        client: CountingRedis = CountingRedis.from_pool(redis.ConnectionPool.from_url(url, protocol=2))
        client.on_round_trip = self._on_round_trip
        rig.services = build_services(
            rig.services.settings,
            rig.services.routing,
            rig.clock,
            client=client,
            script_clock=SHARED_CLOCK,
            storms_after_s=rig.storms_after_s,
        )
        rig.reconcilers = build_reconcilers(rig.services)

    def _on_round_trip(self, instant: KillPoint) -> None:
        if self._should_die(instant):
            self.deaths.append(instant)
            raise Killed

    def passes(self, seconds: float) -> None:
        """Advance the clock by *seconds*; after a kill at least until the leases have expired."""
        end = self.rig.clock() + seconds
        while (remaining := end - self.rig.clock()) > 0:
            try:
                self.rig.passes(f"{math.ceil(remaining * 1000)}ms")
            except Killed:
                self.rig.reconcilers = build_reconcilers(self.rig.services)
                end = max(end, self.rig.clock() + RECOVERS_IN_S)


class RecordedRun:
    """Records the instants at which a kill would leave another state behind than at the instant before.

    Instants right after a claim or a release are left out: the claim leaves only a lease, as every later
    instant of the same work does, and the release leaves nothing to do.
    """

    def __init__(self, rig: Rig) -> None:
        self.instants: list[KillPoint] = []
        self._rig = rig
        self._observer: Client = connect(rig.services.settings.redis_url.reveal())
        self._last_effects = self._observe_effects()

    def __call__(self, instant: KillPoint) -> bool:
        effects = self._observe_effects()
        if effects != self._last_effects:
            self._last_effects = effects
            if instant.what not in ("claim", "release"):
                self.instants.append(instant)
        return False

    def _observe_effects(self) -> tuple[int, ...]:
        """Return counters that grow with everything that is written or sent."""
        written = self._observer.info("persistence")["rdb_changes_since_last_save"]
        return written, len(self._rig.slack.calls), len(self._rig.pagerduty.requests)
