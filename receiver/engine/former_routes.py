"""Alerts that fire on another route than the configuration has for them now: it was changed meanwhile.

Such an alert stays in the incident in which it fires, so that a changed matcher, channel or order of routes
pages nobody again, and its end is heard there. What is new goes by the new routes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from receiver.domain.alert import Alert
from receiver.domain.homes import fires_in
from receiver.domain.incident import Incident
from receiver.domain.merge import Terms
from receiver.domain.ports import Held
from receiver.errors import StoreError

# How long after the first time the store is asked again: other processes may still open incidents by the
# routes that they had before.
_LEARN_AFTER_S = (0.0, 15.0, 60.0, 300.0)
# How often to see whether another thread has read what is open, and for how long: less than a webhook waits.
_WAIT_S, _WAITS = 0.01, 350

Part = tuple[Terms, list[Alert]]


class OpenIncidents(Protocol):
    """Where open incidents are listed and read; may raise StoreError."""

    def find_open(self) -> Iterator[Incident]: ...
    def read(self, slots: Sequence[str]) -> list[Held]: ...


@dataclass(frozen=True)
class _Home:
    """Where an alert fires: the incident's slot, and what it opened with."""

    slot: str
    route: str
    channel: str
    policy: str
    steps: tuple[str, ...]


class FormerRoutes:
    """Knows where each alert fired when this configuration was loaded. Threads may share it.

    *terms* are those of the routes by name; *pause* lets so many seconds pass. An alert that comes on the
    route on which it fires is forgotten: it stays there by itself. Another one is looked up each time, which
    costs a round trip.
    """

    def __init__(
        self, incidents: OpenIncidents, terms: Mapping[str, Terms], pause: Callable[[float], None]
    ) -> None:
        self._incidents = incidents
        self._pause = pause
        self._terms = terms
        self._homes: dict[tuple[str, str], _Home] = {}
        self._began_at: float | None = None
        self._times = 0
        self._asking = threading.Lock()

    def place(self, source: str, parts: list[Part], now: float) -> list[Part]:
        """Return *parts*, alerts of one group by the terms of their routes, with those that fire on another
        route on that. Raises StoreError.
        """
        self._learn(now)
        if not self._homes:
            return parts
        moved = self._find_moved(source, parts)
        if not moved:
            return parts
        slots = sorted({home.slot for home in moved.values()})
        held = {one.slot: one.incident for one in self._incidents.read(slots)}
        placed: dict[str, Part] = {}
        for terms, alerts in parts:
            for alert in alerts:
                home = moved.get(alert.fingerprint)
                if home is not None and not fires_in(held[home.slot], alert.fingerprint):
                    self._homes.pop((source, alert.fingerprint), None)  # it ended there
                    home = None
                there = terms if home is None else self._find_terms(home, terms)
                placed.setdefault(there.route, (there, []))[1].append(alert)
        return list(placed.values())

    def _find_moved(self, source: str, parts: list[Part]) -> dict[str, _Home]:
        moved = {}
        for terms, alerts in parts:
            for alert in alerts:
                home = self._homes.get((source, alert.fingerprint))
                if home is not None and home.route == terms.route:
                    self._homes.pop((source, alert.fingerprint), None)
                elif home is not None:
                    moved[alert.fingerprint] = home
        return moved

    def _find_terms(self, home: _Home, like: Terms) -> Terms:
        """Return the terms of the route on which an alert fires; of one that is gone, by its incident."""
        known = self._terms.get(home.route)
        if known is not None:
            return known
        return Terms(
            route=home.route,
            channel=home.channel,
            policy=home.policy,
            steps=home.steps,
            flap_window=like.flap_window,
            flap_count=like.flap_count,
            severities=like.severities,
        )

    def _learn(self, now: float) -> None:
        """Ask the store where it is time: one thread does, and only the first time the others wait for it."""
        if not self._is_time(now):
            return
        for _ in range(_WAITS):
            if self._asking.acquire(blocking=False):
                break
            if self._times:
                return
            self._pause(_WAIT_S)
        else:
            raise StoreError("what is open is still being read, for another webhook")
        try:
            if self._is_time(now):
                self._ask()
        finally:
            self._asking.release()

    def _is_time(self, now: float) -> bool:
        times = self._times
        if times == len(_LEARN_AFTER_S):
            return False
        if self._began_at is None or now < self._began_at:  # the clock was set back
            self._began_at = now
        return now >= self._began_at + _LEARN_AFTER_S[times]

    def _ask(self) -> None:
        for incident in self._incidents.find_open():
            home = _Home(incident.slot, incident.route, incident.channel, incident.policy, incident.steps)
            for name, standing in incident.standings.items():
                if standing.is_firing:
                    self._homes[incident.source, name] = home
        self._times += 1
