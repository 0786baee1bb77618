"""Alerts that fire on another route than the configuration has for them now: it was changed meanwhile.

Such an alert stays in the incident in which it fires, so that a changed matcher, channel or order of routes
pages nobody again, and its end is heard there. What is new goes by the new routes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from receiver.errors import StoreError
from receiver.model.alert import Alert
from receiver.model.incident import Incident, VersionedIncident
from receiver.model.owners import is_firing_in
from receiver.model.routing import RouteSettings

# How long after the first time the store is asked again: other processes may still open incidents by the
# routes that they had before.
_REFRESH_AFTER_S = (0.0, 15.0, 60.0, 300.0)
# How often to see whether another thread has read what is open, and for how long: less than a webhook waits.
_WAIT_S, _WAITS = 0.01, 350

RoutedAlerts = tuple[RouteSettings, list[Alert]]


class OpenIncidentReader(Protocol):
    """Where open incidents are listed and read; may raise StoreError."""

    def list_open(self) -> Iterator[Incident]: ...
    def load_latest(self, group_ids: Sequence[str]) -> list[VersionedIncident]: ...


@dataclass(frozen=True)
class _FormerOwner:
    """Where an alert fires: the incident's slot, and what it opened with."""

    group_id: str
    route: str
    channel: str
    policy: str
    steps: tuple[str, ...]


class FormerRoutes:
    """Knows where each alert fired when this configuration was loaded. Threads may share it.

    *route_settings* are those of the routes by name; *pause* lets so many seconds pass. An alert that comes
    on the route on which it fires is forgotten: it stays there by itself. Another one is looked up each time,
    which costs a round trip.
    """

    def __init__(
        self,
        incidents: OpenIncidentReader,
        route_settings: Mapping[str, RouteSettings],
        pause: Callable[[float], None],
    ) -> None:
        self._incidents = incidents
        self._pause = pause
        self._route_settings = route_settings
        self._owners: dict[tuple[str, str], _FormerOwner] = {}
        self._began_at: float | None = None
        self._times = 0
        self._refreshing = threading.Lock()

    def assign_routes(self, source: str, routed_alerts: list[RoutedAlerts], now: float) -> list[RoutedAlerts]:
        """Return *routed_alerts*, alerts of one group by the terms of their routes, with those that fire on
        another route on that. Raises StoreError.
        """
        self._refresh(now)
        if not self._owners:
            return routed_alerts
        moved = self._find_moved(source, routed_alerts)
        if not moved:
            return routed_alerts
        group_ids = sorted({owner.group_id for owner in moved.values()})
        loaded = {one.group_id: one.incident for one in self._incidents.load_latest(group_ids)}
        placed: dict[str, RoutedAlerts] = {}
        for route_settings, alerts in routed_alerts:
            for alert in alerts:
                owner = moved.get(alert.fingerprint)
                if owner is not None and not is_firing_in(loaded[owner.group_id], alert.fingerprint):
                    self._owners.pop((source, alert.fingerprint), None)  # it ended there
                    owner = None
                there = route_settings if owner is None else self._get_route_settings(owner, route_settings)
                placed.setdefault(there.route, (there, []))[1].append(alert)
        return list(placed.values())

    def _find_moved(self, source: str, routed_alerts: list[RoutedAlerts]) -> dict[str, _FormerOwner]:
        moved = {}
        for route_settings, alerts in routed_alerts:
            for alert in alerts:
                owner = self._owners.get((source, alert.fingerprint))
                if owner is not None and owner.route == route_settings.route:
                    self._owners.pop((source, alert.fingerprint), None)
                elif owner is not None:
                    moved[alert.fingerprint] = owner
        return moved

    def _get_route_settings(self, owner: _FormerOwner, like: RouteSettings) -> RouteSettings:
        """Return the terms of the route on which an alert fires; of one that is gone, by its incident."""
        known = self._route_settings.get(owner.route)
        if known is not None:
            return known
        return RouteSettings(
            route=owner.route,
            channel=owner.channel,
            policy=owner.policy,
            steps=owner.steps,
            flap_window=like.flap_window,
            flap_count=like.flap_count,
            severities=like.severities,
        )

    def _refresh(self, now: float) -> None:
        """Ask the store where it is time: one thread does, and only the first time the others wait for it."""
        if not self._is_time(now):
            return
        for _ in range(_WAITS):
            if self._refreshing.acquire(blocking=False):
                break
            if self._times:
                return
            self._pause(_WAIT_S)
        else:
            raise StoreError("what is open is still being read, for another webhook")
        try:
            if self._is_time(now):
                self._load_open()
        finally:
            self._refreshing.release()

    def _is_time(self, now: float) -> bool:
        times = self._times
        if times == len(_REFRESH_AFTER_S):
            return False
        if self._began_at is None or now < self._began_at:  # the clock was set back
            self._began_at = now
        return now >= self._began_at + _REFRESH_AFTER_S[times]

    def _load_open(self) -> None:
        for incident in self._incidents.list_open():
            owner = _FormerOwner(
                incident.group_id, incident.route, incident.channel, incident.policy, incident.steps
            )
            for name, alert_state in incident.alert_states.items():
                if alert_state.is_firing:
                    self._owners[incident.source, name] = owner
        self._times += 1
