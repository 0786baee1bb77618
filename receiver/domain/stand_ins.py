"""What is still to be said or paged where something could not be delivered.

The route's fallback where Slack or PagerDuty refuses for good, and the thread where PagerDuty is out
of reach. Nobody is woken any more once somebody has it, it is over, all of it is muted or
quiet, or while there is maintenance.
"""

from __future__ import annotations

from collections.abc import Iterator

from receiver.domain.action import Action, FallbackMention, Post, Reply, Update
from receiver.domain.delivery import BUNDLING, Delivery
from receiver.domain.escalation import EscalationState, StepState, current_delivery, page_key, ready_at
from receiver.domain.fallback import (
    FALLBACK,
    build_fallback_step,
    fallback_mention_key,
    find_channel_failure,
    find_fallback_channel,
    find_fallback_responder,
    find_message,
    find_step_failure,
    is_announced_by_storm,
    is_in_fallback_channel,
    message_target,
    needs_fallback_mention,
    page_delayed_key,
)
from receiver.domain.incident import Incident
from receiver.domain.policy import SLACK, EscalationPolicy, Step, Target

# PagerDuty is quick; a page that it has not taken by now may not come through for a while.
PAGE_DELAYED_AFTER_S = 10.0


def list_fallback_messages(
    incident: Incident,
    policy: EscalationPolicy,
    escalation: EscalationState,
    content_version: str,
    now: float,
) -> Iterator[Action]:
    """Yield what Slack is to show in the place of what failed; *content_version* is the message's face."""
    yield from _fallback_post(incident, policy, content_version)
    message = find_message(incident)
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
    """Return the step by which the fallback responder is to be paged in this run; None where none is.

    Twice is once: however much fails, there is one page, which later failures find open.
    """
    responder = find_fallback_responder(policy)
    if responder is None:
        return None
    failed_times = [failure.failed_at for _, failure in _step_failures(incident, escalation)]
    root, run = incident.deliveries.get("root", Delivery()), incident.run
    is_anew = run.cause == "unacknowledged" or run.is_quiet
    # One that was posted has been seen: that its edits are refused later wakes nobody.
    if root.failed_at and (not policy.steps or not is_anew):
        failed_times.append(max(root.failed_at, run.started_at))
    if not failed_times:
        return None
    return StepState(build_fallback_step(responder), min(failed_times), is_due=True)


def page_delay_times(incident: Incident, escalation: EscalationState, now: float) -> Iterator[float]:
    """Yield when a page that is not taken by then is said in the thread."""
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
    """Tell whether PagerDuty was asked to take the page, and never took it. One that a storm is to say waits
    for that; of one that PagerDuty took and has no incident for, other words are said.
    """
    was_never_taken = page.check is None or page.failed_at > 0
    return page.attempts > 0 and was_never_taken and (not page.storm or page.reason not in ("", BUNDLING))


def _step_failures(incident: Incident, escalation: EscalationState) -> Iterator[tuple[Step, Delivery]]:
    """Yield the steps of this run of which something was given up for good, and what."""
    for step_state in escalation.due_steps:
        failure = None if step_state.is_carried_over else find_step_failure(incident, step_state.step)
        if failure is not None:
            yield step_state.step, failure


def _fallback_post(incident: Incident, policy: EscalationPolicy, content_version: str) -> Iterator[Action]:
    """Yield the message that stands in for the incident's own; once, also where it is lost again."""
    channel, failure = find_fallback_channel(incident, policy), find_channel_failure(incident)
    before = incident.deliveries.get(FALLBACK)
    if channel is None or (failure is None and before is None):
        return
    if failure is None and before is not None and not before.maybe_sent:
        return  # the channel is back before anything was said elsewhere
    # What is noted with the first attempt stays, so that another reason later is no other message.
    instance = before.instance if before is not None else failure.reason if failure is not None else ""
    former = find_message(incident)
    replaces = former.receipt.reference if former is not None and former.receipt is not None else ""
    yield Post(
        FALLBACK, instance, SLACK, channel, ready_at(incident, FALLBACK, instance), content_version, replaces
    )


def _moved_notice(incident: Incident, message: Delivery) -> Iterator[Action]:
    """Yield a last edit of the message that stood in, once the incident's own arrived after all."""
    former = incident.deliveries.get(FALLBACK)
    if former is None or former.receipt is None or former.is_bundled or former is message:
        return
    instance = former.receipt.reference
    target = message_target(incident, former)
    yield Update("moved", instance, SLACK, target, ready_at(incident, "moved", instance), "moved", instance)


def _page_delay_replies(
    incident: Incident, escalation: EscalationState, message: Delivery | None, now: float
) -> Iterator[Action]:
    """Yield a reply for each page that PagerDuty has not taken in time, or never will; without a *message* of
    the incident's own it is for the thread of the storm that speaks for it.
    """
    for step_state in escalation.due_steps:
        page = current_delivery(incident, page_key(step_state.step))
        if step_state.is_carried_over or not _is_awaited(page) or page.receipt is not None:
            continue
        if page.failed_at or page.first_attempt_at + PAGE_DELAYED_AFTER_S <= now:
            yield _build_reply(
                incident, page_delayed_key(step_state.step), "page_delayed", step_state.step, message
            )


def _fallback_replies(
    incident: Incident, policy: EscalationPolicy, escalation: EscalationState, message: Delivery
) -> Iterator[Action]:
    """Yield what the thread is told of the fallback: that a responder stands in, or the step itself."""
    step_state = find_fallback_step(incident, policy, escalation)
    if step_state is not None:
        yield _build_reply(incident, f"step:{step_state.step.name}", "instead", step_state.step, message)
    if is_in_fallback_channel(incident):
        for step, _ in _step_failures(incident, escalation):
            if needs_fallback_mention(incident, policy, step):
                yield _build_reply(incident, fallback_mention_key(step), "step", step, message)


def _storm_fallback_replies(
    incident: Incident, policy: EscalationPolicy, escalation: EscalationState
) -> Iterator[Action]:
    """Yield that a fallback responder stands in who is told in Slack alone."""
    step_state = find_fallback_step(incident, policy, escalation)
    if step_state is not None and step_state.step.responder.find_target(SLACK):
        yield _build_reply(incident, f"step:{step_state.step.name}", "instead", step_state.step, None)


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
            at = ready_at(incident, key, instance)
            yield FallbackMention(
                key, instance, SLACK, channel, at, "", step=step, why=failure.reason, link=link
            )


def _build_reply(
    incident: Incident, key: str, reply_kind: str, step: Step, message: Delivery | None
) -> Reply:
    instance, target, reference = str(incident.run.number), Target(SLACK, incident.channel), ""
    if message is not None and message.receipt is not None:
        target, reference = message_target(incident, message), message.receipt.reference
    at = ready_at(incident, key, instance)
    return Reply(key, instance, SLACK, target, at, "", message=reference, reply_kind=reply_kind, step=step)
