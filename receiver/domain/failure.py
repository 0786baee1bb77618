"""Deliveries given up for good: how they are named in addresses, and what asking again makes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from receiver.errors import RefusalKind
from receiver.model.delivery import Delivery
from receiver.model.incident import Incident, Person, TimelineEvent
from receiver.model.routing import PAGERDUTY, find_digest


@dataclass(frozen=True)
class Failure:
    """A delivery of an incident, with the incident's head. It may have been sent (again) since."""

    incident: Incident
    key: str
    delivery: Delivery

    @property
    def id(self) -> str:
        return delivery_id(self.incident.id, self.key)


def delivery_id(incident_id: str, key: str) -> str:
    """Return a delivery's own name: keys have characters that addresses don't."""
    return f"{incident_id}.{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def queue_for(delivery: Delivery) -> str:
    """Return whose workers try a delivery: the channel kind it goes to."""
    return delivery.target.partition(":")[0]


def has_new_credentials(failure: Failure, digests: Mapping[str, str]) -> bool:
    """Tell whether a delivery was refused for credentials that are others now, by their *digests*.

    What a past incident still has to tell PagerDuty is left: its dedup key is that of the incident that
    holds the group now, and an old resolve would close that one's page.
    """
    if failure.incident.is_past and queue_for(failure.delivery) == PAGERDUTY:
        return False
    return is_refused_under_former(failure.delivery, digests)


def is_refused_under_former(delivery: Delivery, digests: Mapping[str, str]) -> bool:
    """Tell whether *delivery* was refused for credentials, and there are others now."""
    if not delivery.failed_at or delivery.kind != RefusalKind.CREDENTIALS:
        return False
    digest = find_digest(digests, delivery.target)
    return bool(digest) and digest != delivery.refused_under


def retry_with_new_credentials(failure: Failure, now: float) -> tuple[Delivery, TimelineEvent]:
    """Return the delivery as one still to be made with other credentials, and the timeline's line."""
    text = f"Other credentials: sending {failure.key} to {failure.delivery.target} again"
    return failure.delivery.revived(), TimelineEvent(now, "retried", text)


def retry_by_request(failure: Failure, by: Person, now: float) -> tuple[Delivery, TimelineEvent]:
    """Return the delivery as one still to be made, and how the timeline tells who asked.

    What may have arrived is still looked for first. If nobody needs it any more, it is not made.
    """
    delivery = failure.delivery.revived()
    text = f"Asked to send {failure.key} to {delivery.target} again"
    return delivery, TimelineEvent(now, "retried", text, by=by.name, via=by.via)
