"""Storms over the API: what they count now, and acknowledging all of it."""

from __future__ import annotations

from collections.abc import Iterable

from receiver.errors import NotFound
from receiver.storms.model import (
    Storm,
    VersionedStorm,
    list_counted_members,
    list_incident_ids,
    load_member_states,
    summarize_storm,
)
from receiver.web.answering import read_actor
from receiver.web.questions import ActorFields
from receiver.web.rows import format_moment, format_optional_moment
from receiver.web.status_bodies import NameCount, StormList, StormRow
from receiver.wiring.parts import Services

_MAX_NAMES = 50


def list_storms(services: Services) -> StormList:
    """Return the storms that are not resolved, newest first."""
    rows = []
    for storm in services.storm_store.list_unresolved():
        try:
            rows.append(describe_storm(services, services.storm_store.load_storm(storm.id)))
        except NotFound:
            continue
    return StormList(rows)


def acknowledge_storm(services: Services, storm_id: str, asked: ActorFields) -> StormRow:
    """Acknowledge all that a storm counts; the members hear of it within moments."""
    services.storms.respond(storm_id, "acknowledge", read_actor(asked), services.clock(), is_renewing=True)
    return describe_storm(services, services.storm_store.load_storm(storm_id))


def describe_storm(services: Services, loaded: VersionedStorm) -> StormRow:
    """Return a storm with the numbers of its members as they stand now."""
    storm = loaded.storm
    heads = services.incidents.load_heads(list_incident_ids(loaded))
    summary = summarize_storm(list_counted_members(load_member_states(loaded, heads)))
    acknowledgement = storm.acknowledgement
    return StormRow(
        id=storm.id,
        target_key=storm.target_key,
        began_at=format_moment(storm.began_at),
        ended_at=format_optional_moment(storm.ended_at),
        resolved_at=format_optional_moment(storm.resolved_at),
        total=summary.total,
        open=summary.open,
        acknowledged=summary.acknowledged,
        resolved=summary.resolved,
        severities=_name_counts((str(severity), number) for severity, number in summary.severities),
        alertnames=_name_counts(summary.names[:_MAX_NAMES]),
        acknowledged_by=acknowledgement.by.name if acknowledgement else None,
        link=_find_link(storm),
    )


def _name_counts(pairs: Iterable[tuple[str, int]]) -> list[NameCount]:
    return [NameCount(name, number) for name, number in pairs]


def _find_link(storm: Storm) -> str | None:
    root = storm.deliveries.get("root")
    return (root.receipt.link or None) if root is not None and root.receipt is not None else None
