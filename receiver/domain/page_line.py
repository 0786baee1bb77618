"""How a responder's page for an incident stands at PagerDuty, from what was tried and received."""

from __future__ import annotations

from dataclasses import dataclass

from receiver.domain.delivery import Delivery
from receiver.domain.incident import Incident
from receiver.domain.policy import Responder


@dataclass(frozen=True)
class PageLine:
    """A responder's PagerDuty incident for this incident: which run's page opened and closed it."""

    opened: int = 0
    closed: int = 0
    is_closing: bool = False  # a resolve was tried and nobody knows its end yet
    acknowledged: int = 0
    is_known: bool = False  # the page that opened it has a receipt; else it may never have arrived

    @property
    def is_open(self) -> bool:
        return self.opened > self.closed


def page_line(incident: Incident, responder: Responder) -> PageLine:
    """Return how the responder's PagerDuty incident stands, from what was tried and received."""
    opened, is_known = max(
        (
            _latest_page(delivery)
            for key, delivery in incident.deliveries.items()
            if key.startswith("page:") and _is_of(key, responder)
        ),
        default=(0, False),
    )
    closing = incident.deliveries.get(f"resolve:{responder.name}", Delivery("0"))
    acknowledged = incident.deliveries.get(f"acknowledge:{responder.name}", Delivery("0"))
    was_tried = closing.attempts > 0
    return PageLine(
        opened=opened,
        closed=int(closing.about) if was_tried and closing.is_settled else 0,
        is_closing=was_tried and not closing.is_settled,
        acknowledged=int(acknowledged.about) if acknowledged.attempts else 0,
        is_known=is_known,
    )


def find_latest_page(incident: Incident, responder: Responder) -> str:
    """Return the delivery key of the last page to *responder* in the run that opened its PagerDuty incident;
    empty where no page of the incident's own may stand there.
    """
    about = str(page_line(incident, responder).opened)
    found = [
        (delivery.last_attempt_at, key)
        for key, delivery in incident.deliveries.items()
        if key.startswith("page:")
        and _is_of(key, responder)
        and delivery.about == about
        and delivery.may_have_arrived
        and not delivery.storm
    ]
    return max(found, default=(0.0, ""))[1]


def hint_key(responder: Responder) -> str:
    """Return the delivery key of what a webhook of PagerDuty's told of the responder's page."""
    return f"hint:{responder.name}"


def has_own_page(incident: Incident, responder: Responder) -> bool:
    """Tell whether a page to *responder* is open of which we know no end."""
    line = page_line(incident, responder)
    return line.is_open and not line.is_closing


def find_storm_paging(incident: Incident, responder: Responder) -> str:
    """Return the storm whose page told *responder* of this run of the incident, empty where none did."""
    run = str(incident.run.number)
    return next(
        (
            delivery.storm
            for key, delivery in incident.deliveries.items()
            if key.startswith("page:")
            and _is_of(key, responder)
            and delivery.is_folded
            and delivery.about == run
        ),
        "",
    )


def _latest_page(delivery: Delivery) -> tuple[int, bool]:
    """Return the latest run whose page may stand at PagerDuty, and whether that is known to have arrived.

    A page that is folded into a storm's has opened none of this incident's own.
    """
    if delivery.may_have_arrived and not delivery.storm:
        return int(delivery.about), delivery.receipt is not None
    return int(delivery.earlier or 0), False


def _is_of(key: str, responder: Responder) -> bool:
    name = key.removeprefix("page:")
    return name == responder.name or name.rpartition("#")[0] == responder.name
