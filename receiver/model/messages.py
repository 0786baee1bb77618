"""The messages, edits and replies that an incident wants in Slack."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from receiver.errors import RefusalKind
from receiver.model import delivery_keys as keys
from receiver.model.actions import Action, Post, Reply, Update
from receiver.model.delivery import ContentVersion, PostedState, ReportedJoins
from receiver.model.delivery_status import find_announcing_storm, message_target
from receiver.model.escalation import EscalationState, IncidentView, StepState
from receiver.model.incident import Incident, SilenceRequest
from receiver.model.page_confirmation import is_left_open, is_resolved_too_often, is_unconfirmed
from receiver.model.renaming import find_changing_label, find_joined
from receiver.model.routing import ALERTMANAGER, SLACK, EscalationPolicy, Step, Target

# Edits in close succession are merged: Slack accepts some fifty a minute for all channels.
EDIT_PAUSE_S = 1.0
# An incident whose alerts only change a label is edited at most once a minute.
_RENAMED_PAUSE_S = 60.0
# After this time there is one reminder of an incident that was closed by hand and still fires.
REMIND_AFTER_S = 4 * 3600.0


# So long before a silence ends, there is a warning.
WARN_BEFORE_S = 900.0


def find_posted_state(view: IncidentView) -> PostedState:
    """Return the state that the incident's message is to show."""
    incident, escalation = view.incident, view.escalation
    is_paused = is_in_maintenance(incident, escalation)
    return PostedState(
        state=incident.state,
        generation=incident.generation,
        joins=incident.joins,
        revision=incident.revision,
        steps=tuple([(s.step.name, _describe_step(incident, s)) for s in escalation.due_steps]),
        silences=tuple([(one.number, _describe_silence(incident, one)) for one in incident.silences]),
        is_stale=incident.is_stale(view.now),
        paused_until=round(escalation.paused_until) if is_paused else 0,
    )


def is_in_maintenance(incident: Incident, escalation: EscalationState) -> bool:
    """Return whether a maintenance stops an escalation step that would otherwise be sent, now or later."""
    return bool(escalation.paused_until and escalation.steps) and not incident.is_resolved


def _describe_silence(incident: Incident, request: SilenceRequest) -> str:
    made = incident.find_delivery(keys.silence_key(request.number))
    if made.receipt:
        return "created"
    return "failed" if made.failed_at else "delayed" if made.reason else "requested"


def _describe_step(incident: Incident, step_state: StepState) -> str:
    page = incident.find_run_delivery(keys.page_key(step_state.step.name))
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
    posted = incident.find_delivery(keys.MESSAGE)
    if not posted.is_bundled:
        return posted.instance
    is_released = incident.find_delivery(keys.RELEASED_BY_STORM).instance == posted.storm
    is_anew = (is_released and not incident.is_resolved) or _has_reopened(incident)
    return f"{posted.storm}/{incident.generation}" if is_anew else posted.instance


def list_messages(view: IncidentView, content_version: PostedState) -> Iterator[Action]:
    """Yield the incident's message, or the edit that brings it up to *content_version*."""
    incident, now = view.incident, view.now
    posted, message = incident.find_delivery(keys.MESSAGE), incident.message
    if posted.receipt is None or posted.is_bundled:
        instance = _message_instance(incident)
        yield Post(
            key=keys.MESSAGE,
            instance=instance,
            target=Target(SLACK, incident.channel),
            content_version=content_version,
        )
    if message is None or message.receipt is None:
        return
    instance = message.receipt.reference
    edit = incident.find_delivery(keys.UPDATE, instance)
    is_lost = edit.failed_at > 0 and edit.kind == RefusalKind.MESSAGE_GONE
    replacement = incident.deliveries.get(keys.REPLACEMENT)
    if is_lost if replacement is None else not replacement.is_settled:
        yield Post(
            key=keys.REPLACEMENT,
            target=message_target(incident, replacement or message),
            content_version=content_version,
            replaces=instance,
        )
    if is_lost if replacement is None else message is posted:
        return  # it can't be edited any more
    last = edit if edit.receipt is not None else message
    if content_version not in (last.content_version, edit.content_version if edit.failed_at else None):
        last_at = last.receipt.at if last.receipt else 0.0
        pause = _find_pause(incident, last.content_version, content_version)
        pause = pause if last_at <= now else 0.0  # else the clock was set back since
        yield Update(
            key=keys.UPDATE,
            instance=instance,
            target=message_target(incident, message),
            ready_at=min(last_at, now) + pause,
            content_version=content_version,
            message=instance,
        )


def _find_pause(incident: Incident, before: ContentVersion, content_version: PostedState) -> float:
    """Return how long after an edit that showed *before* the next one may follow."""
    only_counts = isinstance(before, PostedState) and content_version == replace(
        before, joins=content_version.joins, revision=content_version.revision
    )
    return _RENAMED_PAUSE_S if only_counts and find_changing_label(incident) else EDIT_PAUSE_S


def list_replies(view: IncidentView) -> Iterator[Action]:
    """Yield the replies in the message's thread: what must notify people, because edits do not.

    Where a storm's message includes the incident's, its thread gets the replies of the steps alone.
    """
    incident = view.incident
    if incident.message is None:
        if find_announcing_storm(incident) and not (incident.is_resolved or incident.is_acknowledged):
            yield from _step_replies(view)
        return
    if incident.is_resolved:
        yield from _closing_replies(view)
        return
    if incident.is_acknowledged:
        yield from _left_open_replies(incident, keys.is_acknowledgement)
    else:
        yield from _step_replies(view)
    if _has_reopened(incident):
        yield build_reply(incident, keys.DeliveryKey("reopened"), "reopened", str(incident.generation))
    yield from _joined_replies(incident)
    if label := find_changing_label(incident):
        yield build_reply(incident, keys.DeliveryKey("renamed_hint"), "renamed", label)
    yield from _reminder_replies(view)


def _step_replies(view: IncidentView) -> Iterator[Reply]:
    """Yield a reply for each step of this run, and for each problem of its page at PagerDuty.

    In a storm's thread, only responders with a Slack target get one.
    """
    incident = view.incident
    if view.escalation.paused_until:
        return
    for step_state in view.escalation.run_steps:
        step = step_state.step
        if incident.message is not None:
            yield build_reply(incident, keys.reply_key(step.name), "step", step=step)
            yield from _page_warning_replies(incident, step)
        elif step.responder.find_target(SLACK):
            yield build_reply(incident, keys.reply_key(step.name), "step", step=step)


def _left_open_replies(incident: Incident, is_of_kind: Callable[[keys.DeliveryKey], bool]) -> Iterator[Reply]:
    """Yield a reply for each such event that PagerDuty refused for good, or that had no effect there."""
    for key, delivery in incident.deliveries.items():
        if is_of_kind(key) and (delivery.failed_at or is_left_open(delivery)):
            yield build_reply(incident, keys.left_open_key(key), "left_open", delivery.instance)


def _page_warning_replies(incident: Incident, step: Step) -> Iterator[Reply]:
    """Yield, once in a run, that PagerDuty has no incident for a page, or that automation resolves it."""
    page = incident.find_run_delivery(keys.page_key(step.name))
    if is_unconfirmed(page):
        yield build_reply(incident, keys.unconfirmed_key(step.name), "unconfirmed", step=step)
    if is_resolved_too_often(page):
        yield build_reply(incident, keys.resolved_there_key(step.name), "resolved_there", step=step)


def _has_reopened(incident: Incident) -> bool:
    """Return whether the incident reopened since its message was posted."""
    return incident.generation > _find_first_posted(incident).generation


def _find_first_posted(incident: Incident) -> PostedState:
    """Return the state that the message showed when it was posted."""
    posted = incident.find_delivery(keys.MESSAGE)
    first = posted if posted.receipt is not None else incident.deliveries[keys.FALLBACK]
    return first.content_version if isinstance(first.content_version, PostedState) else PostedState()


def _closing_replies(view: IncidentView) -> Iterator[Reply]:
    incident, generation = view.incident, str(view.incident.generation)
    first = _find_first_posted(incident)
    if (first.state, first.generation) != ("resolved", incident.generation):
        yield build_reply(incident, keys.DeliveryKey("resolved"), "resolved", generation)
    if (at := find_reminder_at(incident)) is not None and at <= view.now:
        yield build_reply(incident, keys.DeliveryKey("reminder"), "reminder", generation)
    yield from _left_open_replies(incident, keys.is_resolve)


def _reminder_replies(view: IncidentView) -> Iterator[Reply]:
    incident, now = view.incident, view.now
    if (at := acknowledgement_reminder_at(incident, view.policy)) is not None and at <= now:
        yield build_reply(
            incident, keys.DeliveryKey("ack_reminder"), "ack_reminder", str(incident.acknowledged_at)
        )
    if incident.find_check(ALERTMANAGER).has_failed and any(
        s.is_due and s.due_at for s in view.escalation.steps[1:]
    ):
        yield build_reply(incident, keys.DeliveryKey("check_failed"), "check_failed")
    for request in incident.silences:
        is_long = request.until - request.requested_at > WARN_BEFORE_S
        is_ending = request.until - WARN_BEFORE_S <= now < request.until and not request.ended_at
        if is_long and is_ending and incident.firing:
            yield build_reply(incident, keys.silence_ends_key(request.number), "silence_ends", "")


def _joined_replies(incident: Incident) -> Iterator[Reply]:
    """Yield one reply for all alerts that joined since the last such reply. An alert that only changed a
    label is included only the first time.
    """
    reported = _find_first_posted(incident).joins
    last = incident.find_delivery(keys.JOINED)
    if isinstance(said := last.content_version, ReportedJoins):
        reported = max(reported, said.latest if last.is_settled else said.first)
    if incident.joins <= reported:
        return
    fingerprints, wait_until = find_joined(incident, reported)
    if fingerprints:
        yield replace(
            build_reply(incident, keys.JOINED, "joined", ""),
            ready_at=wait_until,
            content_version=ReportedJoins(reported, incident.joins),
            fingerprints=fingerprints,
        )


def build_reply(
    incident: Incident,
    key: keys.DeliveryKey,
    reply_kind: str,
    instance: str | None = None,
    *,
    step: Step | None = None,
) -> Reply:
    """Return a reply in the thread of the incident's message, or of its storm's where it has none.

    Without *instance* there is one reply in each escalation run.
    """
    message = incident.message
    return Reply(
        key=key,
        instance=incident.run_instance if instance is None else instance,
        target=message_target(incident, message) if message else Target(SLACK, incident.channel),
        message=message.receipt.reference if message and message.receipt else "",
        reply_kind=reply_kind,
        step=step,
    )


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


def find_reminder_at(incident: Incident) -> float | None:
    """Return when to remind of an incident that was closed by hand and still fires."""
    if not incident.is_closed_by_hand or incident.is_past or not incident.firing:
        return None
    return incident.resolved_at + REMIND_AFTER_S
