"""Charts as SVG: where each bar stands. Colours are the stylesheet's, figures stand in a table beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from receiver.model.statistics import Day

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
