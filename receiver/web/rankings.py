"""Rankings: which alerts did something most often, and how long answers took, as charts draw them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from receiver.clock import format_duration
from receiver.model.alert import Severity
from receiver.model.statistics import AlertStats, DurationStats
from receiver.web.charts import Rank

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
