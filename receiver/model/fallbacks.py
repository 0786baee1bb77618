"""The fallbacks of an incident whose channel or step targets fail: messages, mentions, replies elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.model import delivery_keys as keys
from receiver.model import delivery_status
from receiver.model.actions import Action, FallbackMention, Post, Update
from receiver.model.delivery import BUNDLING, Delivery, PostedState
from receiver.model.escalation import IncidentView, StepState
from receiver.model.incident import Incident
from receiver.model.messages import build_reply
from receiver.model.routing import SLACK, Step

# PagerDuty normally accepts a page within seconds; one not accepted by then may be delayed for long.
PAGE_DELAYED_AFTER_S = 10.0


def list_fallback_messages(view: IncidentView, content_version: PostedState) -> Iterator[Action]:
    """Yield the Slack messages that replace failed deliveries. *content_version* is the message's."""
    yield from _fallback_post(view, content_version)
    yield from _moved_notice(view.incident)
    if not _may_notify(view):
        return
    if delivery_status.has_thread(view.incident):
        yield from _page_delay_replies(view)
        yield from _fallback_replies(view)
    yield from _fallback_mentions(view)


def find_fallback_step(view: IncidentView) -> StepState | None:
    """Return the step that notifies the fallback responder in this run; None where nothing failed.

    However many deliveries fail, it is one step: there is one page, which later failures find open.
    """
    responder = view.policy.fallback_responder
    if responder is None:
        return None
    failed_times = [failure.failed_at for _, failure in _step_failures(view)]
    message, run = view.incident.find_delivery(keys.MESSAGE), view.incident.run
    is_anew = run.cause == "unacknowledged" or run.is_quiet
    # A message that failed for good was never posted. Refused edits of a posted one notify no responder.
    if message.failed_at and (not view.policy.steps or not is_anew):
        failed_times.append(max(message.failed_at, run.started_at))
    if not failed_times:
        return None
    return StepState(responder.fallback_step, min(failed_times), is_due=True)


def page_delay_times(view: IncidentView) -> Iterator[float]:
    """Yield the times at which a page that is not accepted by then is reported as delayed."""
    if _may_notify(view):
        for _, page in _list_awaited_pages(view):
            if not page.is_settled:
                yield page.first_attempt_at + PAGE_DELAYED_AFTER_S


def _may_notify(view: IncidentView) -> bool:
    is_over = view.incident.is_resolved or view.incident.is_acknowledged
    return not (is_over or view.incident.is_paused or view.escalation.paused_until)


def _list_awaited_pages(view: IncidentView) -> Iterator[tuple[Step, Delivery]]:
    """Yield the steps of this run whose page was sent and not accepted by PagerDuty, with that page.

    A page that waits for its storm does not count. A page that PagerDuty accepted and has no incident for is
    reported by another reply.
    """
    for step_state in view.escalation.run_steps:
        page = view.incident.find_run_delivery(keys.page_key(step_state.step.name))
        was_never_taken = page.check is None or page.failed_at > 0
        if page.attempts and was_never_taken and (not page.storm or page.reason not in ("", BUNDLING)):
            yield step_state.step, page


def _step_failures(view: IncidentView) -> Iterator[tuple[Step, Delivery]]:
    """Yield the steps of this run of which a delivery failed for good, with that delivery."""
    for step_state in view.escalation.run_steps:
        if (failure := delivery_status.find_step_failure(view.incident, step_state.step)) is not None:
            yield step_state.step, failure


def _fallback_post(view: IncidentView, content_version: PostedState) -> Iterator[Action]:
    """Yield the fallback message, once: it is not replaced where it is lost in turn."""
    incident, former = view.incident, view.incident.message
    channel = delivery_status.find_fallback_channel(incident, view.policy)
    if channel is None:
        return
    before, failure = incident.deliveries.get(keys.FALLBACK), delivery_status.find_channel_failure(incident)
    if failure is None and (before is None or not before.maybe_sent):
        return  # also where the channel accepts messages again, and no fallback message was sent
    # The instance of the first attempt is kept, so that another reason later is no other message.
    instance = before.instance if before is not None else failure.reason if failure is not None else ""
    yield Post(
        key=keys.FALLBACK,
        instance=instance,
        target=channel,
        content_version=content_version,
        replaces=former.receipt.reference if former is not None and former.receipt is not None else "",
    )


def _moved_notice(incident: Incident) -> Iterator[Action]:
    """Yield a last edit of the fallback message, once the incident's own message arrived after all."""
    former = incident.find_delivery(keys.FALLBACK)
    if former.receipt is None or former.is_bundled or incident.message in (None, former):
        return
    instance = former.receipt.reference
    yield Update(
        key=keys.MOVED,
        instance=instance,
        target=delivery_status.message_target(incident, former),
        message=instance,
    )


def _page_delay_replies(view: IncidentView) -> Iterator[Action]:
    """Yield a reply for each page that PagerDuty has not accepted in time, or has refused for good."""
    for step, page in _list_awaited_pages(view):
        is_late = page.first_attempt_at + PAGE_DELAYED_AFTER_S <= view.now
        if page.receipt is None and (page.failed_at or is_late):
            yield build_reply(view.incident, keys.page_delayed_key(step.name), "page_delayed", step=step)


def _fallback_replies(view: IncidentView) -> Iterator[Action]:
    """Yield the replies about the fallback: the mention of a fallback responder, or the step itself.

    A storm's thread mentions a fallback responder with a Slack target only.
    """
    incident, step_state = view.incident, find_fallback_step(view)
    if step_state is not None and (incident.message or step_state.step.responder.find_target(SLACK)):
        step = step_state.step
        yield build_reply(incident, keys.reply_key(step.name), "fallback", step=step)
    if incident.message is not None and delivery_status.is_in_fallback_channel(incident):
        for step, _ in _step_failures(view):
            if delivery_status.needs_fallback_mention(incident, view.policy, step):
                yield build_reply(incident, keys.fallback_mention_key(step.name), "step", step=step)


def _fallback_mentions(view: IncidentView) -> Iterator[Action]:
    """Yield a message in the fallback channel for each step whose page or reply was refused for good."""
    incident, message = view.incident, view.incident.message
    channel = delivery_status.find_fallback_channel(incident, view.policy)
    if channel is None or delivery_status.is_in_fallback_channel(incident):
        return
    for step, failure in _step_failures(view):
        if delivery_status.needs_fallback_mention(incident, view.policy, step):
            yield FallbackMention(
                key=keys.fallback_mention_key(step.name),
                instance=incident.run_instance,
                target=channel,
                step=step,
                why=failure.reason,
                link=message.receipt.link if message is not None and message.receipt is not None else "",
            )
