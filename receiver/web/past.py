"""The past, for its page: which incidents are asked for, and what they tell together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from receiver.clock import format_duration
from receiver.errors import NotFound
from receiver.model.alert import LABEL, Severity, SeverityWords
from receiver.model.escalation import page_key
from receiver.model.incident import Incident
from receiver.model.renaming import RENAMED
from receiver.model.routing import Matcher
from receiver.model.statistics import (
    AlertStats,
    Day,
    DurationStats,
    compute_alert_stats,
    count_days,
    list_recommendations,
    measure_durations,
)
from receiver.web.listing import LATEST, parse_since
from receiver.web.part import PageQuery, paginate
from receiver.wiring.parts import Services

# More than a quarter's incidents of a busy team; beyond it the oldest are left out, and the page says so.
_MAX_INCIDENTS = 5000
_WHOLE_AT_MOST = 1000
_DAYS_AT_MOST = 92
_DAY_S = 86400.0
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class HistoryPageQuery(PageQuery, frozen=True):
    """Which of the past to show; as it stands in the address."""

    alertname: Annotated[str, Meta(max_length=300)] = ""
    label: Annotated[str, Meta(max_length=1000)] = ""
    since: Annotated[str, Meta(max_length=40)] = "7d"
    until: Annotated[str, Meta(max_length=40)] = ""

    def has_label(self, labels: dict[str, str], severities: SeverityWords) -> bool:
        """Tell whether *labels* have the one asked for; `severity` is tested as routes test it."""
        name, _, value = (piece.strip() for piece in self.label.partition("="))
        matcher = Matcher(name, "=", value.strip('"'), None, severities if name == LABEL else None)
        return name in labels and matcher.matches(labels)


@dataclass(frozen=True)
class HistoryReport:
    """What is asked for of the past: one part of it, and what all of it tells."""

    found: int
    is_cut: bool
    page: int
    pages: int
    incidents: tuple[Incident, ...]
    days: tuple[Day, ...]
    acknowledging: dict[Severity, DurationStats]
    resolving: dict[Severity, DurationStats]
    alert_stats: tuple[AlertStats, ...]
    recommendations: tuple[str, ...]


def build_history_report(services: Services, asked: HistoryPageQuery) -> HistoryReport:
    """Return what opened in that time. Raises Refusal for a moment that makes no sense, StoreError."""
    now = services.clock()
    until = _read_until(asked.until, now)
    since = max(parse_since(asked.since, now), now - services.routing.history)
    keys = [page_key(step) for policy in services.routing.policies.values() for step in policy.steps]
    page = services.incidents.list_newest(
        alertname=asked.alertname,
        opened_from=since,
        opened_before=until,
        limit=_MAX_INCIDENTS,
        deliveries=sorted({*keys, RENAMED}),
    )
    found = _with_label(services, asked, page.incidents) if asked.label else list(page.incidents)
    zone = services.routing.zone
    # A millisecond before the end: midnight ends a day and belongs to the next.
    last = min(now, until - 0.001) if until else now
    stats = compute_alert_stats(found, zone)
    page_slice = paginate(found, asked.page)
    return HistoryReport(
        found=len(found),
        is_cut=page.next_cursor is not None,
        page=page_slice.page,
        pages=page_slice.pages,
        incidents=tuple(page_slice.rows),
        days=tuple(count_days(found, max(since, last - _DAYS_AT_MOST * _DAY_S), last, zone)),
        acknowledging=measure_durations(found, lambda incident: incident.first_acknowledged_at),
        resolving=measure_durations(found, lambda incident: incident.resolved_at),
        alert_stats=tuple(stats),
        recommendations=tuple(list_recommendations(stats)),
    )


def _read_until(text: str, now: float) -> float:
    """Return the moment that ends the time asked for, 0 for none; a day counts whole."""
    moment = parse_since(text, now, "until")
    return moment + _DAY_S if moment and _DAY.fullmatch(text) and moment < LATEST else moment


def _with_label(
    services: Services, asked: HistoryPageQuery, incidents: tuple[Incident, ...]
) -> list[Incident]:
    """Return those of which an alert has the label. Only the newest are looked through alert by alert."""
    found = []
    for number, incident in enumerate(incidents):
        if asked.has_label(incident.group_labels, services.routing.severities) or (
            number < _WHOLE_AT_MOST and _has_alert(services, asked, incident.id)
        ):
            found.append(incident)
    return found


def _has_alert(services: Services, asked: HistoryPageQuery, incident_id: str) -> bool:
    try:
        alerts = services.incidents.load(incident_id).alerts.values()
    except NotFound:
        return False
    return any(asked.has_label(alert.labels, services.routing.severities) for alert in alerts)


def format_delay(incident: Incident, moment: float) -> str:
    """Return how long after opening *moment* came; empty where it did not."""
    return format_duration(max(0.0, moment - incident.opened_at)) if moment else ""
