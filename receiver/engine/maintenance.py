"""The maintenance switch: begun and ended at somebody's word, and told to whom it concerns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Protocol

from msgspec.structs import replace

from receiver.domain.incident import Incident
from receiver.domain.maintenance import Maintenance
from receiver.domain.person import Person
from receiver.domain.policy import PAGERDUTY, SLACK
from receiver.engine.duties import LANE, Agenda

DUTY = "maintenance"
_LOOK_EVERY_S = 60.0

# What takes a notice: its id, by which it is said once, its text, and the moment.
Say = Callable[[str, str, float], None]


class Store(Protocol):
    """Where the switch is kept; every method may raise StoreError."""

    def find_latest(self) -> Maintenance | None: ...
    def find(self, now: float) -> Maintenance | None: ...
    def keep(self, maintenance: Maintenance, now: float) -> None: ...
    def find_told(self) -> str: ...
    def note_told(self, name: str) -> None: ...


class OpenIncidents(Protocol):
    """Where open incidents are listed."""

    def list_open(self) -> Iterator[Incident]: ...


class Switch:
    """Begins and ends maintenance. Raises StoreError; both are harmless the second time."""

    def __init__(self, store: Store, agenda: Agenda) -> None:
        self._store = store
        self._agenda = agenda

    def begin(self, by: Person, until: float, comment: str, now: float) -> Maintenance:
        """Page nobody from *now* to *until*, in place of any maintenance there is."""
        begun = Maintenance(since=now, until=until, by=by.name, comment=comment)
        self._store.keep(begun, now)
        self._agenda.put(LANE, DUTY, now)
        return begun

    def end(self, by: Person, now: float) -> None:
        """End it before its time."""
        found = self._store.find(now)
        if found is not None:
            self._store.keep(replace(found, ended_at=now, ended_by=by.name), now)
        # Even where it was over already: whoever ended it may have been cut off here.
        self._agenda.put(LANE, DUTY, now)


class MaintenanceWatch:
    """Has every incident looked at when maintenance begins or ends, and says so once."""

    def __init__(self, store: Store, incidents: OpenIncidents, agenda: Agenda, say: Say) -> None:
        self._store = store
        self._incidents = incidents
        self._agenda = agenda
        self._say = say

    def work(self, now: float) -> float:
        """Tell what is new; return when to look again. What is told twice changes nothing."""
        latest = self._store.find_latest()
        if latest is None:
            return now + _LOOK_EVERY_S
        name = latest.name(now)
        if name != self._store.find_told():
            self._wake_all(now)
            self._say(f"maintenance-{name}", tell(latest, now), now)
            self._store.note_told(name)
        return min(latest.until, now + _LOOK_EVERY_S) if latest.is_in_force(now) else now + _LOOK_EVERY_S

    def _wake_all(self, now: float) -> None:
        for incident in self._incidents.list_open():
            if incident.policy:
                for lane in (SLACK, PAGERDUTY):
                    self._agenda.put(lane, incident.id, now)


def tell(maintenance: Maintenance, now: float) -> str:
    """Return how it stands in a sentence, for people of any time zone."""
    if not maintenance.is_in_force(now):
        by = f", ended by {maintenance.ended_by}" if maintenance.ended_by else ""
        return f"Maintenance is over{by}: paging goes on"
    until = dt.datetime.fromtimestamp(maintenance.until, dt.UTC)
    why = f" ({maintenance.comment})" if maintenance.comment else ""
    return f"Maintenance by {maintenance.by} until {until:%Y-%m-%d %H:%M} UTC{why}: nobody is paged"
