"""An ingester without heartbeats and without former routes, for tests of the store."""

from __future__ import annotations

import time
from collections.abc import Callable

from receiver.incidents.former_routes import RoutedAlerts
from receiver.incidents.ingest import IncidentIngester
from receiver.model.alert import Group


class NoFormerRoutes:
    """No alert fired when the configuration was loaded."""

    def assign_routes(self, source: str, routed_alerts: list[RoutedAlerts], now: float) -> list[RoutedAlerts]:
        return routed_alerts


def extract_nothing(groups: tuple[Group, ...], now: float) -> tuple[tuple[Group, ...], int]:
    return groups, 0


def build_ingester(
    incidents: object, rules: object, pause: Callable[[float], None] = time.sleep
) -> IncidentIngester:
    """Return an ingester into *incidents* by the routes of *rules*."""
    return IncidentIngester(incidents, rules, NoFormerRoutes(), extract_nothing, pause)  # type: ignore[arg-type]
