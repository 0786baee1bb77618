"""What an incident's message and its thread still need in Slack."""

from __future__ import annotations

import re
from collections.abc import Iterator

from receiver.domain.action import Action, Post, Reply, Update
from receiver.domain.delivery import Delivery
from receiver.domain.escalation import Progress, StepStanding, current, page_key, ready_at, reply_key
from receiver.domain.fallback import MESSAGE, find_message, find_place, is_said_by_storm
from receiver.domain.incident import Incident, SilenceRequest
from receiver.domain.page_check import is_left_open, is_resolved_too_often, is_unconfirmed
from receiver.domain.policy import SLACK, EscalationPolicy, Step, Target
from receiver.domain.renaming import find_changing_label, sort_joined
from receiver.domain.silences import list_ending_silences
from receiver.errors import Refusal

# Edits that follow one another are merged: Slack takes some fifty a minute for all channels.
EDIT_PAUSE_S = 1.0
# Where alerts only change their names, that is shown once a minute.
_RENAMED_PAUSE_S = 60.0
# An incident closed by hand whose alerts fire on is called to mind once.
REMIND_AFTER_S = 4 * 3600.0
# The key under which an incident keeps which storm has left it to have a message of its own.
LEFT_BY_STORM = "left"


def face(incident: Incident, progress: Progress, now: float) -> str:
    """Return a short text that differs whenever the incident's message should look different."""
    state = {"resolved": "r", "acknowledged": "a", "open": "o"}[incident.state]
    steps = ",".join(f"{s.step.name}={_step_face(incident, s)}" for s in progress.reached)
    stale = "s" if incident.is_stale(now) else ""
    silences = ",".join(_silence_face(incident, note) for note in incident.silences)
    shown = f"{state}{incident.generation}.{incident.joins}.{incident.revision}.{steps}.{silences}.{stale}"
    return f"{shown}.p{progress.paused_until:.0f}" if is_paused(incident, progress) else shown


def is_paused(incident: Incident, progress: Progress) -> bool:
    """Tell whether maintenance keeps somebody from being paged who otherwise would be, now or later."""
    return bool(progress.paused_until and progress.steps) and not incident.is_resolved


def _silence_face(incident: Incident, note: SilenceRequest) -> str:
    made = incident.deliveries.get(f"silence:{note.number}", Delivery())
    return f"{note.number}{'t' if made.receipt else 'f' if made.failed_at else 'w' if made.reason else 'r'}"


def _step_face(incident: Incident, standing: StepStanding) -> str:
    page = current(incident, page_key(standing.step))
    if page.failed_at:
        return "f"
    if is_unconfirmed(page):
        return "u"
    if is_resolved_too_often(page):
        return "m"
    if page.reason and not page.receipt and page.check is None:
        return "w"
    if standing.is_given_up:
        return "g"
    return "t" if standing.told_at is not None else "r"


def _root_about(incident: Incident) -> str:
    """Return which instance of its message the incident is to have.

    One that a storm has said has a new one when it reopens, or when the storm leaves it to itself; but what
    is over by then, the storm has said, too.
    """
    root = incident.deliveries.get("root", Delivery())
    if not root.is_folded:
        return root.about
    is_left = incident.deliveries.get(LEFT_BY_STORM, Delivery()).about == root.storm
    is_left = is_left and not incident.is_resolved
    is_anew = incident.generation > _shown_first(incident)[1]
    return f"{root.storm}/{incident.generation}" if is_left or is_anew else root.about


def list_messages(incident: Incident, shown: str, now: float) -> Iterator[Action]:
    """Yield the incident's message, or the edit that brings it up to *shown*, its face as things are now."""
    root = incident.deliveries.get("root", Delivery())
    if root.receipt is None or root.is_folded:
        own, about = Target(SLACK, incident.channel), _root_about(incident)
        yield Post("root", about, SLACK, own, ready_at(incident, "root", about), shown)
    message = find_message(incident)
    if message is None or message.receipt is None:
        return
    about, place = message.receipt.reference, find_place(incident, message)
    edit = current(incident, "update", about)
    is_lost = edit.failed_at > 0 and edit.kind == Refusal.MESSAGE_GONE
    anew = incident.deliveries.get("root2")
    if anew is None and is_lost:
        yield Post("root2", "", SLACK, place, 0.0, shown, replaces=about)
        return
    if anew is not None and not anew.is_settled:
        at = ready_at(incident, "root2")
        yield Post("root2", "", SLACK, find_place(incident, anew), at, shown, replaces=about)
    if anew is not None and message is root:
        return  # it can't be edited any more
    last = edit if edit.receipt is not None else message
    if shown not in (last.shown, edit.shown if edit.failed_at else None):
        last_at = last.receipt.at if last.receipt else 0.0
        pause = _find_pause(incident, last.shown, shown)
        pause = pause if last_at <= now else 0.0  # else the clock was set back since
        moment = max(ready_at(incident, "update", about), min(last_at, now) + pause)
        yield Update("update", about, SLACK, place, moment, shown, message=about)


def _find_pause(incident: Incident, before: str, shown: str) -> float:
    """Return how long after an edit that showed *before* the next one may follow."""
    is_same = _without_counts(before) == _without_counts(shown)
    return _RENAMED_PAUSE_S if is_same and find_changing_label(incident) else EDIT_PAUSE_S


def _without_counts(shown: str) -> list[str]:
    """Return what a face says beside how often alerts joined and something changed."""
    state, *counts = shown.split(".", 3)
    return [state, *counts[2:]]


def list_replies(
    incident: Incident, policy: EscalationPolicy, progress: Progress, now: float
) -> Iterator[Action]:
    """Yield the replies in the message's thread: what people must notice, as edits notify nobody."""
    message = find_message(incident)
    if message is None or message.receipt is None:
        yield from _storm_replies(incident, progress)
        return
    reference = message.receipt.reference
    if incident.is_resolved:
        yield from _closing_replies(incident, reference, now)
        return
    if incident.is_acknowledged:
        yield from _left_open(incident, "acknowledge:", reference)
    elif not progress.paused_until:
        yield from _step_replies(incident, progress, reference)
    if incident.generation > _shown_first(incident)[1]:
        yield _reply(incident, "reopened", str(incident.generation), "reopened", reference)
    yield from _joined(incident, reference)
    if label := find_changing_label(incident):
        yield _reply(incident, "renamed_hint", label, "renamed", reference)
    yield from _reminders(incident, policy, progress, reference, now)


def _step_replies(incident: Incident, progress: Progress, reference: str) -> Iterator[Reply]:
    """Yield each step of this run, and what its page met at PagerDuty."""
    for standing in progress.reached:
        if not standing.is_standing:
            key, about = reply_key(standing.step), str(incident.run.number)
            yield _reply(incident, key, about, "step", reference, step=standing.step)
            yield from _page_warnings(incident, standing.step, reference)


def _left_open(incident: Incident, kind: str, reference: str) -> Iterator[Reply]:
    """Yield each event of *kind* that PagerDuty could not be told, or that had no effect there."""
    for key, delivery in incident.deliveries.items():
        if key.startswith(kind) and (delivery.failed_at or is_left_open(delivery)):
            yield _reply(incident, f"left_open:{key}", delivery.about, "left_open", reference)


def _page_warnings(incident: Incident, step: Step, reference: str) -> Iterator[Reply]:
    """Yield, once in a run, that PagerDuty has no incident for a page, or that a machine resolves it."""
    page, about = current(incident, page_key(step)), str(incident.run.number)
    if is_unconfirmed(page):
        yield _reply(incident, f"unconfirmed:{step.name}", about, "unconfirmed", reference, step=step)
    if is_resolved_too_often(page):
        yield _reply(incident, f"resolved_there:{step.name}", about, "resolved_there", reference, step=step)


def _storm_replies(incident: Incident, progress: Progress) -> Iterator[Reply]:
    """Yield the steps that are told in a storm's thread, where it has the incident's message: only those
    who have an address in Slack are. The reply has no message of the incident's own.
    """
    if not is_said_by_storm(incident) or incident.is_resolved or incident.is_acknowledged:
        return
    if progress.paused_until:
        return
    for standing in progress.reached:
        if not standing.is_standing and standing.step.responder.find_target(SLACK):
            key, about = reply_key(standing.step), str(incident.run.number)
            yield _reply(incident, key, about, "step", "", step=standing.step)


def _shown_first(incident: Incident) -> tuple[str, int, int]:
    """Return what the message showed when it was posted: state, generation, joins."""
    root = incident.deliveries.get("root", Delivery())
    first = root if root.receipt is not None else incident.deliveries[MESSAGE]
    state, generation, joins, *_ = re.split(r"(?<=^\w)|\.", first.shown)
    return state, int(generation), int(joins)


def _closing_replies(incident: Incident, reference: str, now: float) -> Iterator[Reply]:
    if _shown_first(incident)[:2] != ("r", incident.generation):
        yield _reply(incident, "resolved", str(incident.generation), "resolved", reference)
    if (at := find_reminder(incident, 0.0)) is not None and at <= now:
        yield _reply(incident, "reminder", str(incident.generation), "reminder", reference)
    yield from _left_open(incident, "resolve:", reference)


def _reminders(
    incident: Incident, policy: EscalationPolicy, progress: Progress, reference: str, now: float
) -> Iterator[Reply]:
    if (at := remind_acknowledged_at(incident, policy)) is not None and at <= now:
        yield _reply(incident, "ack_reminder", str(incident.acknowledged_at), "ack_reminder", reference)
    if incident.alertmanager_check_failed and any(s.is_reached and s.due_at for s in progress.steps[1:]):
        yield _reply(incident, "not_asked", str(incident.run.number), "not_asked", reference)
    for note in list_ending_silences(incident, now):
        yield _reply(incident, f"silence_ends:{note.number}", "", "silence_ends", reference)


def _joined(incident: Incident, reference: str) -> Iterator[Reply]:
    """Yield one reply for all alerts that joined since the last was said; one that only changed its name
    is said the first time.
    """
    said = _shown_first(incident)[2]
    last = incident.deliveries.get("joined", Delivery())
    if last.attempts:
        first, _, latest = last.shown.partition("-")
        said = max(said, int(latest if last.is_settled else first))
    if incident.joins <= said:
        return
    joined = sort_joined(incident, said)
    if joined.fingerprints:
        yield Reply(
            "joined",
            "",
            SLACK,
            _place(incident),
            max(ready_at(incident, "joined"), joined.wait_until),
            f"{said}-{incident.joins}",
            message=reference,
            says="joined",
            fingerprints=joined.fingerprints,
        )


def _reply(
    incident: Incident,
    key: str,
    about: str,
    says: str,
    reference: str,
    *,
    step: Step | None = None,
) -> Reply:
    return Reply(
        key,
        about,
        SLACK,
        _place(incident),
        ready_at(incident, key, about),
        "",
        message=reference,
        says=says,
        step=step,
    )


def _place(incident: Incident) -> Target:
    """Return the channel of the thread."""
    message = find_message(incident)
    return find_place(incident, message) if message is not None else Target(SLACK, incident.channel)


def lapses_at(incident: Incident, policy: EscalationPolicy) -> float | None:
    """Return when the acknowledgement runs out: a snooze's end, or the policy's time."""
    if not incident.is_acknowledged or incident.is_resolved:
        return None
    if incident.snoozed_until:
        return incident.snoozed_until
    return incident.acknowledged_at + policy.ack_timeout if policy.ack_timeout else None


def remind_acknowledged_at(incident: Incident, policy: EscalationPolicy) -> float | None:
    """Return when whoever acknowledged is reminded: at half of the time they have."""
    if incident.snoozed_until or lapses_at(incident, policy) is None:
        return None
    return incident.acknowledged_at + policy.ack_timeout / 2


def find_reminder(incident: Incident, now: float) -> float | None:
    """Return when an incident closed by hand that fires on is called to mind, if that lies after *now*."""
    if not incident.is_closed_by_hand or incident.is_past or not incident.firing:
        return None
    at = incident.resolved_at + REMIND_AFTER_S
    return at if at > now else None
