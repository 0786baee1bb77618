"""The alerts that fired when a configuration was loaded, and their incidents.

After a change of the routes such an alert stays in its incident. So a changed matcher, channel or order of
routes sends no second page, and the resolve reaches that incident. New alerts use the new routes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from receiver.errors import StoreError
from receiver.incidents.store import RedisIncidents
from receiver.model.alert import Alert
from receiver.model.incident import Incident
from receiver.model.owners import is_firing_in
from receiver.model.routing import RouteSettings, RoutingTable

# Delays after the first read at which open incidents are read again: other processes may still open incidents
# by the former routes.
_REFRESH_AFTER_S = (0.0, 15.0, 60.0, 300.0)
# Polling interval and count while another thread reads the open incidents: shorter than a webhook's timeout.
_WAIT_S, _WAITS = 0.01, 350
RoutedAlerts = tuple[RouteSettings, list[Alert]]


# The owner of a firing alert: its incident's group ID, and the route settings with which that one opened.
_Owner = tuple[str, RouteSettings]


@dataclass
class FormerRoutes:
    """The owners of the alerts that fired when this configuration was loaded. Thread-safe.

    *route_settings* are the present settings by route name; *pause* sleeps for a number of seconds. An alert
    that arrives on the route on which it fires is dropped from the list, since it needs no reassignment. Any
    other alert of the list is looked up each time, which costs a round trip.
    """

    incidents: RedisIncidents
    route_settings: Mapping[str, RouteSettings]
    pause: Callable[[float], None]

    def __post_init__(self) -> None:
        self._owners: dict[tuple[str, str], _Owner] = {}
        self._began_at: float | None = None
        self._times = 0
        self._refreshing = threading.Lock()

    def assign_routes(self, source: str, routed_alerts: list[RoutedAlerts], now: float) -> list[RoutedAlerts]:
        """Return *routed_alerts*, the alerts of one group by route settings, with the alerts that fire
        already on another route moved to that route. Raises StoreError.
        """
        self._refresh_owners(now)
        if not self._owners:
            return routed_alerts
        moved = self._find_moved(source, routed_alerts)
        if not moved:
            return routed_alerts
        group_ids = sorted({group_id for group_id, _ in moved.values()})
        loaded = {one.group_id: one.incident for one in self.incidents.load_latest(group_ids)}
        placed: dict[str, RoutedAlerts] = {}
        for route_settings, alerts in routed_alerts:
            for alert in alerts:
                group_id, there = moved.get(alert.fingerprint, ("", route_settings))
                if group_id and not is_firing_in(loaded[group_id], alert.fingerprint):
                    self._owners.pop((source, alert.fingerprint), None)  # resolved there
                    there = route_settings
                placed.setdefault(there.route, (there, []))[1].append(alert)
        return list(placed.values())

    def _find_moved(self, source: str, routed_alerts: list[RoutedAlerts]) -> dict[str, _Owner]:
        moved = {}
        for route_settings, alerts in routed_alerts:
            for alert in alerts:
                owner = self._owners.get((source, alert.fingerprint))
                if owner is not None and owner[1].route == route_settings.route:
                    self._owners.pop((source, alert.fingerprint), None)
                elif owner is not None:
                    moved[alert.fingerprint] = owner
        return moved

    def _refresh_owners(self, now: float) -> None:
        """Read the open incidents if that is due. One thread reads; only the first time the others wait."""
        if not self._is_time(now):
            return
        for _ in range(_WAITS):
            if self._refreshing.acquire(blocking=False):
                break
            if self._times:
                return
            self.pause(_WAIT_S)
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
        for incident in self.incidents.list_open():
            owner = (incident.group_id, self._find_settings(incident))
            for name, alert_state in incident.alert_states.items():
                if alert_state.is_firing:
                    self._owners[incident.source, name] = owner
        self._times += 1

    def _find_settings(self, incident: Incident) -> RouteSettings:
        """Return the settings of the incident's route; built from the incident if the route was removed."""
        if known := self.route_settings.get(incident.route):
            return known
        return replace(
            next(iter(self.route_settings.values())),
            route=incident.route,
            channel=incident.channel,
            policy=incident.policy,
            steps=incident.steps,
        )


def build_route_settings(routing: RoutingTable) -> dict[str, RouteSettings]:
    """Return the settings of each route by its name."""
    return {
        route.name: RouteSettings(
            route=route.name,
            channel=route.channel,
            policy=route.escalation,
            steps=tuple(step.name for step in routing.get_policy(route.escalation).steps),
            flap_window=routing.flap_window,
            flap_count=routing.flap_count,
            severities=routing.severities,
        )
        for route in routing.routes
    }
