"""Storms over the API: what they count now, and acknowledging all of it."""

from __future__ import annotations

from collections.abc import Iterable

from receiver.domain.storm import (
    HeldStorm,
    Storm,
    count,
    find_counted,
    list_incident_ids,
    take_census,
)
from receiver.errors import NotFound
from receiver.web.answering import read_person
from receiver.web.questions import Answer
from receiver.web.rows import format_if_any, format_moment
from receiver.web.status_bodies import NameCount, StormList, StormRow
from receiver.wiring import Parts

_MAX_NAMES = 50


def list_storms(parts: Parts) -> StormList:
    """Return the storms that are not resolved, newest first."""
    rows = []
    for storm in parts.shelf_of_storms.find_unresolved():
        try:
            rows.append(describe_storm(parts, parts.shelf_of_storms.load(storm.id)))
        except NotFound:
            continue
    return StormList(rows)


def acknowledge_storm(parts: Parts, storm_id: str, asked: Answer) -> StormRow:
    """Acknowledge all that a storm counts; the members hear of it within moments."""
    parts.storms.answer(storm_id, "acknowledge", read_person(asked), parts.clock(), is_renewing=True)
    return describe_storm(parts, parts.shelf_of_storms.load(storm_id))


def describe_storm(parts: Parts, held: HeldStorm) -> StormRow:
    """Return a storm with the numbers of its members as they stand now."""
    storm = held.storm
    heads = parts.incidents.load_heads(list_incident_ids(held))
    tally = count(find_counted(take_census(held, heads)))
    answered = storm.acknowledged
    return StormRow(
        id=storm.id,
        place=storm.place,
        began_at=format_moment(storm.began_at),
        ended_at=format_if_any(storm.ended_at),
        resolved_at=format_if_any(storm.resolved_at),
        total=tally.total,
        open=tally.open,
        acknowledged=tally.acknowledged,
        resolved=tally.resolved,
        severities=_counts((str(severity), number) for severity, number in tally.severities),
        alertnames=_counts(tally.names[:_MAX_NAMES]),
        acknowledged_by=answered.by.name if answered else None,
        link=_find_link(storm),
    )


def _counts(pairs: Iterable[tuple[str, int]]) -> list[NameCount]:
    return [NameCount(name, number) for name, number in pairs]


def _find_link(storm: Storm) -> str | None:
    root = storm.deliveries.get("root")
    return (root.receipt.link or None) if root is not None and root.receipt is not None else None
