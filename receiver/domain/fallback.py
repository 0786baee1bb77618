"""What stands in where something can't be delivered for good: which deliveries, and what of a step they tell.

The route's fallback is a channel (a Target) or a responder. A fallback that fails too is simply a
failed delivery; nothing stands in for it.
"""

from __future__ import annotations

from receiver.domain.delivery import Delivery
from receiver.domain.incident import Incident
from receiver.domain.policy import PAGERDUTY, SLACK, EscalationPolicy, Responder, Step, Target
from receiver.errors import RefusalKind

# The delivery key of the message that stands in for the incident's own, in the fallback channel.
FALLBACK = "fallback"
_MESSAGES = ("root", "root2", FALLBACK)
# An edit or a reply so refused means that the message itself is out of reach.
_OUT_OF_REACH = (RefusalKind.TARGET_GONE, RefusalKind.CREDENTIALS)


def build_fallback_step(responder: Responder) -> Step:
    """Return the step by which a fallback responder is told; no step of a policy can have its name."""
    return Step(f"{responder.name}#{FALLBACK}", responder)


def fallback_mention_key(step: Step) -> str:
    """Return the delivery key of what tells *step* in the fallback channel."""
    return f"{FALLBACK}:{step.name}"


def page_delayed_key(step: Step) -> str:
    """Return the delivery key of the reply that says that PagerDuty can't be reached."""
    return f"unreached:{step.name}"


def find_message(incident: Incident) -> Delivery | None:
    """Return the delivery of the incident's message: of those that arrived, the newest."""
    found = [
        d
        for key in _MESSAGES
        if (d := incident.deliveries.get(key)) is not None and d.receipt and not d.is_bundled
    ]
    return max(found, key=lambda d: d.receipt.at if d.receipt else 0.0, default=None)


def find_announcing_storm(incident: Incident) -> str:
    """Return the storm whose message stands for the incident's own, and its thread for the incident's; empty
    where none does. It may be one of the fallback channel.
    """
    if find_message(incident) is not None:
        return ""
    announced = (incident.deliveries.get(key, Delivery()) for key in ("root", FALLBACK))
    return next((delivery.storm for delivery in announced if delivery.is_bundled), "")


def is_announced_by_storm(incident: Incident) -> bool:
    """Tell whether a storm's message stands for the incident's own."""
    return bool(find_announcing_storm(incident))


def message_target(incident: Incident, message: Delivery) -> Target:
    """Return the channel in which *message* stands."""
    kind, _, address = message.target.partition(":")
    return Target(SLACK, address if kind == SLACK and address else incident.channel)


def find_channel_failure(incident: Incident) -> Delivery | None:
    """Return what shows that nothing can be said in the incident's own channel; None where it can."""
    for key in ("root2", "root"):
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
    """Return the fallback where it is another channel than the incident's own."""
    fallback = policy.fallback
    return fallback if isinstance(fallback, Target) and fallback.address != incident.channel else None


def find_fallback_responder(policy: EscalationPolicy) -> Responder | None:
    """Return the fallback where it is a responder."""
    return policy.fallback if isinstance(policy.fallback, Responder) else None


def is_in_fallback_channel(incident: Incident) -> bool:
    """Tell whether the incident's message stands in the fallback channel, or is on its way there."""
    message = find_message(incident)
    if message is not None and message is incident.deliveries.get(FALLBACK):
        return True
    return FALLBACK not in incident.deliveries and find_channel_failure(incident) is not None


def find_step_failure(incident: Incident, step: Step) -> Delivery | None:
    """Return what of *step* was given up for good in this run, what wakes somebody first.

    The reply counts only where it is meant for somebody, not where it says who is paged. Without a
    message there is no thread, and its fate is the message's.
    """
    page = run_delivery(incident, f"page:{step.name}")
    if page.failed_at:
        return page
    if not step.responder.find_target(SLACK):
        return None
    reply, root = run_delivery(incident, f"step:{step.name}"), incident.deliveries.get("root", Delivery())
    delivery = reply if reply.attempts or root.receipt else root
    return delivery if delivery.failed_at else None


def needs_fallback_mention(incident: Incident, policy: EscalationPolicy, step: Step) -> bool:
    """Tell whether *step* is to be told in the fallback channel.

    A message that stands there has a thread, in which steps are told anyhow, and in which a page that
    failed is said.
    """
    if find_fallback_channel(incident, policy) is None:
        return False
    reply = run_delivery(incident, f"step:{step.name}")
    is_reply_lost = reply.failed_at > 0 and step.responder.find_target(SLACK) is not None
    if is_in_fallback_channel(incident):
        return is_reply_lost
    return is_reply_lost or run_delivery(incident, f"page:{step.name}").failed_at > 0


def list_fallback_deliveries(
    incident: Incident, policy: EscalationPolicy, step: Step, due_at: float
) -> list[Delivery]:
    """Return the deliveries whose arrival tells *step* beside those to its own targets.

    One that stands in for several steps tells those that were due when it arrived, and none that came
    later.
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
    name = build_fallback_step(responder).name
    has_thread = find_message(incident) is not None or is_announced_by_storm(incident)
    shared = [run_delivery(incident, f"page:{name}")] if responder.find_target(PAGERDUTY) else []
    if responder.find_target(SLACK) and has_thread:
        shared.append(run_delivery(incident, f"step:{name}"))
    return found + [d for d in shared if d.receipt is None or d.receipt.at >= due_at]


def find_pending_message(incident: Incident, policy: EscalationPolicy) -> Delivery:
    """Return the delivery of the message in whose thread replies will be, while there is none."""
    root = incident.deliveries.get("root", Delivery())
    if root.failed_at and find_fallback_channel(incident, policy) is not None:
        return incident.deliveries.get(FALLBACK, Delivery())
    return root


def run_delivery(incident: Incident, key: str) -> Delivery:
    """Return the delivery of *key* in this run of the escalation; an empty one if there is none."""
    delivery, run = incident.deliveries.get(key), str(incident.run.number)
    return delivery if delivery is not None and delivery.instance == run else Delivery(run)


def _is_page_delayed(incident: Incident, step: Step) -> bool:
    """Tell whether a page that was refused for good is sure to be said in a thread."""
    has_thread = find_message(incident) is not None or is_announced_by_storm(incident)
    return run_delivery(incident, f"page:{step.name}").failed_at > 0 and has_thread
