"""What an incident's deliveries say about its pages at PagerDuty, its message and its fallback."""

from __future__ import annotations

from dataclasses import dataclass

from receiver.errors import RefusalKind
from receiver.model.delivery import Delivery
from receiver.model.delivery_keys import (
    FALLBACK,
    MESSAGE,
    REPLACEMENT,
    DeliveryKey,
    acknowledge_key,
    build_fallback_step,
    fallback_mention_key,
    is_page_key,
    is_page_to,
    list_event_names,
    page_delayed_key,
    page_key,
    reply_key,
    resolve_key,
)
from receiver.model.incident import Incident
from receiver.model.routing import PAGERDUTY, SLACK, EscalationPolicy, Responder, Step, Target


@dataclass(frozen=True)
class PageState:
    """The state of a responder's PagerDuty incident for this incident.

    *opened*, *closed* and *acknowledged* are the numbers of the escalation runs whose page was opened,
    resolved and acknowledged last; 0: none.
    """

    opened: int = 0
    closed: int = 0
    is_closing: bool = False  # a resolve was attempted and has no result yet
    acknowledged: int = 0
    is_known: bool = False  # the page that opened it has a receipt; otherwise it may not have arrived
    key_digest: str = ""  # of the routing key that page was sent with

    @property
    def is_open(self) -> bool:
        return self.opened > self.closed


def page_state(incident: Incident, responder: Responder) -> PageState:
    """Return the state of the responder's PagerDuty incident, from our attempts and receipts."""
    pages = (_latest_page(delivery) for delivery in _list_pages(incident, responder))
    opened, is_known, _, key_digest = max(pages, default=(0, False, 0.0, ""))
    closing = incident.deliveries.get(resolve_key(responder.name), Delivery("0"))
    acknowledged = incident.deliveries.get(acknowledge_key(responder.name), Delivery("0"))
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
    """Return the digests of the responder's former routing keys under which PagerDuty incidents may be open,
    each with the last escalation run that paged under it. The key was changed while they were open.
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


def is_page_ended(incident: Incident, responder: Responder) -> bool:
    """Tell whether PagerDuty has the resolve of each page of this incident to *responder*, or refused it."""
    state = page_state(incident, responder)
    resolves = (
        incident.deliveries.get(resolve_key(responder.name, key), Delivery())
        for key in list_former_keys(incident, responder)
    )
    return not state.is_open and not state.is_closing and all(resolve.is_settled for resolve in resolves)


def build_gone_responder(name: str) -> Responder:
    """Return a paged responder that left the configuration; only the digest of its key is known."""
    return Responder(name, (Target(PAGERDUTY, name),))


def list_paged_names(incident: Incident) -> list[str]:
    """Return the names of all responders to whom a page of this incident was sent, not only a storm's."""
    pages = (delivery for key, delivery in incident.deliveries.items() if is_page_key(key))
    return sorted({page.target.partition(":")[2] for page in pages if page.target and not page.storm})


def list_notified_names(incident: Incident) -> set[str]:
    """Return the names of all responders with a page, acknowledgement or resolve for PagerDuty.

    PagerDuty has nothing of any other responder, so those need no event and no check.
    """
    names: set[str] = set()
    for key in incident.deliveries:
        names |= list_event_names(key)
    return names


def _list_pages(incident: Incident, responder: Responder) -> list[Delivery]:
    return [delivery for key, delivery in incident.deliveries.items() if is_page_to(key, responder.name)]


def find_latest_page(incident: Incident, responder: Responder) -> DeliveryKey | None:
    """Return the delivery key of the last page to *responder* in the escalation run that opened its PagerDuty
    incident; None where PagerDuty can have no page of this incident.
    """
    instance = str(page_state(incident, responder).opened)
    found = [
        (delivery.last_attempt_at, key)
        for key, delivery in incident.deliveries.items()
        if is_page_to(key, responder.name)
        and delivery.instance == instance
        and delivery.may_have_arrived
        and not delivery.storm
    ]
    return max(found, default=(0.0, None))[1]


def acknowledgement_instance(opened: int, acknowledged_at: float) -> str:
    """Return the instance of an acknowledgement sent to PagerDuty, for the page of run *opened*.

    Each later acknowledgement is another instance and is sent too, so that PagerDuty's own acknowledgement
    timeout starts again.
    """
    return f"{opened}@{acknowledged_at:.3f}"


def has_own_page(incident: Incident, responder: Responder) -> bool:
    """Tell whether a page to *responder* is open and no resolve of it is in progress."""
    state = page_state(incident, responder)
    return state.is_open and not state.is_closing


def find_storm_paging(incident: Incident, responder: Responder) -> str:
    """Return the storm whose page notified *responder* in this escalation run; empty where none did."""
    run = str(incident.run.number)
    return next(
        (
            delivery.storm
            for key, delivery in incident.deliveries.items()
            if is_page_to(key, responder.name) and delivery.is_bundled and delivery.instance == run
        ),
        "",
    )


def _latest_page(delivery: Delivery) -> tuple[int, bool, float, str]:
    """Return the latest run whose page may be at PagerDuty, whether it has a receipt, when it was last
    attempted, and the digest of its routing key.

    A page that is bundled into a storm's opened no PagerDuty incident for this incident.
    """
    if delivery.may_have_arrived and not delivery.storm:
        return (
            int(delivery.instance),
            delivery.receipt is not None,
            delivery.last_attempt_at,
            delivery.key_digest,
        )
    return int(delivery.earlier or 0), False, 0.0, delivery.earlier_key_digest or delivery.key_digest


# An edit or reply refused with one of these kinds means that the channel itself is out of reach.
_OUT_OF_REACH = (RefusalKind.TARGET_GONE, RefusalKind.CREDENTIALS)


def find_announcing_storm(incident: Incident) -> str:
    """Return the storm whose message and thread take the place of the incident's own; empty where none does.
    It may be a storm of the fallback channel.
    """
    if incident.message is not None:
        return ""
    announced = (incident.deliveries.get(key, Delivery()) for key in (MESSAGE, FALLBACK))
    return next((delivery.storm for delivery in announced if delivery.is_bundled), "")


def is_announced_by_storm(incident: Incident) -> bool:
    """Tell whether a storm's message takes the place of the incident's own."""
    return bool(find_announcing_storm(incident))


def message_target(incident: Incident, message: Delivery) -> Target:
    """Return the channel that *message* was posted in."""
    kind, _, address = message.target.partition(":")
    return Target(SLACK, address if kind == SLACK and address else incident.channel)


def find_channel_failure(incident: Incident) -> Delivery | None:
    """Return a delivery that shows that the incident's own channel accepts no messages; None without one."""
    for key in (REPLACEMENT, MESSAGE):
        delivery = incident.deliveries.get(key)
        if delivery is not None and delivery.failed_at:
            return delivery
    own = f"{SLACK}:{incident.channel}"
    return next(
        (
            d
            for d in incident.deliveries.values()
            if d.failed_at and d.target == own and d.kind in _OUT_OF_REACH
        ),
        None,
    )


def find_fallback_channel(incident: Incident, policy: EscalationPolicy) -> Target | None:
    """Return the fallback where it is a channel other than the incident's own; else None."""
    fallback = policy.fallback
    return fallback if isinstance(fallback, Target) and fallback.address != incident.channel else None


def find_fallback_responder(policy: EscalationPolicy) -> Responder | None:
    """Return the fallback where it is a responder; else None."""
    return policy.fallback if isinstance(policy.fallback, Responder) else None


def is_in_fallback_channel(incident: Incident) -> bool:
    """Tell whether the incident's message is in the fallback channel, or about to be posted there."""
    message = incident.message
    if message is not None and message is incident.deliveries.get(FALLBACK):
        return True
    return FALLBACK not in incident.deliveries and find_channel_failure(incident) is not None


def find_step_failure(incident: Incident, step: Step) -> Delivery | None:
    """Return the delivery of *step* that failed for good in this run, the page first; None without one.

    The reply counts only where the responder has a Slack target, not where it only says who is paged.
    While there is no message there is no thread, so the message's failure counts as the reply's.
    """
    page = run_delivery(incident, page_key(step))
    if page.failed_at:
        return page
    if not step.responder.find_target(SLACK):
        return None
    reply, root = run_delivery(incident, reply_key(step)), incident.deliveries.get(MESSAGE, Delivery())
    delivery = reply if reply.attempts or root.receipt else root
    return delivery if delivery.failed_at else None


def needs_fallback_mention(incident: Incident, policy: EscalationPolicy, step: Step) -> bool:
    """Tell whether *step* needs a mention in the fallback channel.

    Where the incident's message is in that channel, its thread already reports the steps and failed pages,
    so only a lost reply needs one.
    """
    if find_fallback_channel(incident, policy) is None:
        return False
    reply = run_delivery(incident, reply_key(step))
    is_reply_lost = reply.failed_at > 0 and step.responder.find_target(SLACK) is not None
    if is_in_fallback_channel(incident):
        return is_reply_lost
    return is_reply_lost or run_delivery(incident, page_key(step)).failed_at > 0


def list_fallback_deliveries(
    incident: Incident, policy: EscalationPolicy, step: Step, due_at: float
) -> list[Delivery]:
    """Return the deliveries whose receipt also makes *step* notified, beside those to its own targets.

    A delivery to the fallback responder is shared by several steps: it notifies those that were due when it
    arrived, and no later ones.
    """
    found = []
    page_delayed = run_delivery(incident, page_delayed_key(step))
    is_simulated = page_delayed.receipt is not None and page_delayed.receipt.is_simulated
    if not is_simulated and (page_delayed.attempts or _is_page_delayed(incident, step)):
        found.append(page_delayed)
    failure = find_step_failure(incident, step)
    mention = run_delivery(incident, fallback_mention_key(step))
    if mention.attempts or (failure is not None and needs_fallback_mention(incident, policy, step)):
        found.append(mention)
    responder = find_fallback_responder(policy)
    if failure is None or responder is None:
        return found
    fallback_step = build_fallback_step(responder)
    has_thread = incident.message is not None or is_announced_by_storm(incident)
    shared = [run_delivery(incident, page_key(fallback_step))] if responder.find_target(PAGERDUTY) else []
    if responder.find_target(SLACK) and has_thread:
        shared.append(run_delivery(incident, reply_key(fallback_step)))
    return found + [d for d in shared if d.receipt is None or d.receipt.at >= due_at]


def find_pending_message(incident: Incident, policy: EscalationPolicy) -> Delivery:
    """Return the delivery of the message whose thread replies will go to, while none has arrived."""
    root = incident.deliveries.get(MESSAGE, Delivery())
    if root.failed_at and find_fallback_channel(incident, policy) is not None:
        return incident.deliveries.get(FALLBACK, Delivery())
    return root


def run_delivery(incident: Incident, key: DeliveryKey) -> Delivery:
    """Return the delivery of *key* in this escalation run; an empty one if there is none."""
    delivery, run = incident.deliveries.get(key), str(incident.run.number)
    return delivery if delivery is not None and delivery.instance == run else Delivery(run)


def _is_page_delayed(incident: Incident, step: Step) -> bool:
    """Tell whether the step's page was refused for good and there is a thread that will report it."""
    has_thread = incident.message is not None or is_announced_by_storm(incident)
    return run_delivery(incident, page_key(step)).failed_at > 0 and has_thread
