"""News from PagerDuty about its own incidents, and how they stand there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PagerDutyEvent:
    """One event of PagerDuty's about one of its incidents. A hint: it may be late or out of order.

    *incident_key* is empty for an incident that was opened by alerts; *status* is the incident's, or
    what a responder answered. *to* names who it went to, or who was asked to help; *merged_into* is
    the PagerDuty incident that took this one's place. *is_person* tells whether a user of PagerDuty did it:
    the event's `agent` is a user. Auto-resolve names a service or no agent, an integration names itself.
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
    is_person: bool = False


@dataclass(frozen=True)
class PagerDutyStatus:
    """How an incident stands in PagerDuty: `triggered`, `acknowledged`, `resolved` or `merged`.

    Merged is over, too, but its alerts go on in the incident *merged_into*. *by* acknowledged or resolved it,
    and *is_person* tells whether that is a user of PagerDuty (`last_status_change_by` is a user):
    auto-resolve, event rules and integrations are not. Moments are seconds since the epoch by our own
    clock, 0 where they are not known. *id* and *link* are PagerDuty's own name and address of it.
    """

    status: str
    by: str = ""
    changed_at: float = 0.0
    is_person: bool = False
    created_at: float = 0.0
    id: str = ""
    link: str = ""
    merged_into: str = ""

    @property
    def is_open(self) -> bool:
        return self.status in ("triggered", "acknowledged")
