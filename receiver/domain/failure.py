"""Deliveries given up for good: how they are named in addresses, and what asking again makes of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from receiver.domain.delivery import Delivery
from receiver.domain.incident import Event, Incident
from receiver.domain.person import Person


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


def lane_of(delivery: Delivery) -> str:
    """Return whose workers try a delivery: the channel kind it goes to."""
    return delivery.target.partition(":")[0]


def ask_again(failure: Failure, by: Person, now: float) -> tuple[Delivery, Event]:
    """Return the delivery as one still to be made, and how the timeline tells who asked.

    What may have arrived is still looked for first. If nobody needs it any more, it is not made.
    """
    delivery = failure.delivery.revived()
    text = f"Asked to send {failure.key} to {delivery.target} again"
    return delivery, Event(now, "retried", text, by=by.name, via=by.via)
