"""The one place that decides what an incident still needs.

It says everything that should be so by now and drops what is done. Nothing is cancelled,
because nothing was promised.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from receiver.domain.action import (
    Action,
    Calm,
    CheckPage,
    CompactAlerts,
    Entitle,
    Inquire,
    Lapse,
    LookUp,
    Note,
    Plan,
    Post,
)
from receiver.domain.escalation import (
    LOOK_AHEAD_S,
    Progress,
    give_up_key,
    is_fresh,
    list_asked_about,
    trace_progress,
)
from receiver.domain.forgetting import find_compactable
from receiver.domain.heading import find_heading
from receiver.domain.incident import Incident
from receiver.domain.messages import (
    face,
    find_reminder,
    lapses_at,
    list_messages,
    list_replies,
    remind_acknowledged_at,
)
from receiver.domain.page_check import limit_check_wait
from receiver.domain.pages import list_checks, list_pages
from receiver.domain.policy import ALERTMANAGER, PAGERDUTY, SLACK, EscalationPolicy, Target
from receiver.domain.renaming import RENAMED, find_changing_label
from receiver.domain.silences import list_silence_timestamps, list_silences
from receiver.domain.stand_ins import list_stand_ins, stand_in_moments
from receiver.text import one_line

# Workers on other hosts may be ahead of us by so much; beyond it the clock was set back.
_CLOCKS_DIFFER_S = 5.0
# PagerDuty that could not be asked for a step's sake is asked again this much later, while there is time.
INQUIRE_AGAIN_S = 1.0


def plan(incident: Incident, policy: EscalationPolicy, now: float) -> Plan:
    """Return what *incident* still needs at *now*, most urgent first, and when to look again.

    Looks at how things stand, not at what happened, so calling it twice, late or after a crash
    is harmless. Actions may carry a `ready_at` that lies ahead: a retry's wait.
    """
    progress = trace_progress(incident, policy, now)
    shown = face(incident, progress, now)
    wanted: list[Action] = [
        *_lapses(incident, policy, now),
        *_looks(incident, policy, progress, now),
        *_inquiries(incident, policy, progress, now),
        *list_pages(incident, policy, progress),
        *list_checks(incident, policy),
        *list_messages(incident, shown, now),
        *list_stand_ins(incident, policy, progress, shown, now),
        *list_replies(incident, policy, progress, now),
        *list_silences(incident, now),
        *_given_up(incident, progress, now),
        *_skipped(incident, policy),
        *_renames(incident),
        *_entitles(incident),
        *_list_compactions(incident, now),
    ]
    missing = tuple(_no_wait_lost(incident, a, now) for a in wanted if not _is_done(incident, a))
    return Plan(missing, due=min(_moments(incident, policy, progress, now), default=None))


def _moments(incident: Incident, policy: EscalationPolicy, progress: Progress, now: float) -> Iterator[float]:
    """Yield the moments ahead at which something will be missing."""
    for moment in (
        progress.look_at,
        None if incident.is_resolved else progress.paused_until or None,
        find_reminder(incident, now),
        lapses_at(incident, policy),
        remind_acknowledged_at(incident, policy),
        None if incident.is_resolved else incident.stale_at,
        None if incident.is_resolved else incident.flapping_until,
    ):
        if moment is not None and moment > now:
            yield moment
    yield from list_silence_timestamps(incident, now)
    yield from stand_in_moments(incident, progress, now)


def _is_done(incident: Incident, action: Action) -> bool:
    done = incident.deliveries.get(action.key)
    if done is None or not done.is_settled or done.about != action.about:
        return False
    return isinstance(action, Post) or done.shown == action.shown


def _no_wait_lost(incident: Incident, action: Action, now: float) -> Action:
    """Return *action* without a wait that was begun before the clock was set back, or by a clock ahead of
    ours: how much of it is over nobody knows, and a page must not wait for the clock to come there. What was
    not tried waits for no other host's clock at all.
    """
    delivery = incident.deliveries.get(action.key)
    if isinstance(action, CheckPage):
        return replace(
            action, ready_at=limit_check_wait(incident.deliveries[action.of], action.ready_at, now)
        )
    if delivery is not None and delivery.about == action.about and delivery.attempts > 0:
        is_ahead = delivery.last_attempt_at > now + _CLOCKS_DIFFER_S
    else:
        is_ahead = incident.opened_at > now
    is_lost = action.ready_at > now and is_ahead
    return replace(action, ready_at=now) if is_lost else action


def _lapses(incident: Incident, policy: EscalationPolicy, now: float) -> Iterator[Action]:
    """Yield the end of an acknowledgement or of flapping whose time is over; in the pager's lane where
    it may page, for a silent Slack must not delay that.
    """
    at = lapses_at(incident, policy)
    lane = PAGERDUTY if incident.policy else SLACK
    if at is not None and at <= now:
        yield Lapse("lapse", "", lane, Target(lane, incident.channel), 0.0, "", incident.acknowledged_at)
    if incident.is_flapping and not incident.is_resolved and incident.flapping_until <= now:
        yield Calm("calm", "", lane, Target(lane, incident.channel), 0.0, "", incident.flapping_until)


def _looks(incident: Incident, policy: EscalationPolicy, progress: Progress, now: float) -> Iterator[Action]:
    """Yield a look at Alertmanager where one is to decide something."""
    if not policy.has_witness or incident.is_resolved:
        return
    news_at = _silence_news_at(incident)
    if (
        _is_step_near(incident, progress, now)
        or news_at > incident.alertmanager_checked_at
        or _is_hold_over(incident, now)
    ):
        yield LookUp("look", "", ALERTMANAGER, Target(ALERTMANAGER, incident.source), 0.0, "", news_at)


def _is_step_near(incident: Incident, progress: Progress, now: float) -> bool:
    """Tell whether a step after the first is about to be due and nobody has looked for its sake."""
    due_at = _find_near(incident, progress, now)
    return due_at is not None and not is_fresh(incident.alertmanager_checked_at, due_at)


def _find_near(incident: Incident, progress: Progress, now: float) -> float | None:
    """Return when the step after the first that is about to be decided is due, None where none is."""
    step = progress.next_step
    if step is None or step.due_at is None or step is progress.steps[0] or incident.is_paused:
        return None
    return step.due_at if step.due_at - LOOK_AHEAD_S <= now else None


def _inquiries(
    incident: Incident, policy: EscalationPolicy, progress: Progress, now: float
) -> Iterator[Action]:
    """Yield a question to PagerDuty where a step is to be decided.

    The pages' lane asks ahead of time; where it came to nothing by then, as that lane hangs or all
    were late, any other asks before it tells the step itself.
    """
    due_at, responders = _find_near(incident, progress, now), list_asked_about(incident, policy)
    if due_at is None or not responders:
        return
    may_ask_again = incident.pagerduty_check_failed and now < due_at
    if not may_ask_again and is_fresh(incident.pagerduty_checked_at, due_at):
        return
    again_at = incident.pagerduty_checked_at + INQUIRE_AGAIN_S if incident.pagerduty_check_failed else 0.0
    target = Target(PAGERDUTY, responders[0].name)
    for lane, moment in ((PAGERDUTY, again_at), (SLACK, due_at)):
        yield Inquire("inquire", "", lane, target, moment, "", responders)


def _silence_news_at(incident: Incident) -> float:
    """Return when a silence of ours was last made or ended."""
    receipts = (
        delivery.receipt
        for key, delivery in incident.deliveries.items()
        if key.startswith(("silence:", "expire:"))
    )
    return max((receipt.at for receipt in receipts if receipt is not None), default=0.0)


def _is_hold_over(incident: Incident, now: float) -> bool:
    suppression = incident.suppression
    return suppression is not None and incident.alertmanager_checked_at < suppression.until <= now


def _entitles(incident: Incident) -> Iterator[Action]:
    """Yield what the incident is called, where lists would still show the words of another alert."""
    if incident.is_past or not incident.alerts:
        return
    heading = find_heading(incident)
    if (heading.name, heading.summary, heading.more) != (incident.alertname, incident.summary, incident.more):
        target = Target(SLACK, incident.channel)
        yield Entitle("entitle", "", SLACK, target, 0.0, "", heading, incident.revision)


def _list_compactions(incident: Incident, now: float) -> Iterator[Action]:
    if find_compactable(incident, now):
        yield CompactAlerts("forget", "", SLACK, Target(SLACK, incident.channel), 0.0, "")


def _given_up(incident: Incident, progress: Progress, now: float) -> Iterator[Action]:
    """Yield a note for each step that is to be given up, for the next wait begins with it.

    It is of the lane that tells the step, behind what that is about to try once more.
    """
    for standing in progress.steps:
        if standing.give_up_at is None or standing.give_up_at > now:
            continue
        responder = standing.step.responder
        target = responder.find_target(PAGERDUTY) or responder.find_target(SLACK)
        if target is not None:
            text = f"{responder.title} could not be told: the wait for the next step begins"
            about, to = str(incident.run.number), Target(target.kind, target.address)
            yield Note(give_up_key(standing.step), about, target.kind, to, 0.0, "", text)


def _renames(incident: Incident) -> Iterator[Action]:
    """Yield a note, once, that a label of the incident's alerts makes a new alert of each value."""
    if incident.is_resolved or not (label := find_changing_label(incident)):
        return
    text = f"`{one_line(label, 100)}` is part of the labels: each new value of it is a new alert"
    yield Note(RENAMED, label, SLACK, Target(SLACK, incident.channel), 0.0, "", text)


def _skipped(incident: Incident, policy: EscalationPolicy) -> Iterator[Action]:
    """Yield a note for each step that left the configuration while the incident is open."""
    if incident.is_resolved:
        return
    names = {step.name for step in policy.steps}
    for name in incident.steps:
        if name not in names:
            text = f"Step {name} is no longer in the configuration: skipped"
            yield Note(f"skipped:{name}", "", SLACK, Target(SLACK, incident.channel), 0.0, "", text)
