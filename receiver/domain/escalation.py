"""Where an incident's escalation stands: which steps are told, and when the next one is due."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from receiver.domain.delivery import Delivery
from receiver.domain.fallback import call_key, find_message, find_thread, list_stand_ins, unreached_key
from receiver.domain.incident import Incident
from receiver.domain.page_check import accepted_at, is_unconfirmed, notified_at
from receiver.domain.page_line import (
    build_gone_responder,
    find_storm_paging,
    has_own_page,
    list_paged_names,
    page_line,
)
from receiver.domain.policy import PAGERDUTY, SLACK, EscalationPolicy, Responder, Step

# A step of which no receipt has come is given up this long after its first attempt, and the next wait
# starts all the same; its delivery goes on behind.
GIVE_UP_AFTER_S = 120.0
# Alertmanager and PagerDuty are asked a little before a step after the first is due, so that nobody is
# paged later for it; an answer this long before the step is still good, and without a word from
# Alertmanager this long after it the step is told all the same.
LOOK_AHEAD_S = 3.0
LOOK_FRESH_S = 10.0
LOOK_GRACE_S = 3.0


@dataclass(frozen=True)
class StepStanding:
    """One step as it stands: *due_at* is None while that can't be known yet.

    *told_at* is the first receipt of what tells it, and nothing else. *wait_at* is when the wait for the
    next step began: with that receipt, or when it was given up. While neither is so, *give_up_at* is when
    it is to be given up.
    """

    step: Step
    due_at: float | None = None
    told_at: float | None = None
    given_up_at: float | None = None
    give_up_at: float | None = None
    wait_at: float | None = None
    is_reached: bool = False
    is_unconfirmed: bool = False  # PagerDuty took its page and has no incident for it, whoever else told it
    is_standing: bool = False  # told in an earlier run, and still open there

    @property
    def is_given_up(self) -> bool:
        """It was given up, and no receipt has come since."""
        return self.given_up_at is not None and self.told_at is None


@dataclass(frozen=True)
class Progress:
    """All steps in order; *look_at* is when this changes by itself.

    *paused_until* is the end of a maintenance, in which nobody is paged (0: there is none).
    """

    steps: tuple[StepStanding, ...]
    look_at: float | None = None
    paused_until: float = 0.0

    @property
    def reached(self) -> Iterator[StepStanding]:
        return (standing for standing in self.steps if standing.is_reached)

    @property
    def next_step(self) -> StepStanding | None:
        """The step that is waited for; None while that can't be known, and at the end."""
        for standing in self.steps:
            if not standing.is_reached:
                return standing if standing.due_at is not None else None
        return None


def page_key(step: Step) -> str:
    """Return the delivery key of the step's page to PagerDuty."""
    return f"page:{step.name}"


def reply_key(step: Step) -> str:
    """Return the delivery key of the step's reply in the thread."""
    return f"step:{step.name}"


def give_up_key(step: Step) -> str:
    """Return the key under which an incident keeps that the step was given up, and when."""
    return f"given_up:{step.name}"


def trace_progress(incident: Incident, policy: EscalationPolicy, now: float) -> Progress:
    """Return where the escalation stands at *now*.

    Steps before the one a run starts with count as told before; an acknowledged or resolved
    incident reaches no further step than it had tried.
    """
    first = _first_step(incident, policy)
    standings = [_stand_from_before(incident, step) for step in policy.steps[:first]]
    due_at: float | None = incident.run.started_at
    for number, step in enumerate(policy.steps[first:]):
        if due_at is not None and (number or incident.run.cause != "unacknowledged"):
            due_at += step.after
        standing = _stand(incident, policy, step, due_at, now, is_first=number == 0)
        standings.append(standing)
        due_at = standing.wait_at
    paused_until = policy.paused_until if now < policy.paused_until else 0.0
    return Progress(tuple(standings), _look_at(incident, policy, standings, now), paused_until)


def _stand(
    incident: Incident,
    policy: EscalationPolicy,
    step: Step,
    due_at: float | None,
    now: float,
    *,
    is_first: bool,
) -> StepStanding:
    if due_at is None:
        return StepStanding(step)
    if is_first and incident.run.cause == "reopened" and _was_kept_open(incident, step):
        return _stand_from_before(incident, step, due_at)
    given_up_at = _given_up_at(incident, step)
    is_begun = given_up_at is not None or any(d.attempts for d in _deliveries(incident, step))
    if not is_begun and (incident.is_resolved or incident.is_acknowledged):
        return StepStanding(step)
    if not is_begun and now < policy.paused_until:
        return StepStanding(step, max(due_at, policy.paused_until))
    # What is to be told as soon as a run begins is due even where the clock was set back since.
    is_due = due_at <= now or (is_first and due_at <= incident.run.started_at)
    if not is_begun and not (is_due and (is_first or may_go_on(incident, policy, due_at, now))):
        return StepStanding(step, due_at)
    tellings = _telling(incident, policy, step, due_at)
    told_at = min((at for d in tellings if (at := notified_at(d)) is not None), default=None)
    # A page that PagerDuty took and has no incident for notifies nobody, and it delays nothing either.
    taken_at = min((at for d in tellings if (at := accepted_at(d)) is not None), default=None)
    wait_at = min((at for at in (taken_at, given_up_at) if at is not None), default=None)
    give_up_at = None
    if wait_at is None:
        give_up_at = _give_up_at(incident, policy, step, tellings, due_at=due_at, now=now)
    return StepStanding(
        step,
        due_at,
        told_at,
        given_up_at,
        give_up_at,
        wait_at,
        is_reached=True,
        is_unconfirmed=is_unconfirmed(current(incident, page_key(step))),
    )


def _stand_from_before(incident: Incident, step: Step, due_at: float | None = None) -> StepStanding:
    """Return how a step stands that is not told anew in this run; the next wait begins with the run."""
    moments = (notified_at(d) for key in _keys(step) if (d := incident.deliveries.get(key)))
    told_at = min((at for at in moments if at is not None), default=None)
    started_at = incident.run.started_at
    return StepStanding(step, due_at, told_at, wait_at=started_at, is_reached=True, is_standing=True)


def may_go_on(incident: Incident, policy: EscalationPolicy, due_at: float, now: float) -> bool:
    """Tell whether those who are asked before it let a step after the first be told at *now*.

    Held, it waits. Otherwise both must have been asked lately. Alertmanager is asked in a lane of its
    own, so it is waited for only so long; PagerDuty is asked by whoever is about to tell the step, who
    notes it even where there was no answer. So neither holds anybody up.
    """
    if incident.is_paused:
        return False
    if list_asked_about(incident, policy) and not is_fresh(incident.pagerduty_checked_at, due_at):
        return False
    return (
        not policy.has_witness
        or is_fresh(incident.alertmanager_checked_at, due_at)
        or now >= due_at + LOOK_GRACE_S
    )


def is_fresh(asked_at: float, due_at: float) -> bool:
    """Tell whether what was asked at *asked_at* was so late enough to decide over a step due at *due_at*."""
    return asked_at >= due_at - LOOK_FRESH_S


def list_asked_about(incident: Incident, policy: EscalationPolicy) -> tuple[Responder, ...]:
    """Return the responders whose pages PagerDuty is asked about: as far as we know, open there."""
    if not policy.has_pager:
        return ()
    responders = {one.name: one for one in (*policy.others, *(step.responder for step in policy.steps))}
    gone = (build_gone_responder(name) for name in list_paged_names(incident) if name not in responders)
    return tuple(one for one in (*responders.values(), *gone) if _is_really_paged(incident, one))


def _is_really_paged(incident: Incident, responder: Responder) -> bool:
    if has_own_page(incident, responder) and page_line(incident, responder).key_digest:
        return True
    target = responder.find_target(PAGERDUTY)
    # Without its key a page is simulated.
    return target is not None and bool(target.secret and find_storm_paging(incident, responder))


def _given_up_at(incident: Incident, step: Step) -> float | None:
    receipt = current(incident, give_up_key(step)).receipt
    return receipt.at if receipt is not None else None


def _give_up_at(
    incident: Incident,
    policy: EscalationPolicy,
    step: Step,
    tellings: list[Delivery],
    *,
    due_at: float,
    now: float,
) -> float | None:
    """Return when a step without a receipt is to be given up: at once where all that tells it failed for
    good, else some time after its first attempt; None before that attempt.

    The worker that gives the step up keeps when it did so, and the next wait begins then: time in which no
    worker lived takes no responder's time to answer away.
    """
    if incident.is_resolved or incident.is_acknowledged or not tellings:
        return None
    if all(d.failed_at for d in tellings):
        return min(now, max(d.failed_at for d in tellings))
    own = [d for key in _keys(step) if (d := current(incident, key)).attempts]
    message = find_message(incident) or find_thread(incident, policy)
    is_late = message.attempts > 0 and (message.receipt is None or message.receipt.at > due_at)
    if is_late and not step.responder.find_target(PAGERDUTY):
        own.append(message)  # it stood for the step's reply, which had no thread
    first_at = min((max(d.first_attempt_at, due_at) for d in own), default=None)
    return first_at + GIVE_UP_AFTER_S if first_at is not None else None


def _telling(incident: Incident, policy: EscalationPolicy, step: Step, due_at: float) -> list[Delivery]:
    """Return the deliveries whose arrival tells the step: one for each target, and what stands in for them.

    The reply in the thread is a target only where the responder has a Slack address. While the
    incident's message can't be posted, there is no thread: its fate is then the reply's.
    """
    found = []
    if step.responder.find_target(PAGERDUTY):
        found.append(current(incident, page_key(step)))
    if step.responder.find_target(SLACK):
        reply = current(incident, reply_key(step))
        is_threadless = not reply.attempts and find_message(incident) is None
        thread = find_thread(incident, policy) if is_threadless else reply
        found.append(reply if thread.is_folded else thread)  # a storm has a thread of its own
    return [*found, *list_stand_ins(incident, policy, step, due_at)]


def _deliveries(incident: Incident, step: Step) -> tuple[Delivery, Delivery]:
    return current(incident, page_key(step)), current(incident, reply_key(step))


def _keys(step: Step) -> tuple[str, ...]:
    """Return the keys of all deliveries that tell this step and no other."""
    return page_key(step), reply_key(step), unreached_key(step), call_key(step)


def current(incident: Incident, key: str, about: str | None = None) -> Delivery:
    """Return the delivery of *key* in this run (or about *about*); an empty one if there is none."""
    about = str(incident.run.number) if about is None else about
    delivery = incident.deliveries.get(key)
    return delivery if delivery is not None and delivery.about == about else Delivery(about)


def ready_at(incident: Incident, key: str, about: str = "") -> float:
    """Return the end of a retry's wait; 0 where nothing failed."""
    delivery = incident.deliveries.get(key)
    if delivery is None or delivery.about != about or delivery.is_settled:
        return 0.0
    return delivery.retry_at


def _first_step(incident: Incident, policy: EscalationPolicy) -> int:
    """Return the index of the step this run starts with: the last one tried before, if any."""
    run = incident.run
    if run.cause != "unacknowledged":
        return 0
    tried_before = 0
    for index, step in enumerate(policy.steps):
        runs = [
            int(delivery.about)
            for key in (page_key(step), reply_key(step))
            if (delivery := incident.deliveries.get(key)) and delivery.attempts
        ]
        if run.number in runs:
            return index
        if any(run.since <= number < run.number for number in runs):
            tried_before = index
    return tried_before


def _was_kept_open(incident: Incident, step: Step) -> bool:
    """Tell whether a reopened incident need not tell its first step anew: it flaps, or PagerDuty, which has
    not heard of the end yet, goes on waking the responder for the page before. It does not for one that was
    acknowledged.
    """
    if incident.run.is_quiet:
        return True
    if current(incident, page_key(step)).attempts:
        return False
    line = page_line(incident, step.responder)
    is_open = line.is_open and line.is_known and not line.is_closing and line.acknowledged != line.opened
    return step.responder.find_target(PAGERDUTY) is not None and is_open


def _look_at(
    incident: Incident, policy: EscalationPolicy, standings: list[StepStanding], now: float
) -> float | None:
    if incident.is_acknowledged or incident.is_resolved:
        return None
    moments: list[float] = []
    give_ups: list[float] = []
    for standing in standings:
        if not standing.is_reached:
            if standing.due_at is not None:
                moments.append(standing.due_at)
                if policy.has_witness or policy.has_pager:
                    moments += (standing.due_at - LOOK_AHEAD_S, standing.due_at + LOOK_GRACE_S)
            break
        if standing.give_up_at is not None:
            give_ups.append(standing.give_up_at)
    if incident.suppression is not None:
        moments = [incident.suppression.until]
    return min((at for at in (*moments, *give_ups) if at > now), default=None)
