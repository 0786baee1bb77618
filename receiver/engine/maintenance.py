"""The maintenance switch: begun and ended at somebody's word, and told to whom it concerns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Protocol

from msgspec.structs import replace

from receiver.domain.maintenance import Maintenance
from receiver.engine.duties import TaskQueue
from receiver.model.incident import Incident, Person
from receiver.model.routing import PAGERDUTY, SLACK
from receiver.storage.keys import TASKS

TASK_NAME = "maintenance"
_CHECK_EVERY_S = 60.0

# What takes a notice: its id, by which it is said once, its text, and the moment.
SendNotice = Callable[[str, str, float], None]


class MaintenanceStore(Protocol):
    """Where the switch is kept; every method may raise StoreError."""

    def find_latest(self) -> Maintenance | None: ...
    def find_active(self, now: float) -> Maintenance | None: ...
    def save(self, maintenance: Maintenance, now: float) -> None: ...
    def load_announced(self) -> str: ...
    def save_announced(self, name: str) -> None: ...


class OpenIncidentSource(Protocol):
    """Where open incidents are listed."""

    def list_open(self) -> Iterator[Incident]: ...


class MaintenanceService:
    """Begins and ends maintenance. Raises StoreError; both are harmless the second time."""

    def __init__(self, store: MaintenanceStore, work_queue: TaskQueue) -> None:
        self._store = store
        self._work_queue = work_queue

    def start(self, by: Person, until: float, comment: str, now: float) -> Maintenance:
        """Page nobody from *now* to *until*, in place of any maintenance there is."""
        maintenance = Maintenance(since=now, until=until, by=by.name, comment=comment)
        self._store.save(maintenance, now)
        self._work_queue.enqueue(TASKS, TASK_NAME, now)
        return maintenance

    def stop(self, by: Person, now: float) -> None:
        """End it before its time."""
        found = self._store.find_active(now)
        if found is not None:
            self._store.save(replace(found, ended_at=now, ended_by=by.name), now)
        # Even where it was over already: whoever ended it may have been cut off here.
        self._work_queue.enqueue(TASKS, TASK_NAME, now)


class MaintenanceTask:
    """Has every incident looked at when maintenance begins or ends, and says so once."""

    def __init__(
        self,
        store: MaintenanceStore,
        incidents: OpenIncidentSource,
        work_queue: TaskQueue,
        send_notice: SendNotice,
    ) -> None:
        self._store = store
        self._incidents = incidents
        self._work_queue = work_queue
        self._send_notice = send_notice

    def run(self, now: float) -> float:
        """Tell what is new; return when to look again. What is told twice changes nothing."""
        latest = self._store.find_latest()
        if latest is None:
            return now + _CHECK_EVERY_S
        name = latest.name(now)
        if name != self._store.load_announced():
            self._enqueue_open_incidents(now)
            self._send_notice(f"maintenance-{name}", describe_maintenance(latest, now), now)
            self._store.save_announced(name)
        return min(latest.until, now + _CHECK_EVERY_S) if latest.is_in_force(now) else now + _CHECK_EVERY_S

    def _enqueue_open_incidents(self, now: float) -> None:
        for incident in self._incidents.list_open():
            if incident.policy:
                for queue in (SLACK, PAGERDUTY):
                    self._work_queue.enqueue(queue, incident.id, now)


def describe_maintenance(maintenance: Maintenance, now: float) -> str:
    """Return how it stands in a sentence, for people of any time zone."""
    if not maintenance.is_in_force(now):
        by = f", ended by {maintenance.ended_by}" if maintenance.ended_by else ""
        return f"Maintenance is over{by}: paging goes on"
    until = dt.datetime.fromtimestamp(maintenance.until, dt.UTC)
    why = f" ({maintenance.comment})" if maintenance.comment else ""
    return f"Maintenance by {maintenance.by} until {until:%Y-%m-%d %H:%M} UTC{why}: nobody is paged"
