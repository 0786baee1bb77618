"""The open incidents, in memory: what lists sort, filter and count by.

Redis has a log of changes, so each reading costs one round trip and what changed since the one before.
"""

from __future__ import annotations

from operator import attrgetter
from sys import intern
from threading import Lock

from msgspec import Struct

from receiver.incidents.store import RedisIncidents
from receiver.model.alert import Severity
from receiver.model.incident import Incident


class OpenIncident(Struct, frozen=True, gc=False):
    """An open incident; a changed one is another object. *urgency* is its rank in lists, see `urgency_of`."""

    id: str
    severity: Severity
    alertname: str
    route: str
    policy: str
    is_acknowledged: bool
    stale_at: float
    urgency: float
    unknown_severities: tuple[str, ...]

    @property
    def state(self) -> str:
        """`acknowledged` or `open`."""
        return "acknowledged" if self.is_acknowledged else "open"


def urgency_of(incident: Incident) -> float:
    """Return the rank of an incident in lists, lower for what comes first: unacknowledged incidents before
    acknowledged and resolved ones, then by severity, then the oldest first.
    """
    state = 4 * incident.is_resolved + 2 * incident.is_acknowledged + incident.is_paused
    return (8 * state - incident.severity.rank) * 1e10 + incident.opened_at


class OpenIncidents:
    """Keeps the open incidents of Redis in memory. Threads may share it. Raises StoreError."""

    def __init__(self, incidents: RedisIncidents) -> None:
        self._incidents = incidents
        self._lock = Lock()
        self._positions: list[str] = []
        self._by_id: dict[str, OpenIncident] = {}
        self._ordered: tuple[OpenIncident, ...] = ()

    def list_all(self) -> tuple[OpenIncident, ...]:
        """Return all open incidents, the most urgent first; the same tuple until one of them changes."""
        with self._lock:
            found = self._incidents.list_changes(self._positions) if self._positions else None
            if found is None:
                self._load_all()
            elif found[0]:
                self._update_changed(found[0])
                self._positions = found[1]
            return self._ordered

    def _load_all(self) -> None:
        positions = self._incidents.find_last_changes()
        self._by_id = {one.id: _summarize_incident(one) for one in self._incidents.list_open(is_brief=True)}
        self._positions = positions
        self._sort_incidents()

    def _update_changed(self, changed: list[str]) -> None:
        heads = self._incidents.load_heads(changed, is_brief=True)
        for incident_id in changed:
            head = heads.get(incident_id)
            if head is None or head.is_resolved:
                self._by_id.pop(incident_id, None)
            else:
                self._by_id[incident_id] = _summarize_incident(head)
        self._sort_incidents()

    def _sort_incidents(self) -> None:
        # The next sort is of a dict that is nearly in order, which takes a fraction of the time.
        self._ordered = tuple(sorted(self._by_id.values(), key=attrgetter("urgency", "id")))
        self._by_id = {one.id: one for one in self._ordered}


def _summarize_incident(incident: Incident) -> OpenIncident:
    return OpenIncident(
        id=incident.id,
        severity=incident.severity,
        alertname=intern(incident.alertname),
        route=intern(incident.route),
        policy=intern(incident.policy),
        is_acknowledged=incident.is_acknowledged,
        stale_at=incident.stale_at,
        urgency=urgency_of(incident),
        unknown_severities=incident.unknown_severities,
    )
