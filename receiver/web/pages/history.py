"""The history page: past incidents, statistics and SVG charts.

The charts are only coordinates: the stylesheet sets the colours, and a table beside shows the figures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from operator import attrgetter
from typing import Annotated

from flask import Blueprint, render_template, request
from msgspec import Meta

from receiver.clock import LATEST, Clock, format_duration
from receiver.config.model import Routing
from receiver.errors import NotFound
from receiver.incidents.store import RedisIncidents
from receiver.model.alert import LABEL, Severity, SeverityWords
from receiver.model.delivery_keys import RENAMED, page_key
from receiver.model.incident import Incident
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
from receiver.web.api.incidents import parse_since
from receiver.web.api.requests import read_query
from receiver.web.api.serializers import format_timestamp
from receiver.web.pages.blueprint import PageQuery, paginate
from receiver.web.pages.dashboard import describe_state
from receiver.web.urls import url_for

# In units of the chart of days, as in _charts.html.
_WIDTH, _HEIGHT = 720, 180
_FOOT, _HEAD, _LEFT = 24, 8, 36
_LABELS_AT_MOST = 10


@dataclass(frozen=True)
class Bar:
    """One rectangle, in units of the chart. *kind* is its CSS class."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    words: str


@dataclass(frozen=True)
class ChartLabel:
    """A text at a position."""

    x: float
    y: float
    words: str


@dataclass(frozen=True)
class Chart:
    """The bars of days, labels below them, and grid lines with their values."""

    bars: list[Bar]
    labels: list[ChartLabel]
    lines: list[ChartLabel]


def draw_days(days: Sequence[Day]) -> Chart:
    """Return a chart with a stacked bar for each day, the highest severity at the bottom."""
    top = _round_up(max((day.total for day in days), default=0))
    room, step = _HEIGHT - _FOOT - _HEAD, (_WIDTH - _LEFT) / max(1, len(days))
    bars: list[Bar] = []
    for number, day in enumerate(days):
        x, y = round(_LEFT + (number + 0.1) * step, 2), float(_HEIGHT - _FOOT)
        for severity, count in day.counts:
            height = room * count / top
            y -= height
            words = f"{_format_day(day.day)}: {count} {severity}"
            bars.append(Bar(x, round(y, 2), round(step * 0.8, 2), round(height, 2), severity, words))
    every = max(1, -(-len(days) // _LABELS_AT_MOST))
    labels = [
        ChartLabel(round(_LEFT + (number + 0.5) * step, 2), _HEIGHT - 6, _format_day(day.day))
        for number, day in enumerate(days)
        if number % every == 0
    ]
    lines = [
        ChartLabel(_LEFT - 6, round(_HEIGHT - _FOOT - room * value / top, 2), f"{value:g}")
        for value in (0, top / 2, top)
    ]
    return Chart(bars, labels, lines)


def _round_up(value: int) -> int:
    """Return a round even number that is not below *value*, so that its half is an integer."""
    steps = (2, 4, 10, 20, 40, 100, 200, 400, 1000, 2000, 4000, 10_000)
    return next((step for step in steps if value <= step), value + value % 2)


def _format_day(day: date) -> str:
    return f"{day.day} {day:%b}"


NOISIEST = 10


@dataclass(frozen=True)
class Rank:
    """A name with a value, and the value in words."""

    name: str
    value: float
    words: str


_RANKINGS = (
    ("noisiest", "The noisiest alerts", attrgetter("count")),
    ("nobodys", "Alerts that nobody acknowledged", attrgetter("unacknowledged")),
    ("night", "Pages at night", attrgetter("night_pages")),
    ("flapping", "Fired again soon after they ended", attrgetter("reopened")),
)


def rank_alerts(stats: Sequence[AlertStats]) -> Iterator[tuple[str, str, list[Rank]]]:
    """Return the ID, the title and the alerts of each ranking of *stats*, without empty ones."""
    for name, title, count in _RANKINGS:
        noisiest = sorted(filter(count, stats), key=count, reverse=True)[:NOISIEST]
        if noisiest:
            ranks = [Rank(one.alertname or "(no name)", count(one), str(count(one))) for one in noisiest]
            yield name, title, ranks


def rank_durations(
    acknowledging: Mapping[Severity, DurationStats], resolving: Mapping[Severity, DurationStats]
) -> list[Rank]:
    """Return the times to acknowledgement and to resolution, the highest severity first."""
    ranks = []
    for severity in sorted({*acknowledging, *resolving}, key=lambda severity: -severity.rank):
        for done, durations in (("acknowledged", acknowledging), ("resolved", resolving)):
            if (stats := durations.get(severity)) is not None:
                for name, seconds in (("median", stats.median), ("9 in 10", stats.p90)):
                    ranks.append(Rank(f"{severity} {done}, {name}", seconds, format_duration(seconds)))
    return ranks


# More than a busy team has in a quarter; beyond it the oldest are left out, and the page says so.
_MAX_INCIDENTS = 5000
_WHOLE_AT_MOST = 1000
_DAYS_AT_MOST = 92
_DAY_S = 86400.0
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class HistoryPageQuery(PageQuery, frozen=True):
    """The filter of the history page, as query parameters."""

    alertname: Annotated[str, Meta(max_length=300)] = ""
    label: Annotated[str, Meta(max_length=1000)] = ""
    since: Annotated[str, Meta(max_length=40)] = "7d"
    until: Annotated[str, Meta(max_length=40)] = ""

    def has_label(self, labels: dict[str, str], severities: SeverityWords) -> bool:
        """Return whether *labels* contain the requested one; `severity` is compared as routes compare it."""
        name, _, value = (piece.strip() for piece in self.label.partition("="))
        matcher = Matcher(name, "=", value.strip('"'), None, severities if name == LABEL else None)
        return name in labels and matcher.matches(labels)


def _read_until(text: str, now: float) -> float:
    """Return the end of the requested time, 0 for none; a date includes the whole day."""
    timestamp = parse_since(text, now, "until")
    return timestamp + _DAY_S if timestamp and _DAY.fullmatch(text) and timestamp < LATEST else timestamp


def _select_with_label(
    store: RedisIncidents, severities: SeverityWords, query: HistoryPageQuery, incidents: Sequence[Incident]
) -> list[Incident]:
    """Return the incidents of which the group or an alert has the requested label.

    Alerts are loaded only for the newest _WHOLE_AT_MOST incidents.
    """
    found = []
    for number, incident in enumerate(incidents):
        if query.has_label(incident.group_labels, severities):
            found.append(incident)
        elif number < _WHOLE_AT_MOST:
            with suppress(NotFound):
                alerts = store.load_incident(incident.id).alerts.values()
                if any(query.has_label(alert.labels, severities) for alert in alerts):
                    found.append(incident)
    return found


def format_delay(incident: Incident, timestamp: float) -> str:
    """Return the time from opening to *timestamp* in words; empty for 0."""
    return format_duration(max(0.0, timestamp - incident.opened_at)) if timestamp else ""


def add_history(pages: Blueprint, incidents: RedisIncidents, routing: Routing, clock: Clock) -> None:
    """Add the history page to the blueprint."""
    zone = routing.zone
    keys = {page_key(step.name) for policy in routing.policies.values() for step in policy.steps}

    @pages.get("/history")
    def history() -> str:
        """Show the incidents that opened in the requested time, and statistics of their alerts."""
        query, now = read_query(HistoryPageQuery, request.args), clock()
        until = _read_until(query.until, now)
        since = max(parse_since(query.since, now), now - routing.history)
        newest = incidents.list_newest(
            alertname=query.alertname,
            opened_from=since,
            opened_before=until,
            limit=_MAX_INCIDENTS,
            deliveries=sorted({*keys, RENAMED}),
            is_brief=True,
        )
        found: Sequence[Incident] = newest.incidents
        if query.label:
            found = _select_with_label(incidents, routing.severities, query, found)
        # One millisecond before the end, since midnight belongs to the next day.
        last = min(now, until - 0.001) if until else now
        days = count_days(found, max(since, last - _DAYS_AT_MOST * _DAY_S), last, zone)
        severities = {severity for day in days for severity, _ in day.counts}
        acknowledging = measure_durations(found, lambda incident: incident.first_acknowledged_at)
        resolving = measure_durations(found, lambda incident: incident.resolved_at)
        stats = compute_alert_stats(found, zone)
        return render_template(
            "history.html",
            query=query,
            incidents=paginate(found, query.page),
            is_cut=newest.next_cursor is not None,
            recommendations=list(list_recommendations(stats)),
            severities=sorted(severities, key=lambda severity: -severity.rank),
            days=days,
            days_chart=draw_days(days),
            acknowledging=acknowledging,
            resolving=resolving,
            durations=rank_durations(acknowledging, resolving),
            rankings=rank_alerts(stats),
            noisiest=stats[:NOISIEST],
            page_url=lambda page: url_for("pages.history", **query.list_fields(page)),
            format_delay=format_delay,
            describe_state=describe_state,
            duration=format_duration,
            rfc3339=format_timestamp,
        )
