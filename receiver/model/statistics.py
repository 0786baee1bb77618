"""Statistics of many incidents: counts by day, times to acknowledge and resolve, noisy alerts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo
from statistics import median, quantiles

from receiver.clock import to_datetime
from receiver.model.alert import Severity
from receiver.model.delivery_keys import RENAMED, is_page_key
from receiver.model.incident import Incident
from receiver.text import one_line

SHORT_S = 300.0
_OFTEN = 10
_MOSTLY = 0.8
# Alerts of kube-prometheus that are no problem, and nobody's to answer:
# https://runbooks.prometheus-operator.dev/runbooks/general/
_MACHINERY = {
    "InfoInhibitor": "only mutes alerts of severity info in Alertmanager: route this to a null receiver",
    "Watchdog": (
        "always fires, to show that alerts arrive: route this to a null receiver, or name it in `heartbeats:`"
    ),
}


@dataclass(frozen=True)
class Day:
    """How many incidents opened on a day, by severity, the worst first."""

    day: date
    counts: tuple[tuple[Severity, int], ...]

    @property
    def total(self) -> int:
        return sum(count for _, count in self.counts)


@dataclass(frozen=True)
class DurationStats:
    """Durations in seconds: their number, median and 90th percentile."""

    count: int
    median: float
    p90: float


@dataclass(frozen=True)
class AlertStats:
    """Counts of the incidents with one alert name."""

    alertname: str
    count: int
    short: int = 0  # resolved by themselves within `SHORT_S`
    unacknowledged: int = 0  # resolved without an acknowledgement though they had a policy
    pages: int = 0
    night_pages: int = 0  # those of the pages that came at night
    reopened: int = 0  # how often they reopened, all together
    label: str = ""  # a changing label that makes new alerts; empty without one


def count_days(incidents: Iterable[Incident], since: float, until: float, zone: tzinfo) -> list[Day]:
    """Return each day from *since* to *until* in *zone* with the incidents opened on it; empty days too."""
    found: defaultdict[date, Counter[Severity]] = defaultdict(Counter)
    for incident in incidents:
        found[_day(incident.opened_at, zone)][incident.severity] += 1
    day, last = _day(since, zone), _day(until, zone)
    days = []
    while day <= last:
        counts = sorted(found[day].items(), key=lambda item: -item[0].rank)
        days.append(Day(day, tuple(counts)))
        day += timedelta(days=1)
    return days


def measure_durations(
    incidents: Iterable[Incident], timestamp: Callable[[Incident], float]
) -> dict[Severity, DurationStats]:
    """Return by severity how long after opening *timestamp* came; incidents where it is 0 don't count."""
    durations: defaultdict[Severity, list[float]] = defaultdict(list)
    for incident in incidents:
        if at := timestamp(incident):
            durations[incident.severity].append(max(0.0, at - incident.opened_at))
    ordered = sorted(durations.items(), key=lambda item: -item[0].rank)
    return {severity: DurationStats(len(each), median(each), _p90(each)) for severity, each in ordered}


def compute_alert_stats(incidents: Iterable[Incident], zone: tzinfo) -> list[AlertStats]:
    """Return the statistics of each alert, the most frequent first. Pages need loaded deliveries."""
    by_name: defaultdict[str, list[Incident]] = defaultdict(list)
    for incident in incidents:
        by_name[incident.alertname].append(incident)
    stats = [_build_alert_stats(name, group, zone) for name, group in by_name.items()]
    return sorted(stats, key=lambda one: (-one.count, one.alertname))


def _build_alert_stats(name: str, group: Sequence[Incident], zone: tzinfo) -> AlertStats:
    paged = [
        page.receipt.at
        for incident in group
        for key, page in incident.deliveries.items()
        if is_page_key(key) and page.receipt is not None
    ]
    return AlertStats(
        name,
        len(group),
        short=sum(
            one.is_resolved and not one.resolved_by and one.resolved_at - one.opened_at <= SHORT_S
            for one in group
        ),
        unacknowledged=sum(
            bool(one.policy) and one.is_resolved and not one.first_acknowledged_at for one in group
        ),
        pages=len(paged),
        night_pages=sum(not 7 <= to_datetime(at, zone).hour < 22 for at in paged),
        reopened=sum(incident.generation for incident in group),
        label=next(filter(None, (one.find_delivery(RENAMED).instance for one in group)), ""),
    )


def list_recommendations(stats: Iterable[AlertStats]) -> Iterator[str]:
    """Yield recommendations for noisy alerts, each as a sentence with its figures."""
    for one in stats:
        name, often = one.alertname, one.count >= _OFTEN
        if one.label:
            yield (
                f"{name}: `{one_line(one.label, 100)}` is part of the labels, "
                "so each new value of it is a new alert: move it to the annotations"
            )
        if name in _MACHINERY:
            yield f"{name} {_MACHINERY[name]}"
            continue
        if often and one.short >= _MOSTLY * one.count:
            yield f"{name}: {one.count} times, {one.short} gone within 5 min: raise its `for:`"
        elif often and one.unacknowledged >= _MOSTLY * one.count:
            yield (
                f"{name}: {one.count} times, {one.unacknowledged} ended without anybody taking it: "
                "does it need to page?"
            )
        if one.reopened >= _OFTEN and one.reopened >= one.count:
            times = f"{one.reopened} times soon after it ended"
            yield f"{name}: fired again {times}: raise its `keep_firing_for:`"
        if one.night_pages >= _OFTEN // 2:
            yield f"{name}: paged {one.night_pages} times between 22:00 and 7:00: can it wait for the day?"


def _day(at: float, zone: tzinfo) -> date:
    return to_datetime(at, zone).date()


def _p90(values: Sequence[float]) -> float:
    return quantiles(values, n=10, method="inclusive")[8] if len(values) > 1 else values[0]
