"""The fallbacks of an incident whose channel or step targets fail: messages, mentions, replies elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.model.actions import Action, FallbackMention, Post, Reply, Update
from receiver.model.delivery import BUNDLING, Delivery, PostedState
from receiver.model.delivery_keys import (
    FALLBACK,
    MESSAGE,
    MOVED,
    DeliveryKey,
    build_fallback_step,
    fallback_mention_key,
    page_delayed_key,
    page_key,
    reply_key,
)
from receiver.model.delivery_status import (
    find_channel_failure,
    find_fallback_channel,
    find_fallback_responder,
    find_step_failure,
    is_announced_by_storm,
    is_in_fallback_channel,
    message_target,
    needs_fallback_mention,
)
from receiver.model.escalation import EscalationState, StepState, current_delivery, ready_at
from receiver.model.incident import Incident
from receiver.model.routing import SLACK, EscalationPolicy, Step, Target

# PagerDuty normally accepts a page within seconds; one not accepted by then may be delayed for long.
PAGE_DELAYED_AFTER_S = 10.0


def list_fallback_messages(
    incident: Incident,
    policy: EscalationPolicy,
    escalation: EscalationState,
    content_version: PostedState,
    now: float,
) -> Iterator[Action]:
    """Yield the Slack messages that replace failed deliveries. *content_version* is the message's."""
    yield from _fallback_post(incident, policy, content_version)
    message = incident.message
    if message is not None and message.receipt is not None:
        yield from _moved_notice(incident, message)
    if not _may_notify(incident, escalation):
        return
    if message is not None and message.receipt is not None:
        yield from _page_delay_replies(incident, escalation, message, now)
        yield from _fallback_replies(incident, policy, escalation, message)
    elif is_announced_by_storm(incident):
        yield from _page_delay_replies(incident, escalation, None, now)
        yield from _storm_fallback_replies(incident, policy, escalation)
    yield from _fallback_mentions(incident, policy, escalation, message)


def find_fallback_step(
    incident: Incident, policy: EscalationPolicy, escalation: EscalationState
) -> StepState | None:
    """Return the step that notifies the fallback responder in this run; None where nothing failed.

    However many deliveries fail, it is one step: there is one page, which later failures find open.
    """
    responder = find_fallback_responder(policy)
    if responder is None:
        return None
    failed_times = [failure.failed_at for _, failure in _step_failures(incident, escalation)]
    root, run = incident.deliveries.get(MESSAGE, Delivery()), incident.run
    is_anew = run.cause == "unacknowledged" or run.is_quiet
    # A failed root message was never posted. Refused edits of a posted one notify no responder.
    if root.failed_at and (not policy.steps or not is_anew):
        failed_times.append(max(root.failed_at, run.started_at))
    if not failed_times:
        return None
    return StepState(build_fallback_step(responder), min(failed_times), is_due=True)


def page_delay_times(incident: Incident, escalation: EscalationState, now: float) -> Iterator[float]:
    """Yield the times after *now* at which a page that is not accepted by then is reported as delayed."""
    if not _may_notify(incident, escalation):
        return
    for step_state in escalation.due_steps:
        page = current_delivery(incident, page_key(step_state.step))
        if not step_state.is_carried_over and _is_awaited(page) and not page.is_settled:
            at = page.first_attempt_at + PAGE_DELAYED_AFTER_S
            if at > now:
                yield at


def _may_notify(incident: Incident, escalation: EscalationState) -> bool:
    is_over = incident.is_resolved or incident.is_acknowledged
    return not (is_over or incident.is_paused or escalation.paused_until)


def _is_awaited(page: Delivery) -> bool:
    """Tell whether the page was sent and PagerDuty has not accepted it.

    A page that waits for its storm does not count. A page that PagerDuty accepted and has no incident for is
    reported by another reply.
    """
    was_never_taken = page.check is None or page.failed_at > 0
    return page.attempts > 0 and was_never_taken and (not page.storm or page.reason not in ("", BUNDLING))


def _step_failures(incident: Incident, escalation: EscalationState) -> Iterator[tuple[Step, Delivery]]:
    """Yield the steps of this run of which a delivery failed for good, with that delivery."""
    for step_state in escalation.due_steps:
        failure = None if step_state.is_carried_over else find_step_failure(incident, step_state.step)
        if failure is not None:
            yield step_state.step, failure


def _fallback_post(
    incident: Incident, policy: EscalationPolicy, content_version: PostedState
) -> Iterator[Action]:
    """Yield the fallback message, once: it is not replaced where it is lost in turn."""
    channel, failure = find_fallback_channel(incident, policy), find_channel_failure(incident)
    before = incident.deliveries.get(FALLBACK)
    if channel is None or (failure is None and before is None):
        return
    if failure is None and before is not None and not before.maybe_sent:
        return  # the channel accepts messages again, and no fallback message was sent
    # The instance of the first attempt is kept, so that another reason later is no other message.
    instance = before.instance if before is not None else failure.reason if failure is not None else ""
    former = incident.message
    replaces = former.receipt.reference if former is not None and former.receipt is not None else ""
    yield Post(
        key=FALLBACK,
        instance=instance,
        target=channel,
        ready_at=ready_at(incident, FALLBACK, instance),
        content_version=content_version,
        replaces=replaces,
    )


def _moved_notice(incident: Incident, message: Delivery) -> Iterator[Action]:
    """Yield a last edit of the fallback message, once the incident's own message arrived after all."""
    former = incident.deliveries.get(FALLBACK)
    if former is None or former.receipt is None or former.is_bundled or former is message:
        return
    instance = former.receipt.reference
    yield Update(
        key=MOVED,
        instance=instance,
        target=message_target(incident, former),
        ready_at=ready_at(incident, MOVED, instance),
        content_version="moved",
        message=instance,
    )


def _page_delay_replies(
    incident: Incident, escalation: EscalationState, message: Delivery | None, now: float
) -> Iterator[Action]:
    """Yield a reply for each page that PagerDuty has not accepted in time, or has refused for good. Without a
    *message* of the incident's own, the reply is for the thread of its storm.
    """
    for step_state in escalation.due_steps:
        page = current_delivery(incident, page_key(step_state.step))
        if step_state.is_carried_over or not _is_awaited(page) or page.receipt is not None:
            continue
        if page.failed_at or page.first_attempt_at + PAGE_DELAYED_AFTER_S <= now:
            yield _build_fallback_reply(
                incident, page_delayed_key(step_state.step), "page_delayed", step_state.step, message
            )


def _fallback_replies(
    incident: Incident, policy: EscalationPolicy, escalation: EscalationState, message: Delivery
) -> Iterator[Action]:
    """Yield the replies about the fallback: the mention of a fallback responder, or the step itself."""
    step_state = find_fallback_step(incident, policy, escalation)
    if step_state is not None:
        yield _build_fallback_reply(
            incident, reply_key(step_state.step), "fallback", step_state.step, message
        )
    if is_in_fallback_channel(incident):
        for step, _ in _step_failures(incident, escalation):
            if needs_fallback_mention(incident, policy, step):
                yield _build_fallback_reply(incident, fallback_mention_key(step), "step", step, message)


def _storm_fallback_replies(
    incident: Incident, policy: EscalationPolicy, escalation: EscalationState
) -> Iterator[Action]:
    """Yield the reply in a storm's thread that notifies a fallback responder with a Slack target."""
    step_state = find_fallback_step(incident, policy, escalation)
    if step_state is not None and step_state.step.responder.find_target(SLACK):
        yield _build_fallback_reply(incident, reply_key(step_state.step), "fallback", step_state.step, None)


def _fallback_mentions(
    incident: Incident, policy: EscalationPolicy, escalation: EscalationState, message: Delivery | None
) -> Iterator[Action]:
    """Yield a message in the fallback channel for each step whose page or reply was refused for good."""
    channel = find_fallback_channel(incident, policy)
    if channel is None or is_in_fallback_channel(incident):
        return
    link = message.receipt.link if message is not None and message.receipt is not None else ""
    for step, failure in _step_failures(incident, escalation):
        if needs_fallback_mention(incident, policy, step):
            key, instance = fallback_mention_key(step), str(incident.run.number)
            yield FallbackMention(
                key=key,
                instance=instance,
                target=channel,
                ready_at=ready_at(incident, key, instance),
                step=step,
                why=failure.reason,
                link=link,
            )


def _build_fallback_reply(
    incident: Incident, key: DeliveryKey, reply_kind: str, step: Step, message: Delivery | None
) -> Reply:
    instance, target, reference = str(incident.run.number), Target(SLACK, incident.channel), ""
    if message is not None and message.receipt is not None:
        target, reference = message_target(incident, message), message.receipt.reference
    return Reply(
        key=key,
        instance=instance,
        target=target,
        ready_at=ready_at(incident, key, instance),
        message=reference,
        reply_kind=reply_kind,
        step=step,
    )
