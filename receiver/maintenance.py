"""Maintenance: a period without pages, started by a person; its store, service and periodic task."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from receiver.clock import to_datetime
from receiver.engine.queue import WorkQueue
from receiver.incidents.queries import RedisListing
from receiver.model.incident import Incident, Person
from receiver.model.plan import resolve_policy
from receiver.model.routing import PAGERDUTY, SLACK, EscalationPolicy, RoutingTable
from receiver.storage import keys
from receiver.storage.client import Command
from receiver.storage.connection import Client, raise_if_error, store_errors

LONGEST_S = 7 * 86400.0


class Maintenance(Struct, frozen=True, omit_defaults=True):
    """No pages are sent from `since` to `until`, unless a person ends it earlier."""

    since: float
    until: float
    by: str
    comment: str = ""
    ended_at: float = 0.0
    ended_by: str = ""

    def is_in_force(self, now: float) -> bool:
        """Return whether it is active at *now*; it starts when it is requested."""
        return not self.ended_at and now < self.until

    def format_state(self, now: float) -> str:
        """Return a short text that changes whenever a new announcement is due."""
        return f"{self.since:.3f}-{self.until:.3f}-{'on' if self.is_in_force(now) else 'over'}"


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Maintenance)


_MAX_POLICIES = 512


class MaintenancePolicies:
    """The escalation policies of *routing*; no pages are sent while a maintenance is active. Thread-safe."""

    read_maintenance: Command = (("GET", keys.MAINTENANCE), {})

    def __init__(self, routing: RoutingTable) -> None:
        self._routing = routing
        # A policy follows from few fields of an incident; to build it takes longer than a lookup.
        self._resolved: dict[tuple[object, ...], EscalationPolicy] = {}

    def resolve_policy(self, incident: Incident, maintenance: Any, now: float) -> EscalationPolicy:
        """Return the incident's policy; *maintenance* is the answer to `read_maintenance`, perhaps an error.

        Raises StoreError.
        """
        with store_errors():
            packed = raise_if_error(maintenance)
        latest = _decoder.decode(packed) if packed else None
        paused_until = latest.until if latest is not None and latest.is_in_force(now) else 0.0
        key = (incident.policy, incident.route, incident.source, paused_until)
        if (found := self._resolved.get(key)) is None:
            if len(self._resolved) >= _MAX_POLICIES:
                self._resolved.clear()
            found = self._resolved[key] = resolve_policy(self._routing, incident, paused_until)
        return found


@dataclass(frozen=True)
class RedisMaintenance:
    """Stores the latest maintenance. Every method raises StoreError when Redis is unavailable."""

    redis: Client

    def find_latest(self) -> Maintenance | None:
        """Return the latest maintenance, ended or not; None when it ended so long ago that it expired."""
        with store_errors():
            packed = self.redis.get(keys.MAINTENANCE)
        return _decoder.decode(packed) if packed else None

    def find_active(self, now: float) -> Maintenance | None:
        """Return the maintenance that is active at *now*, if any."""
        latest = self.find_latest()
        return latest if latest is not None and latest.is_in_force(now) else None

    def paused_until(self, now: float) -> float:
        """Return until when pages are paused; 0 when there is no maintenance."""
        found = self.find_active(now)
        return found.until if found is not None else 0.0

    def save_maintenance(self, maintenance: Maintenance, now: float) -> None:
        """Save it in place of the previous one, for a day longer than it lasts."""
        expires_in_s = math.ceil(max(0.0, maintenance.until - now)) + keys.MAINTENANCE_FOR_S
        with store_errors():
            self.redis.set(keys.MAINTENANCE, _encoder.encode(maintenance), ex=expires_in_s)


TASK_NAME = "maintenance"
# Starting and ending enqueue the task. It also runs by itself, as a process may be killed in between: each
# minute while pages are paused, since an end that was saved must take effect.
_CHECK_PAUSED_EVERY_S = 60.0
_CHECK_EVERY_S = 3600.0


@dataclass(frozen=True)
class MaintenanceService:
    """Starts and ends maintenance. Raises StoreError; both are harmless the second time."""

    store: RedisMaintenance
    work_queue: WorkQueue

    def start_maintenance(self, by: Person, until: float, comment: str, now: float) -> Maintenance:
        """Pause pages from *now* to *until*, replacing any current maintenance."""
        maintenance = Maintenance(since=now, until=until, by=by.name, comment=comment)
        self.store.save_maintenance(maintenance, now)
        self.work_queue.enqueue(keys.TASKS, TASK_NAME, now)
        return maintenance

    def end_maintenance(self, by: Person, now: float) -> None:
        """End the current maintenance, if any."""
        found = self.store.find_active(now)
        if found is not None:
            self.store.save_maintenance(replace(found, ended_at=now, ended_by=by.name), now)
        # Also where it had ended already: the earlier call may have failed before this line.
        self.work_queue.enqueue(keys.TASKS, TASK_NAME, now)


@dataclass(frozen=True)
class MaintenanceTask:
    """Enqueues every open incident when maintenance begins or ends, and saves one notice about it.

    *send_notice* takes the notice's ID, which makes it appear once, its text, and the time.
    """

    store: RedisMaintenance
    incidents: RedisListing
    work_queue: WorkQueue
    send_notice: Callable[[str, str, float], None]

    def announce_state(self, now: float) -> float:
        """Announce a new state; return when to run again. Announcing it twice changes nothing."""
        latest = self.store.find_latest()
        if latest is None:
            return now + _CHECK_EVERY_S
        state = latest.format_state(now)
        with store_errors():
            announced = self.store.redis.get(keys.MAINTENANCE_ANNOUNCED)
        if announced != state.encode():
            for incident in self.incidents.list_open(is_brief=True):
                for queue in (SLACK, PAGERDUTY) if incident.policy else ():
                    self.work_queue.enqueue(queue, incident.id, now)
            self.send_notice(f"maintenance-{state}", _describe_maintenance(latest, now), now)
            with store_errors():
                self.store.redis.set(keys.MAINTENANCE_ANNOUNCED, state, ex=keys.MAINTENANCE_ANNOUNCED_FOR_S)
        if latest.is_in_force(now):
            return min(latest.until, now + _CHECK_PAUSED_EVERY_S)
        return now + _CHECK_EVERY_S


def _describe_maintenance(maintenance: Maintenance, now: float) -> str:
    """Return the state in a sentence, with times in UTC."""
    if not maintenance.is_in_force(now):
        by = f", ended by {maintenance.ended_by}" if maintenance.ended_by else ""
        return f"Maintenance is over{by}: paging goes on"
    until = to_datetime(maintenance.until)
    why = f" ({maintenance.comment})" if maintenance.comment else ""
    return f"Maintenance by {maintenance.by} until {until:%Y-%m-%d %H:%M} UTC{why}: nobody is paged"
