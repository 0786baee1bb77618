"""The alerts of an incident as its page lists them: what all have in common is said once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from receiver.web.bodies import AlertRow, AlertStatus

SHOWN_AT_MOST = 100
# More are folded away, so that on a phone the runbook isn't a walk.
OPEN_AT_MOST = 4


@dataclass(frozen=True)
class AlertItem:
    """One alert with what is its own."""

    row: AlertRow
    labels: dict[str, str]
    annotations: dict[str, str]


@dataclass(frozen=True)
class AlertList:
    """The alerts of an incident, those that fire first; *left_out* counts those beyond what is shown."""

    labels: dict[str, str]
    annotations: dict[str, str]
    first: tuple[AlertItem, ...]
    collapsed: tuple[AlertItem, ...]
    left_out: int


def list_alerts(rows: Sequence[AlertRow]) -> AlertList:
    """Return *rows* with their common labels and annotations apart; of a single alert none is common. Those
    without labels, of which only is kept how they stand, come last.
    """
    labelled = [row for row in rows if row.labels]
    labels = _find_common([row.labels for row in labelled])
    annotations = _find_common([row.annotations for row in labelled])
    shown = sorted(rows, key=lambda row: (row.status is not AlertStatus.FIRING, not row.labels))[
        :SHOWN_AT_MOST
    ]
    items = tuple(
        AlertItem(row, _without(row.labels, labels), _without(row.annotations, annotations)) for row in shown
    )
    left_out = len(rows) - len(shown)
    return AlertList(labels, annotations, items[:OPEN_AT_MOST], items[OPEN_AT_MOST:], left_out)


def _find_common(maps: Sequence[dict[str, str]]) -> dict[str, str]:
    if len(maps) < 2:
        return {}
    return {
        name: value for name, value in maps[0].items() if all(each.get(name) == value for each in maps[1:])
    }


def _without(found: dict[str, str], common: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in found.items() if name not in common}
