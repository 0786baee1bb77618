"""The messages, edits and replies that an incident wants in Slack."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from receiver.errors import RefusalKind
from receiver.model.actions import Action, Post, Reply, Update
from receiver.model.delivery import ContentVersion, Delivery, PostedState, ReportedJoins
from receiver.model.delivery_keys import (
    FALLBACK,
    JOINED,
    MESSAGE,
    RELEASED_BY_STORM,
    REPLACEMENT,
    UPDATE,
    DeliveryKey,
    is_acknowledgement,
    is_resolve,
    left_open_key,
    page_key,
    reply_key,
    resolved_there_key,
    silence_ends_key,
    silence_key,
    unconfirmed_key,
)
from receiver.model.delivery_status import (
    is_announced_by_storm,
    message_target,
)
from receiver.model.escalation import EscalationState, StepState, current_delivery, ready_at
from receiver.model.incident import Incident, SilenceRequest
from receiver.model.page_confirmation import is_left_open, is_resolved_too_often, is_unconfirmed
from receiver.model.renaming import find_changing_label, sort_joined
from receiver.model.routing import ALERTMANAGER, SLACK, EscalationPolicy, Step, Target
from receiver.model.silences import list_ending_silences

# Edits in close succession are merged: Slack accepts some fifty a minute for all channels.
EDIT_PAUSE_S = 1.0
# An incident whose alerts only change a label is edited at most once a minute.
_RENAMED_PAUSE_S = 60.0
# After this time there is one reminder of an incident that was closed by hand and still fires.
REMIND_AFTER_S = 4 * 3600.0


def find_posted_state(incident: Incident, escalation: EscalationState, now: float) -> PostedState:
    """Return the state that the incident's message is to show."""
    is_paused = is_in_maintenance(incident, escalation)
    return PostedState(
        state=incident.state,
        generation=incident.generation,
        joins=incident.joins,
        revision=incident.revision,
        steps=tuple((s.step.name, _describe_step(incident, s)) for s in escalation.due_steps),
        silences=tuple((one.number, _describe_silence(incident, one)) for one in incident.silences),
        is_stale=incident.is_stale(now),
        paused_until=round(escalation.paused_until) if is_paused else 0,
    )


def is_in_maintenance(incident: Incident, escalation: EscalationState) -> bool:
    """Tell whether a maintenance stops an escalation step that would otherwise be sent, now or later."""
    return bool(escalation.paused_until and escalation.steps) and not incident.is_resolved


def _describe_silence(incident: Incident, request: SilenceRequest) -> str:
    made = incident.deliveries.get(silence_key(request.number), Delivery())
    if made.receipt:
        return "created"
    return "failed" if made.failed_at else "delayed" if made.reason else "requested"


def _describe_step(incident: Incident, step_state: StepState) -> str:
    page = current_delivery(incident, page_key(step_state.step))
    if page.failed_at:
        return "failed"
    if is_unconfirmed(page):
        return "unconfirmed"
    if is_resolved_too_often(page):
        return "resolved_there"
    if page.reason and not page.receipt and page.check is None:
        return "delayed"
    if step_state.is_timed_out:
        return "timed_out"
    return "notified" if step_state.notified_at is not None else "due"


def _message_instance(incident: Incident) -> str:
    """Return the instance of its own message that the incident is to have.

    A message that is bundled into a storm's gets a new instance when the incident reopens, or when the storm
    releases the incident before it is resolved. A resolve is reported by the storm itself.
    """
    root = incident.deliveries.get(MESSAGE, Delivery())
    if not root.is_bundled:
        return root.instance
    is_released = incident.deliveries.get(RELEASED_BY_STORM, Delivery()).instance == root.storm
    is_released = is_released and not incident.is_resolved
    is_anew = incident.generation > _find_first_posted(incident).generation
    return f"{root.storm}/{incident.generation}" if is_released or is_anew else root.instance


def list_messages(incident: Incident, content_version: PostedState, now: float) -> Iterator[Action]:
    """Yield the incident's message, or the edit that brings it up to *content_version*."""
    root = incident.deliveries.get(MESSAGE, Delivery())
    if root.receipt is None or root.is_bundled:
        own, instance = Target(SLACK, incident.channel), _message_instance(incident)
        yield Post(
            key=MESSAGE,
            instance=instance,
            target=own,
            ready_at=ready_at(incident, MESSAGE, instance),
            content_version=content_version,
        )
    message = incident.message
    if message is None or message.receipt is None:
        return
    instance, target = message.receipt.reference, message_target(incident, message)
    edit = current_delivery(incident, UPDATE, instance)
    is_lost = edit.failed_at > 0 and edit.kind == RefusalKind.MESSAGE_GONE
    replacement = incident.deliveries.get(REPLACEMENT)
    if replacement is None and is_lost:
        yield Post(key=REPLACEMENT, target=target, content_version=content_version, replaces=instance)
        return
    if replacement is not None and not replacement.is_settled:
        yield Post(
            key=REPLACEMENT,
            target=message_target(incident, replacement),
            ready_at=ready_at(incident, REPLACEMENT),
            content_version=content_version,
            replaces=instance,
        )
    if replacement is not None and message is root:
        return  # it can't be edited any more
    last = edit if edit.receipt is not None else message
    if content_version not in (last.content_version, edit.content_version if edit.failed_at else None):
        last_at = last.receipt.at if last.receipt else 0.0
        pause = _find_pause(incident, last.content_version, content_version)
        pause = pause if last_at <= now else 0.0  # else the clock was set back since
        send_at = max(ready_at(incident, UPDATE, instance), min(last_at, now) + pause)
        yield Update(
            key=UPDATE,
            instance=instance,
            target=target,
            ready_at=send_at,
            content_version=content_version,
            message=instance,
        )


def _find_pause(incident: Incident, before: ContentVersion, content_version: PostedState) -> float:
    """Return how long after an edit that showed *before* the next one may follow."""
    only_counts = isinstance(before, PostedState) and content_version == replace(
        before, joins=content_version.joins, revision=content_version.revision
    )
    return _RENAMED_PAUSE_S if only_counts and find_changing_label(incident) else EDIT_PAUSE_S


def list_replies(
    incident: Incident, policy: EscalationPolicy, escalation: EscalationState, now: float
) -> Iterator[Action]:
    """Yield the replies in the message's thread: what must notify people, because edits do not."""
    message = incident.message
    if message is None or message.receipt is None:
        yield from _storm_replies(incident, escalation)
        return
    reference = message.receipt.reference
    if incident.is_resolved:
        yield from _closing_replies(incident, reference, now)
        return
    if incident.is_acknowledged:
        yield from _left_open_replies(incident, is_acknowledgement, reference)
    elif not escalation.paused_until:
        yield from _step_replies(incident, escalation, reference)
    if incident.generation > _find_first_posted(incident).generation:
        yield _build_reply(incident, DeliveryKey("reopened"), str(incident.generation), "reopened", reference)
    yield from _joined_replies(incident, reference)
    if label := find_changing_label(incident):
        yield _build_reply(incident, DeliveryKey("renamed_hint"), label, "renamed", reference)
    yield from _reminder_replies(incident, policy, escalation, reference, now)


def _step_replies(incident: Incident, escalation: EscalationState, reference: str) -> Iterator[Reply]:
    """Yield a reply for each step of this run, and for each problem of its page at PagerDuty."""
    for step_state in escalation.due_steps:
        if not step_state.is_carried_over:
            key, instance = reply_key(step_state.step), str(incident.run.number)
            yield _build_reply(incident, key, instance, "step", reference, step=step_state.step)
            yield from _page_warning_replies(incident, step_state.step, reference)


def _left_open_replies(
    incident: Incident, is_of_kind: Callable[[DeliveryKey], bool], reference: str
) -> Iterator[Reply]:
    """Yield a reply for each such event that PagerDuty refused for good, or that had no effect there."""
    for key, delivery in incident.deliveries.items():
        if is_of_kind(key) and (delivery.failed_at or is_left_open(delivery)):
            yield _build_reply(incident, left_open_key(key), delivery.instance, "left_open", reference)


def _page_warning_replies(incident: Incident, step: Step, reference: str) -> Iterator[Reply]:
    """Yield, once in a run, that PagerDuty has no incident for a page, or that automation resolves it."""
    page, instance = current_delivery(incident, page_key(step)), str(incident.run.number)
    if is_unconfirmed(page):
        yield _build_reply(incident, unconfirmed_key(step), instance, "unconfirmed", reference, step=step)
    if is_resolved_too_often(page):
        yield _build_reply(
            incident, resolved_there_key(step), instance, "resolved_there", reference, step=step
        )


def _storm_replies(incident: Incident, escalation: EscalationState) -> Iterator[Reply]:
    """Yield the step replies for the thread of the storm whose message includes the incident's.

    Only responders with a Slack target get one. The reply's `message` is empty: the incident has none.
    """
    if not is_announced_by_storm(incident) or incident.is_resolved or incident.is_acknowledged:
        return
    if escalation.paused_until:
        return
    for step_state in escalation.due_steps:
        if not step_state.is_carried_over and step_state.step.responder.find_target(SLACK):
            key, instance = reply_key(step_state.step), str(incident.run.number)
            yield _build_reply(incident, key, instance, "step", "", step=step_state.step)


def _find_first_posted(incident: Incident) -> PostedState:
    """Return the state that the message showed when it was posted."""
    root = incident.deliveries.get(MESSAGE, Delivery())
    first = root if root.receipt is not None else incident.deliveries[FALLBACK]
    return first.content_version if isinstance(first.content_version, PostedState) else PostedState()


def _closing_replies(incident: Incident, reference: str, now: float) -> Iterator[Reply]:
    first = _find_first_posted(incident)
    if (first.state, first.generation) != ("resolved", incident.generation):
        yield _build_reply(incident, DeliveryKey("resolved"), str(incident.generation), "resolved", reference)
    if (at := find_reminder_at(incident, 0.0)) is not None and at <= now:
        yield _build_reply(incident, DeliveryKey("reminder"), str(incident.generation), "reminder", reference)
    yield from _left_open_replies(incident, is_resolve, reference)


def _reminder_replies(
    incident: Incident, policy: EscalationPolicy, escalation: EscalationState, reference: str, now: float
) -> Iterator[Reply]:
    if (at := acknowledgement_reminder_at(incident, policy)) is not None and at <= now:
        yield _build_reply(
            incident, DeliveryKey("ack_reminder"), str(incident.acknowledged_at), "ack_reminder", reference
        )
    if incident.find_check(ALERTMANAGER).has_failed and any(
        s.is_due and s.due_at for s in escalation.steps[1:]
    ):
        yield _build_reply(
            incident, DeliveryKey("check_failed"), str(incident.run.number), "check_failed", reference
        )
    for note in list_ending_silences(incident, now):
        yield _build_reply(incident, silence_ends_key(note.number), "", "silence_ends", reference)


def _joined_replies(incident: Incident, reference: str) -> Iterator[Reply]:
    """Yield one reply for all alerts that joined since the last such reply. An alert that only changed a
    label is included only the first time.
    """
    reported = _find_first_posted(incident).joins
    last = incident.deliveries.get(JOINED, Delivery())
    if isinstance(said := last.content_version, ReportedJoins):
        reported = max(reported, said.latest if last.is_settled else said.first)
    if incident.joins <= reported:
        return
    joined = sort_joined(incident, reported)
    if joined.fingerprints:
        yield Reply(
            key=JOINED,
            target=_thread_target(incident),
            ready_at=max(ready_at(incident, JOINED), joined.wait_until),
            content_version=ReportedJoins(reported, incident.joins),
            message=reference,
            reply_kind="joined",
            fingerprints=joined.fingerprints,
        )


def _build_reply(
    incident: Incident,
    key: DeliveryKey,
    instance: str,
    reply_kind: str,
    reference: str,
    *,
    step: Step | None = None,
) -> Reply:
    return Reply(
        key=key,
        instance=instance,
        target=_thread_target(incident),
        ready_at=ready_at(incident, key, instance),
        message=reference,
        reply_kind=reply_kind,
        step=step,
    )


def _thread_target(incident: Incident) -> Target:
    """Return the channel of the thread."""
    message = incident.message
    return message_target(incident, message) if message is not None else Target(SLACK, incident.channel)


def acknowledgement_expires_at(incident: Incident, policy: EscalationPolicy) -> float | None:
    """Return when the acknowledgement ends: with the snooze, or by the policy's timeout; None: never."""
    if not incident.is_acknowledged or incident.is_resolved:
        return None
    if incident.snoozed_until:
        return incident.snoozed_until
    return incident.acknowledged_at + policy.ack_timeout if policy.ack_timeout else None


def acknowledgement_reminder_at(incident: Incident, policy: EscalationPolicy) -> float | None:
    """Return when the acknowledging person is reminded: at half of the acknowledgement timeout."""
    if incident.snoozed_until or acknowledgement_expires_at(incident, policy) is None:
        return None
    return incident.acknowledged_at + policy.ack_timeout / 2


def find_reminder_at(incident: Incident, now: float) -> float | None:
    """Return when to remind of an incident that was closed by hand and still fires, if later than *now*."""
    if not incident.is_closed_by_hand or incident.is_past or not incident.firing:
        return None
    at = incident.resolved_at + REMIND_AFTER_S
    return at if at > now else None
