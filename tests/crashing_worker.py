"""A worker that dies at a chosen instant, as by kill -9; nothing of the product is replaced for that.

What a worker leaves behind is what it wrote to Redis and what it sent. All it does in Redis goes by a line that
counts round trips, and a rehearsal notes those before or after which something had been written or sent since
the last: between two such instants a death leaves the same behind, so these are all there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis

from receiver.app.services import build_services
from receiver.app.worker import build_worker_services
from receiver.engine.queue import LEASE_S
from receiver.storage.connection import Client, connect
from tests.moments import SHARED_CLOCK
from tests.rig import Rig
from tests.simulation import connections as lines

# Until the leases of a killed worker expire, and what waited for them is done.
RECOVERS_IN_S = LEASE_S + 2.0


class Killed(BaseException):
    """What happens to a process in the middle of a line."""


@dataclass(frozen=True)
class KillPoint:
    """Before or after a round trip to Redis: its number, and what it does there."""

    trip: int
    what: str
    is_after: bool

    def __str__(self) -> str:
        return f"{'after' if self.is_after else 'before'} round trip {self.trip}, {self.what}"


class CountingRedis(lines.SimulatedRedis):
    """A client that tells of each round trip, before and after."""

    on_round_trip: Callable[[KillPoint], None]
    trips = 0

    def run_round_trip(self, calls: list[lines.Args], do: Callable[[], Any]) -> Any:
        what = lines.name_trip(calls)
        if what == "look":  # by which the rig finds out what is due: no worker's doing
            return do()
        self.trips += 1
        number = self.trips
        self.on_round_trip(KillPoint(number, what, is_after=False))
        answer = do()
        self.on_round_trip(KillPoint(number, what, is_after=True))
        return answer


class CrashingWorker:
    """The worker of a rig; wherever *dies* says so it dies, and another goes on."""

    def __init__(self, rig: Rig, dies: Callable[[KillPoint], bool] = lambda _: False) -> None:
        self.rig = rig
        self.deaths: list[KillPoint] = []
        self._should_die = dies
        url = rig.services.settings.redis_url.reveal()
        line: CountingRedis = CountingRedis.from_pool(redis.ConnectionPool.from_url(url, protocol=2))
        line.on_round_trip = self._on_round_trip
        rig.services = build_services(
            rig.services.settings,
            rig.services.routing,
            rig.clock,
            client=line,
            moments=SHARED_CLOCK,
            storms_after_s=rig.storms_after_s,
        )
        rig.worker_services = build_worker_services(rig.services)

    def _on_round_trip(self, instant: KillPoint) -> None:
        if self._should_die(instant):
            self.deaths.append(instant)
            raise Killed

    def passes(self, seconds: float) -> None:
        """Let time pass, and after a death at least as much as it may cost."""
        end = self.rig.clock() + seconds
        while (left := end - self.rig.clock()) > 0:
            try:
                self.rig.passes(f"{math.ceil(left * 1000)}ms")
            except Killed:
                self.rig.worker_services = build_worker_services(self.rig.services)
                end = max(end, self.rig.clock() + RECOVERS_IN_S)


class RecordedRun:
    """Records the instants at which a kill leaves another state behind than at the instant before.

    Those right after a claim and after a release are left out: the one leaves only a lease, as every instant
    of the work that follows does, the other leaves nothing that waits.
    """

    def __init__(self, rig: Rig) -> None:
        self.instants: list[KillPoint] = []
        self._rig = rig
        self._observer: Client = connect(rig.services.settings.redis_url.reveal())
        self._left = self._observe_effects()

    def __call__(self, instant: KillPoint) -> bool:
        left = self._observe_effects()
        if left != self._left:
            self._left = left
            if instant.what not in ("claim", "release"):
                self.instants.append(instant)
        return False

    def _observe_effects(self) -> tuple[int, ...]:
        """Return what counts up with everything that is written or sent."""
        written = self._observer.info("persistence")["rdb_changes_since_last_save"]
        return written, len(self._rig.slack.calls), len(self._rig.pagerduty.requests)
