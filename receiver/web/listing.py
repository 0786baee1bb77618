"""Incidents in lists: what is there now, and what was since a moment."""

from __future__ import annotations

from datetime import UTC, datetime

from receiver.clock import parse_duration
from receiver.text import one_line
from receiver.web.answers import RequestError
from receiver.web.bodies import HistoryPage, IncidentPage
from receiver.web.incident_json import delivery_keys
from receiver.web.policies import policy_finder
from receiver.web.questions import HistoryQuery, ListQuery
from receiver.web.rows import serialize_history_row, serialize_row
from receiver.wiring.parts import Services

# Python knows no year after 9999, and a day, a zone or rounding may lead there.
LATEST = datetime(9999, 12, 30, tzinfo=UTC).timestamp()
_STATES = {
    "": frozenset[str](),
    "open": frozenset({"open", "acknowledged"}),
    "acknowledged": frozenset({"acknowledged"}),
    "resolved": frozenset({"resolved"}),
}


def list_incidents(services: Services, asked: ListQuery) -> IncidentPage:
    """Return part of the incidents, newest first."""
    page = services.incidents.list_newest(
        states=_STATES[asked.state],
        severity=asked.severity,
        alertname=asked.alertname,
        limit=asked.limit,
        cursor=asked.cursor,
        deliveries=delivery_keys(services),
    )
    now = services.clock()
    resolve_policy = policy_finder(services, now)
    rows = [serialize_row(one, resolve_policy(one), now) for one in page.incidents]
    return IncidentPage(rows, page.next_cursor)


def list_history(services: Services, asked: HistoryQuery) -> HistoryPage:
    """Return part of the incidents that opened at or after a moment, closed and open, newest first."""
    now = services.clock()
    page = services.incidents.list_newest(
        alertname=asked.alertname,
        opened_from=parse_since(asked.since, now),
        limit=asked.limit,
        cursor=asked.cursor,
        deliveries=delivery_keys(services),
    )
    resolve_policy = policy_finder(services, now)
    rows = [serialize_history_row(one, resolve_policy(one), now) for one in page.incidents]
    return HistoryPage(rows, page.next_cursor)


def parse_since(text: str, now: float, name: str = "since") -> float:
    """Return the moment that `7d` (back from *now*), a day or RFC 3339 says; 0 for nothing. It is such that a
    day can be told of it in each time zone.

    Raises Refusal with a sentence about *name*. A `+` that became a blank on its way through an address is
    taken for what it was.
    """
    if not text:
        return 0.0
    try:
        return max(0.0, now - parse_duration(text))
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        return min(max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()), LATEST)
    except (ValueError, OverflowError):
        raise RequestError(
            400,
            f"{name} is {one_line(text, 100)!r}, expected a duration like 7d, a day like 2026-11-23 "
            "or a moment like 2026-11-23T12:00:00Z",
        ) from None
