"""The maintenance switch over the API and on the page."""

from __future__ import annotations

from datetime import UTC, datetime

from receiver.clock import parse_duration
from receiver.maintenance import LONGEST_S, Maintenance
from receiver.text import one_line
from receiver.web.answering import read_actor
from receiver.web.answers import RequestError
from receiver.web.questions import ActorFields, EmptyRequest, EndMaintenanceRequest, StartMaintenanceRequest
from receiver.web.rows import format_moment
from receiver.web.status_bodies import MaintenanceRow
from receiver.wiring.parts import Services

_MAX_COMMENT = 300


def show_maintenance(
    services: Services, _name: str = "", _asked: EmptyRequest | None = None
) -> MaintenanceRow:
    """Return the maintenance that is in force; all null where there is none."""
    return render_maintenance(services.maintenance.find_active(services.clock()))


def start_maintenance(services: Services, _name: str, asked: StartMaintenanceRequest) -> MaintenanceRow:
    """Page nobody from now on until a moment, in place of any maintenance there is."""
    by, now = read_actor(asked), services.clock()
    until = _read_until(asked, now)
    return render_maintenance(
        services.maintenance_service.start(by, until, one_line(asked.comment or "", _MAX_COMMENT), now)
    )


def end_maintenance(services: Services, _name: str, asked: EndMaintenanceRequest) -> MaintenanceRow:
    """End maintenance; the second time changes nothing."""
    services.maintenance_service.stop(read_actor(ActorFields(by=asked.by, via=asked.via)), services.clock())
    return render_maintenance(None)


def render_maintenance(found: Maintenance | None) -> MaintenanceRow:
    if found is None:
        return MaintenanceRow(None, None, None, None)
    return MaintenanceRow(
        until=format_moment(found.until),
        since=format_moment(found.since),
        by=found.by,
        comment=found.comment or None,
    )


def _read_until(asked: StartMaintenanceRequest, now: float) -> float:
    """Return the moment asked for; Refusal with a sentence for none, two, or one too far away."""
    if bool(asked.for_) == bool(asked.until):
        raise RequestError(400, "expected for, like 2h, or until, like 2026-11-23T14:00:00Z")
    name, text = ("for", asked.for_ or "") if asked.for_ else ("until", asked.until or "")
    try:
        until = now + parse_duration(text) if asked.for_ else _parse_moment(text)
    except (ValueError, OverflowError):
        until = 0.0
    if not now < until <= now + LONGEST_S:
        expected = "a time like 30m or 2h" if asked.for_ else "a moment ahead like 2026-11-23T14:00:00Z"
        raise RequestError(400, f"{name} is {one_line(text, 100)!r}, expected {expected}, 7 days at most")
    return until


def _parse_moment(text: str) -> float:
    """Return the moment that RFC 3339 says; without a zone it is UTC."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
