"""News from PagerDuty about its own incidents, and how they stand there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PagerNews:
    """One event of PagerDuty's about one of its incidents. A hint: it may be late or out of order.

    *incident_key* is empty for an incident that was opened by alerts; *status* is the incident's, or
    what a responder answered. *to* names who it went to, or who was asked to help; *merged_into* is
    the PagerDuty incident that took this one's place.
    """

    event_id: str
    event_type: str
    incident_id: str
    incident_key: str = ""
    status: str = ""
    by: str = ""
    occurred_at: float = 0.0
    to: tuple[str, ...] = ()
    merged_into: str = ""


@dataclass(frozen=True)
class PagerStatus:
    """How an incident stands in PagerDuty: `triggered`, `acknowledged`, `resolved` or `merged`.

    Merged is over, too, but its alerts go on in another. *by* acknowledged or resolved it; *changed_at* is
    0 where it isn't known.
    """

    status: str
    by: str = ""
    changed_at: float = 0.0
