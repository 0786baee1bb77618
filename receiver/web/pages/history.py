"""Charts as SVG: where each bar stands. Colours are the stylesheet's, figures stand in a table beside."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated

from flask import Blueprint, render_template, request
from msgspec import Meta

from receiver.app.services import Services
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
from receiver.web.api.incidents import LATEST, parse_since
from receiver.web.api.requests import read_query
from receiver.web.api.serializers import format_moment
from receiver.web.pages.dashboard import describe_state
from receiver.web.pages.rendering import PageQuery, paginate
from receiver.web.urls import url_for

WIDTH, HEIGHT = 720, 180
_FOOT, _HEAD, _LEFT = 24, 8, 36
_LABELS_AT_MOST = 10
_NAME_AT_MOST = 32


@dataclass(frozen=True)
class Bar:
    """One rectangle, in the chart's own units. *kind* is its class in the stylesheet."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    words: str


@dataclass(frozen=True)
class Rank:
    """One name with its figure, and the figure in words."""

    name: str
    value: float
    words: str


@dataclass(frozen=True)
class ChartLabel:
    """Words at a place."""

    x: float
    y: float
    words: str


@dataclass(frozen=True)
class Chart:
    """A chart: bars, words below them, and lines across with their figures."""

    bars: tuple[Bar, ...]
    labels: tuple[ChartLabel, ...]
    lines: tuple[ChartLabel, ...]
    width: int = WIDTH
    height: int = HEIGHT


def draw_days(days: Sequence[Day]) -> Chart:
    """Return a bar for each day, its severities upon each other, the worst at the bottom."""
    top = _round_up(max((day.total for day in days), default=0))
    room, step = HEIGHT - _FOOT - _HEAD, (WIDTH - _LEFT) / max(1, len(days))
    bars: list[Bar] = []
    for number, day in enumerate(days):
        y = float(HEIGHT - _FOOT)
        for severity, count in day.counts:
            height = room * count / top
            y -= height
            words = f"{_format_day(day.day)}: {count} {severity}"
            x = _LEFT + number * step + step * 0.1
            bars.append(
                Bar(round(x, 2), round(y, 2), round(step * 0.8, 2), round(height, 2), severity, words)
            )
    every = max(1, -(-len(days) // _LABELS_AT_MOST))
    labels = tuple(
        ChartLabel(round(_LEFT + (number + 0.5) * step, 2), HEIGHT - 6, _format_day(day.day))
        for number, day in enumerate(days)
        if number % every == 0
    )
    lines = tuple(
        ChartLabel(_LEFT - 6, round(HEIGHT - _FOOT - room * value / top, 2), f"{value:g}")
        for value in (0, top / 2, top)
    )
    return Chart(tuple(bars), labels, lines)


def draw_ranks(ranks: Sequence[Rank]) -> Chart:
    """Return a lying bar for each name."""
    top = max((rank.value for rank in ranks), default=0) or 1
    row, left = 26, 250
    room = WIDTH - left - 70
    bars, labels, lines = [], [], []
    for number, rank in enumerate(ranks):
        width, y = round(room * rank.value / top, 2), number * row
        bars.append(Bar(left, y + 4, width, row - 8, "rank", f"{rank.name}: {rank.words}"))
        name = rank.name if len(rank.name) <= _NAME_AT_MOST else f"{rank.name[: _NAME_AT_MOST - 1]}…"
        labels.append(ChartLabel(left - 8, y + row / 2 + 5, name))
        lines.append(ChartLabel(left + width + 6, y + row / 2 + 5, rank.words))
    return Chart(tuple(bars), tuple(labels), tuple(lines), height=max(row, row * len(ranks)))


def _round_up(value: int) -> int:
    """Return the next even number of a round size, so that the half of it is a whole one."""
    for top in (2, 4, 10, 20, 40, 100, 200, 400, 1000, 2000, 4000, 10_000):
        if value <= top:
            return top
    return value + value % 2


def _format_day(day: date) -> str:
    return f"{day.day} {day:%b}"


NOISIEST = 10


@dataclass(frozen=True)
class Ranking:
    """One thing that alerts do, and which did it most often."""

    id: str
    title: str
    ranks: tuple[Rank, ...]


def rank_alerts(stats: Sequence[AlertStats]) -> list[Ranking]:
    """Return a ranking for each thing that any of *stats* did at all."""
    asked: tuple[tuple[str, str, Callable[[AlertStats], int]], ...] = (
        ("noisiest", "The noisiest alerts", lambda one: one.count),
        ("nobodys", "Alerts that nobody acknowledged", lambda one: one.unacknowledged),
        ("night", "Pages at night", lambda one: one.night_pages),
        ("flapping", "Fired again soon after they ended", lambda one: one.reopened),
    )
    rankings = [Ranking(name, title, _rank(stats, count)) for name, title, count in asked]
    return [ranking for ranking in rankings if ranking.ranks]


def rank_durations(
    acknowledging: Mapping[Severity, DurationStats], resolving: Mapping[Severity, DurationStats]
) -> list[Rank]:
    """Return how long it took until incidents were acknowledged and resolved, the worst severity first."""
    severities = sorted({*acknowledging, *resolving}, key=lambda severity: -severity.rank)
    found = []
    for severity in severities:
        for words, durations in (
            ("acknowledged", acknowledging.get(severity)),
            ("resolved", resolving.get(severity)),
        ):
            if durations is not None:
                found.append(_draw_duration(f"{severity} {words}, median", durations.median))
                found.append(_draw_duration(f"{severity} {words}, 9 in 10", durations.p90))
    return found


def _draw_duration(name: str, seconds: float) -> Rank:
    return Rank(name, seconds, format_duration(seconds))


def _rank(stats: Sequence[AlertStats], count: Callable[[AlertStats], int]) -> tuple[Rank, ...]:
    ordered = sorted((one for one in stats if count(one)), key=lambda one: -count(one))
    return tuple(
        Rank(one.alertname or "(no name)", count(one), str(count(one))) for one in ordered[:NOISIEST]
    )


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


def add_history(pages: Blueprint, services: Services) -> None:
    """Add the page to the blueprint."""

    @pages.get("/history")
    def history() -> str:
        """Show what was, and what it tells of the alerts."""
        asked = read_query(HistoryPageQuery, request.args)
        report = build_history_report(services, asked)
        return render_template(
            "history.html",
            asked=asked,
            report=report,
            noisiest=report.alert_stats[:NOISIEST],
            severities=sorted(
                {severity for day in report.days for severity, _ in day.counts}, key=lambda one: -one.rank
            ),
            days_chart=draw_days(report.days),
            durations_chart=draw_ranks(rank_durations(report.acknowledging, report.resolving)),
            rankings=[(ranking, draw_ranks(ranking.ranks)) for ranking in rank_alerts(report.alert_stats)],
            page_url=lambda page: url_for("pages.history", **asked.list_fields(page)),
            format_delay=format_delay,
            describe_state=describe_state,
            duration=format_duration,
            rfc3339=format_moment,
        )
