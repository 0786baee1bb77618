"""How a responder's page for an incident stands at PagerDuty, from what was tried and received."""

from __future__ import annotations

from dataclasses import dataclass

from receiver.domain.delivery import Delivery
from receiver.domain.incident import Incident
from receiver.domain.policy import PAGERDUTY, Responder, Target

# Stands between a responder's name and the digest of a former key in the key of a delivery.
FORMER_KEY_SEPARATOR = "~"


@dataclass(frozen=True)
class PageState:
    """A responder's PagerDuty incident for this incident: which run's page opened and closed it."""

    opened: int = 0
    closed: int = 0
    is_closing: bool = False  # a resolve was tried and nobody knows its end yet
    acknowledged: int = 0
    is_known: bool = False  # the page that opened it has a receipt; else it may never have arrived
    key_digest: str = ""  # of the routing key that page went out under

    @property
    def is_open(self) -> bool:
        return self.opened > self.closed


def page_state(incident: Incident, responder: Responder) -> PageState:
    """Return how the responder's PagerDuty incident stands, from what was tried and received."""
    pages = (_latest_page(delivery) for delivery in _list_pages(incident, responder))
    opened, is_known, _, key_digest = max(pages, default=(0, False, 0.0, ""))
    closing = incident.deliveries.get(f"resolve:{responder.name}", Delivery("0"))
    acknowledged = incident.deliveries.get(f"acknowledge:{responder.name}", Delivery("0"))
    was_tried = closing.attempts > 0
    return PageState(
        opened=opened,
        closed=int(closing.instance) if was_tried and closing.is_settled else 0,
        is_closing=was_tried and not closing.is_settled,
        acknowledged=int(acknowledged.instance.partition("@")[0]) if acknowledged.attempts else 0,
        is_known=is_known,
        key_digest=key_digest,
    )


def list_former_keys(incident: Incident, responder: Responder) -> dict[str, int]:
    """Return the digests of other routing keys under which PagerDuty incidents may be open, with the last run
    that paged under each: the responder's key was changed while they were.
    """
    latest = page_state(incident, responder).key_digest
    found: dict[str, int] = {}
    for page in _list_pages(incident, responder):
        pairs = (
            (page.key_digest, page.instance if page.may_have_arrived else ""),
            (page.earlier_key_digest, page.earlier),
        )
        for key, instance in pairs:
            if key and instance and key != latest:
                found[key] = max(found.get(key, 0), int(instance))
    return found


def build_gone_responder(name: str) -> Responder:
    """Return a responder that was paged and has left the configuration; its key is known by digest only."""
    return Responder(name, (Target(PAGERDUTY, name),))


def list_paged_names(incident: Incident) -> list[str]:
    """Return the names of all responders to whom pages of the incident's own were sent."""
    pages = (delivery for key, delivery in incident.deliveries.items() if key.startswith("page:"))
    return sorted({page.target.partition(":")[2] for page in pages if page.target and not page.storm})


def list_notified_names(incident: Incident) -> set[str]:
    """Return the names of all responders whose pager something was to be told: a page, its acknowledgement or
    its end. Of any other responder PagerDuty knows nothing, and nothing has to be asked.
    """
    names = set()
    for key in incident.deliveries:
        kind, _, name = key.partition(":")
        if kind in ("page", "acknowledge", "resolve"):
            names |= {name, name.rpartition("#")[0], name.rpartition(FORMER_KEY_SEPARATOR)[0]}
    return names


def _list_pages(incident: Incident, responder: Responder) -> list[Delivery]:
    return [
        delivery
        for key, delivery in incident.deliveries.items()
        if key.startswith("page:") and _is_of(key, responder)
    ]


def find_latest_page(incident: Incident, responder: Responder) -> str:
    """Return the delivery key of the last page to *responder* in the run that opened its PagerDuty incident;
    empty where no page of the incident's own may stand there.
    """
    instance = str(page_state(incident, responder).opened)
    found = [
        (delivery.last_attempt_at, key)
        for key, delivery in incident.deliveries.items()
        if key.startswith("page:")
        and _is_of(key, responder)
        and delivery.instance == instance
        and delivery.may_have_arrived
        and not delivery.storm
    ]
    return max(found, default=(0.0, ""))[1]


def hint_key(responder: Responder) -> str:
    """Return the delivery key of what a webhook of PagerDuty's told of the responder's page."""
    return f"hint:{responder.name}"


def acknowledgement_instance(opened: int, acknowledged_at: float) -> str:
    """Return which instance of telling the pager that somebody has it this is: of the page that run *opened*,
    and of this acknowledgement. Given again, it is told again, so that PagerDuty's own time begins anew, too.
    """
    return f"{opened}@{acknowledged_at:.3f}"


def has_own_page(incident: Incident, responder: Responder) -> bool:
    """Tell whether a page to *responder* is open of which we know no end."""
    state = page_state(incident, responder)
    return state.is_open and not state.is_closing


def find_storm_paging(incident: Incident, responder: Responder) -> str:
    """Return the storm whose page told *responder* of this run of the incident, empty where none did."""
    run = str(incident.run.number)
    return next(
        (
            delivery.storm
            for key, delivery in incident.deliveries.items()
            if key.startswith("page:")
            and _is_of(key, responder)
            and delivery.is_bundled
            and delivery.instance == run
        ),
        "",
    )


def _latest_page(delivery: Delivery) -> tuple[int, bool, float, str]:
    """Return the latest run whose page may stand at PagerDuty, whether that is known to have arrived, when it
    was last tried, and under which key (by its digest).

    A page that is folded into a storm's has opened none of this incident's own.
    """
    if delivery.may_have_arrived and not delivery.storm:
        return (
            int(delivery.instance),
            delivery.receipt is not None,
            delivery.last_attempt_at,
            delivery.key_digest,
        )
    return int(delivery.earlier or 0), False, 0.0, delivery.earlier_key_digest or delivery.key_digest


def _is_of(key: str, responder: Responder) -> bool:
    name = key.removeprefix("page:")
    return name == responder.name or name.rpartition("#")[0] == responder.name
