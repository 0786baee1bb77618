"""What an incident's deliveries say about its pages at PagerDuty, its message and its fallback."""

from __future__ import annotations

from msgspec import Struct

from receiver.errors import RefusalKind
from receiver.model import delivery_keys as keys
from receiver.model.delivery import Delivery
from receiver.model.incident import Incident
from receiver.model.routing import PAGERDUTY, SLACK, EscalationPolicy, Responder, Step, Target


class PageState(Struct, frozen=True):
    """The state of a responder's PagerDuty incident for this incident."""

    opened: int = 0  # the number of the last escalation run whose page was opened; 0: none
    closed: int = 0  # the last one whose page was resolved
    is_closing: bool = False  # a resolve was attempted and has no result yet
    acknowledged: int = 0  # the last one whose page was acknowledged
    is_known: bool = False  # the page that opened it has a receipt; otherwise it may not have arrived
    key_digest: str = ""  # of the routing key that page was sent with

    @property
    def is_open(self) -> bool:
        return self.opened > self.closed

    @property
    def is_active(self) -> bool:
        """It is open, and no resolve of it is in progress."""
        return self.is_open and not self.is_closing


def page_state(incident: Incident, responder: Responder) -> PageState:
    """Return the state of the responder's PagerDuty incident, from our attempts and receipts."""
    pages = incident.pages.get(responder.name, {}).values()
    opened, is_known, _, key_digest = max(map(_find_latest_run, pages), default=(0, False, 0.0, ""))
    closing = incident.find_delivery(keys.resolve_key(responder.name))
    acknowledged = incident.find_delivery(keys.acknowledge_key(responder.name))
    was_tried = closing.attempts > 0
    return PageState(
        opened=opened,
        closed=int(closing.instance) if was_tried and closing.is_settled else 0,
        is_closing=was_tried and not closing.is_settled,
        acknowledged=int(acknowledged.instance.partition("@")[0]) if acknowledged.attempts else 0,
        is_known=is_known,
        key_digest=key_digest,
    )


def list_former_keys(incident: Incident, responder: Responder, state: PageState) -> dict[str, int]:
    """Return the digests of the responder's former routing keys under which PagerDuty incidents may be open,
    each with the last escalation run that paged under it. The key was changed while they were open.
    """
    found: dict[str, int] = {}
    for page in incident.pages.get(responder.name, {}).values():
        for key, instance in (
            (page.key_digest, page.instance if page.may_have_arrived else ""),
            (page.earlier_key_digest, page.earlier),
        ):
            if key and instance and key != state.key_digest:
                found[key] = max(found.get(key, 0), int(instance))
    return found


def is_page_ended(incident: Incident, responder: Responder) -> bool:
    """Return whether PagerDuty has the resolve of each page of the incident to *responder*, or refused it."""
    state = page_state(incident, responder)
    former_keys = list_former_keys(incident, responder, state)
    resolves = (incident.find_delivery(keys.resolve_key(responder.name, key)) for key in former_keys)
    return not state.is_open and not state.is_closing and all(resolve.is_settled for resolve in resolves)


def build_gone_responder(name: str) -> Responder:
    """Return a paged responder that left the configuration; only the digest of its key is known."""
    return Responder(name, (Target(PAGERDUTY, name),))


def list_paged_names(incident: Incident) -> list[str]:
    """Return the names of all responders to whom a page of this incident was sent, not only a storm's."""
    pages = [page for by_key in incident.pages.values() for page in by_key.values()]
    return sorted({page.target.partition(":")[2] for page in pages if page.target and not page.storm})


def find_latest_page(incident: Incident, responder: Responder, state: PageState) -> keys.DeliveryKey | None:
    """Return the delivery key of the last page to *responder* in the escalation run that opened its PagerDuty
    incident; None where PagerDuty can have no page of this incident.
    """
    instance = str(state.opened)
    found = [
        (page.last_attempt_at, key)
        for key, page in incident.pages.get(responder.name, {}).items()
        if page.instance == instance and page.may_have_arrived and not page.storm
    ]
    return max(found)[1] if found else None


def acknowledgement_instance(opened: int, acknowledged_at: float) -> str:
    """Return the instance of an acknowledgement sent to PagerDuty, for the page of run *opened*.

    Each later acknowledgement is another instance and is sent too, so that PagerDuty's own acknowledgement
    timeout starts again.
    """
    return f"{opened}@{acknowledged_at:.3f}"


def find_storm_paging(incident: Incident, responder: Responder) -> str:
    """Return the storm whose page notified *responder* in this escalation run; empty where none did."""
    pages = incident.pages.get(responder.name, {}).values()
    run = incident.run_instance
    return next((page.storm for page in pages if page.is_bundled and page.instance == run), "")


def _find_latest_run(page: Delivery) -> tuple[int, bool, float, str]:
    """Return the latest run whose page may be at PagerDuty, whether it has a receipt, when it was last
    attempted, and the digest of its routing key.

    A page that is bundled into a storm's opened no PagerDuty incident for this incident.
    """
    if page.may_have_arrived and not page.storm:
        return int(page.instance), page.receipt is not None, page.last_attempt_at, page.key_digest
    return int(page.earlier or 0), False, 0.0, page.earlier_key_digest or page.key_digest


# An edit or reply refused with one of these kinds means that the channel itself is out of reach.
_OUT_OF_REACH = (RefusalKind.TARGET_GONE, RefusalKind.CREDENTIALS)


def find_announcing_storm(incident: Incident) -> str:
    """Return the storm whose message and thread take the place of the incident's own; empty where none does.
    It may be a storm of the fallback channel.
    """
    if incident.message is not None:
        return ""
    announced = (incident.find_delivery(key) for key in (keys.MESSAGE, keys.FALLBACK))
    return next((delivery.storm for delivery in announced if delivery.is_bundled), "")


def has_thread(incident: Incident) -> bool:
    """Return whether replies have a thread: that of the incident's message, or of a storm's in its place."""
    return incident.message is not None or bool(find_announcing_storm(incident))


def message_target(incident: Incident, message: Delivery) -> Target:
    """Return the channel that *message* was posted in."""
    kind, _, address = message.target.partition(":")
    return Target(SLACK, address if kind == SLACK and address else incident.channel)


def find_channel_failure(incident: Incident) -> Delivery | None:
    """Return a delivery that shows that the incident's own channel accepts no messages; None without one."""
    failed = [delivery for delivery in incident.deliveries.values() if delivery.failed_at]
    if not failed:
        return None
    for key in (keys.REPLACEMENT, keys.MESSAGE):
        if (message := incident.find_delivery(key)).failed_at:
            return message
    own = f"{SLACK}:{incident.channel}"
    return next((d for d in failed if d.target == own and d.kind in _OUT_OF_REACH), None)


def find_fallback_channel(incident: Incident, policy: EscalationPolicy) -> Target | None:
    """Return the fallback where it is a channel other than the incident's own; else None."""
    fallback = policy.fallback
    return fallback if isinstance(fallback, Target) and fallback.address != incident.channel else None


def is_in_fallback_channel(incident: Incident) -> bool:
    """Return whether the incident's message is in the fallback channel, or about to be posted there."""
    fallback = incident.deliveries.get(keys.FALLBACK)
    if fallback is None:
        return find_channel_failure(incident) is not None
    return incident.message is fallback


def find_step_failure(incident: Incident, step: Step) -> Delivery | None:
    """Return the delivery of *step* that failed for good in this run, the page first; None without one.

    The reply counts only where the responder has a Slack target, not where it only says who is paged.
    While there is no message there is no thread, so the message's failure counts as the reply's.
    """
    page = incident.find_run_delivery(keys.page_key(step.name))
    if page.failed_at:
        return page
    if not step.responder.find_target(SLACK):
        return None
    reply = incident.find_run_delivery(keys.reply_key(step.name))
    message = incident.find_delivery(keys.MESSAGE)
    delivery = reply if reply.attempts or message.receipt else message
    return delivery if delivery.failed_at else None


def needs_fallback_mention(incident: Incident, policy: EscalationPolicy, step: Step) -> bool:
    """Return whether *step* needs a mention in the fallback channel.

    Where the incident's message is in that channel, its thread already reports the steps and failed pages,
    so only a lost reply needs one.
    """
    if find_fallback_channel(incident, policy) is None:
        return False
    reply = incident.find_run_delivery(keys.reply_key(step.name))
    if reply.failed_at and step.responder.find_target(SLACK):
        return True
    page = incident.find_run_delivery(keys.page_key(step.name))
    return page.failed_at > 0 and not is_in_fallback_channel(incident)


def list_fallback_deliveries(
    incident: Incident, policy: EscalationPolicy, step: Step, due_at: float
) -> list[Delivery]:
    """Return the deliveries whose receipt also makes *step* notified, beside those to its own targets.

    A delivery to the fallback responder is shared by several steps: it notifies those that were due when it
    arrived, and no later ones.
    """
    found = []
    page_delayed = incident.find_run_delivery(keys.page_delayed_key(step.name))
    is_simulated = page_delayed.receipt is not None and page_delayed.receipt.is_simulated
    failure = find_step_failure(incident, step)
    # A page that was refused for good is reported where there is a thread.
    is_refused = failure is not None and incident.find_run_delivery(keys.page_key(step.name)).failed_at > 0
    if not is_simulated and (page_delayed.attempts or (is_refused and has_thread(incident))):
        found.append(page_delayed)
    mention = incident.find_run_delivery(keys.fallback_mention_key(step.name))
    if mention.attempts or (failure is not None and needs_fallback_mention(incident, policy, step)):
        found.append(mention)
    responder = policy.fallback_responder
    if failure is None or responder is None:
        return found
    name, shared = responder.fallback_step.name, []
    if responder.find_target(PAGERDUTY):
        shared.append(incident.find_run_delivery(keys.page_key(name)))
    if responder.find_target(SLACK) and has_thread(incident):
        shared.append(incident.find_run_delivery(keys.reply_key(name)))
    return found + [d for d in shared if d.receipt is None or d.receipt.at >= due_at]


def find_pending_message(incident: Incident, policy: EscalationPolicy) -> Delivery:
    """Return the delivery of the message whose thread replies will go to, while none has arrived."""
    message = incident.find_delivery(keys.MESSAGE)
    is_replaced = message.failed_at > 0 and find_fallback_channel(incident, policy) is not None
    return incident.find_delivery(keys.FALLBACK) if is_replaced else message
