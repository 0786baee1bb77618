"""Rankings: which alerts did something most often, and how long answers took, as charts draw them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from receiver.clock import format_duration
from receiver.domain.alert import Severity
from receiver.domain.statistics import Habit, Waits
from receiver.web.charts import Rank

NOISIEST = 10


@dataclass(frozen=True)
class Ranking:
    """One thing that alerts do, and which did it most often."""

    id: str
    title: str
    ranks: tuple[Rank, ...]


def rank_habits(habits: Sequence[Habit]) -> list[Ranking]:
    """Return a ranking for each thing that any of *habits* did at all."""
    asked: tuple[tuple[str, str, Callable[[Habit], int]], ...] = (
        ("noisiest", "The noisiest alerts", lambda habit: habit.count),
        ("nobodys", "Alerts that nobody acknowledged", lambda habit: habit.unacknowledged),
        ("night", "Pages at night", lambda habit: habit.night_pages),
        ("flapping", "Fired again soon after they ended", lambda habit: habit.reopened),
    )
    rankings = [Ranking(name, title, _rank(habits, count)) for name, title, count in asked]
    return [ranking for ranking in rankings if ranking.ranks]


def rank_waits(acknowledging: Mapping[Severity, Waits], resolving: Mapping[Severity, Waits]) -> list[Rank]:
    """Return how long it took until incidents were acknowledged and resolved, the worst severity first."""
    severities = sorted({*acknowledging, *resolving}, key=lambda severity: -severity.rank)
    found = []
    for severity in severities:
        for words, waits in (
            ("acknowledged", acknowledging.get(severity)),
            ("resolved", resolving.get(severity)),
        ):
            if waits is not None:
                found.append(_draw_wait(f"{severity} {words}, median", waits.median))
                found.append(_draw_wait(f"{severity} {words}, 9 in 10", waits.p90))
    return found


def _draw_wait(name: str, seconds: float) -> Rank:
    return Rank(name, seconds, format_duration(seconds))


def _rank(habits: Sequence[Habit], count: Callable[[Habit], int]) -> tuple[Rank, ...]:
    ordered = sorted((habit for habit in habits if count(habit)), key=lambda habit: -count(habit))
    return tuple(
        Rank(habit.alertname or "(no name)", count(habit), str(count(habit))) for habit in ordered[:NOISIEST]
    )
