"""What is still to be said or paged where something could not be delivered.

The route's fallback where Slack or PagerDuty refuses for good, and the thread where PagerDuty is out
of reach. Nobody is woken any more once somebody has it, it is over, all of it is muted or
quiet, or while there is maintenance.
"""

from __future__ import annotations

from collections.abc import Iterator

from receiver.domain.action import Action, Call, Post, Reply, Update
from receiver.domain.delivery import FOLDING, Delivery
from receiver.domain.escalation import Progress, StepStanding, current, page_key, ready_at
from receiver.domain.fallback import (
    MESSAGE,
    call_key,
    find_channel,
    find_failure,
    find_loss,
    find_message,
    find_place,
    find_responder,
    is_moved,
    is_said_by_storm,
    stand_in_step,
    unreached_key,
    wants_call,
)
from receiver.domain.incident import Incident
from receiver.domain.policy import SLACK, EscalationPolicy, Step, Target

# PagerDuty is quick; a page that it has not taken by now may not come through for a while.
UNREACHED_AFTER_S = 10.0


def list_stand_ins(
    incident: Incident, policy: EscalationPolicy, progress: Progress, shown: str, now: float
) -> Iterator[Action]:
    """Yield what Slack is to show in the place of what failed; *shown* is the message's face."""
    yield from _message(incident, policy, shown)
    message = find_message(incident)
    if message is not None and message.receipt is not None:
        yield from _farewell(incident, message)
    if not _may_wake(incident, progress):
        return
    if message is not None and message.receipt is not None:
        yield from _unreached(incident, progress, message, now)
        yield from _told_instead(incident, policy, progress, message)
    elif is_said_by_storm(incident):
        yield from _unreached(incident, progress, None, now)
        yield from _told_in_storm(incident, policy, progress)
    yield from _calls(incident, policy, progress, message)


def find_stand_in(incident: Incident, policy: EscalationPolicy, progress: Progress) -> StepStanding | None:
    """Return the step by which the fallback responder is to be paged in this run; None where none is.

    Twice is once: however much fails, there is one page, which later failures find open.
    """
    responder = find_responder(policy)
    if responder is None:
        return None
    moments = [failure.failed_at for _, failure in _failures(incident, progress)]
    root, run = incident.deliveries.get("root", Delivery()), incident.run
    is_anew = run.cause == "unacknowledged" or run.is_quiet
    # One that was posted has been seen: that its edits are refused later wakes nobody.
    if root.failed_at and (not policy.steps or not is_anew):
        moments.append(max(root.failed_at, run.started_at))
    if not moments:
        return None
    return StepStanding(stand_in_step(responder), min(moments), is_reached=True)


def stand_in_moments(incident: Incident, progress: Progress, now: float) -> Iterator[float]:
    """Yield when a page that is not taken by then is said in the thread."""
    if not _may_wake(incident, progress):
        return
    for standing in progress.reached:
        page = current(incident, page_key(standing.step))
        if not standing.is_standing and _is_under_way(page) and not page.is_settled:
            at = page.first_attempt_at + UNREACHED_AFTER_S
            if at > now:
                yield at


def _may_wake(incident: Incident, progress: Progress) -> bool:
    is_over = incident.is_resolved or incident.is_acknowledged
    return not (is_over or incident.is_paused or progress.paused_until)


def _is_under_way(page: Delivery) -> bool:
    """Tell whether PagerDuty was asked to take the page, and never took it. One that a storm is to say waits
    for that; of one that PagerDuty took and has no incident for, other words are said.
    """
    was_never_taken = page.check is None or page.failed_at > 0
    return page.attempts > 0 and was_never_taken and (not page.storm or page.reason not in ("", FOLDING))


def _failures(incident: Incident, progress: Progress) -> Iterator[tuple[Step, Delivery]]:
    """Yield the steps of this run of which something was given up for good, and what."""
    for standing in progress.reached:
        failure = None if standing.is_standing else find_failure(incident, standing.step)
        if failure is not None:
            yield standing.step, failure


def _message(incident: Incident, policy: EscalationPolicy, shown: str) -> Iterator[Action]:
    """Yield the message that stands in for the incident's own; once, also where it is lost again."""
    channel, loss = find_channel(incident, policy), find_loss(incident)
    before = incident.deliveries.get(MESSAGE)
    if channel is None or (loss is None and before is None):
        return
    if loss is None and before is not None and not before.maybe_sent:
        return  # the channel is back before anything was said elsewhere
    # What is noted with the first attempt stays, so that another reason later is no other message.
    about = before.about if before is not None else loss.reason if loss is not None else ""
    former = find_message(incident)
    replaces = former.receipt.reference if former is not None and former.receipt is not None else ""
    yield Post(MESSAGE, about, SLACK, channel, ready_at(incident, MESSAGE, about), shown, replaces)


def _farewell(incident: Incident, message: Delivery) -> Iterator[Action]:
    """Yield a last edit of the message that stood in, once the incident's own arrived after all."""
    former = incident.deliveries.get(MESSAGE)
    if former is None or former.receipt is None or former.is_folded or former is message:
        return
    about = former.receipt.reference
    place = find_place(incident, former)
    yield Update("moved", about, SLACK, place, ready_at(incident, "moved", about), "moved", about)


def _unreached(
    incident: Incident, progress: Progress, message: Delivery | None, now: float
) -> Iterator[Action]:
    """Yield a reply for each page that PagerDuty has not taken in time, or never will; without a *message* of
    the incident's own it is for the thread of the storm that speaks for it.
    """
    for standing in progress.reached:
        page = current(incident, page_key(standing.step))
        if standing.is_standing or not _is_under_way(page) or page.receipt is not None:
            continue
        if page.failed_at or page.first_attempt_at + UNREACHED_AFTER_S <= now:
            yield _reply(incident, unreached_key(standing.step), "unreached", standing.step, message)


def _told_instead(
    incident: Incident, policy: EscalationPolicy, progress: Progress, message: Delivery
) -> Iterator[Action]:
    """Yield what the thread is told of the fallback: that a responder stands in, or the step itself."""
    standing = find_stand_in(incident, policy, progress)
    if standing is not None:
        yield _reply(incident, f"step:{standing.step.name}", "instead", standing.step, message)
    if is_moved(incident):
        for step, _ in _failures(incident, progress):
            if wants_call(incident, policy, step):
                yield _reply(incident, call_key(step), "step", step, message)


def _told_in_storm(incident: Incident, policy: EscalationPolicy, progress: Progress) -> Iterator[Action]:
    """Yield that a fallback responder stands in who is told in Slack alone."""
    standing = find_stand_in(incident, policy, progress)
    if standing is not None and standing.step.responder.find_target(SLACK):
        yield _reply(incident, f"step:{standing.step.name}", "instead", standing.step, None)


def _calls(
    incident: Incident, policy: EscalationPolicy, progress: Progress, message: Delivery | None
) -> Iterator[Action]:
    """Yield a message in the fallback channel for each step whose page or reply was refused for good."""
    channel = find_channel(incident, policy)
    if channel is None or is_moved(incident):
        return
    link = message.receipt.link if message is not None and message.receipt is not None else ""
    for step, failure in _failures(incident, progress):
        if wants_call(incident, policy, step):
            key, about = call_key(step), str(incident.run.number)
            at = ready_at(incident, key, about)
            yield Call(key, about, SLACK, channel, at, "", step=step, why=failure.reason, link=link)


def _reply(incident: Incident, key: str, says: str, step: Step, message: Delivery | None) -> Reply:
    about, place, reference = str(incident.run.number), Target(SLACK, incident.channel), ""
    if message is not None and message.receipt is not None:
        place, reference = find_place(incident, message), message.receipt.reference
    at = ready_at(incident, key, about)
    return Reply(key, about, SLACK, place, at, "", message=reference, says=says, step=step)
