"""Properties of guarantee 5 over random outages: when a step is notified and when the next step is due.

A night is simulated in memory without any response: each target accepts deliveries, fails for a while, or
refuses them permanently, and sometimes no worker runs, also in the middle of an attempt.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.model.actions import Action, AddTimelineEntry
from receiver.model.escalation import STEP_TIMEOUT_S, EscalationState, evaluate_escalation
from receiver.model.plan import plan
from receiver.model.routing import PAGERDUTY, SLACK, EscalationPolicy, Responder, Step, Target
from tests.builders import OPENED_AT, a_policy, a_responder, a_step
from tests.model.test_plan_laws import Life
from tests.sampling import count_examples

AFTER_S = 300.0
# A failing target is attempted at least this often, and a worker is never later than its polling interval.
RETRIES_S = 36.0
# After an outage, one queue times a step out while another is about to notify it.
AT_ONCE_S = 1.0
HORIZON_S = 8 * 3600.0
LAW = settings(max_examples=count_examples(100), deadline=None)

BOTH = {"slack": "@them", "pagerduty": "0" * 32}
KINDS = (BOTH, {"slack": "@them", "pagerduty": ""}, {"slack": "", "pagerduty": "0" * 32})
NAMES = ("on-call", "team-lead", "manager")
# The fallback responder may be unknown to the policy, may have no pager, or may be one of its steps.
FALLBACKS = (
    None,
    Target(SLACK, "#ops"),
    a_responder("boss", slack="@boss"),
    a_responder("boss", slack="@boss", pagerduty=""),
    "on-call",
    "manager",
)
# How long a target fails in seconds, or that it refuses every delivery.
FATES = st.sampled_from([0.0, 0.0, 20.0, 90.0, 400.0, 1000.0, "refuses"])
AWAY = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.3, 60.0, 299.9, 300.2, 301.0, 421.0, 600.5]),
        st.sampled_from([5.0, 200.0, 5000.0]),
    ),
    max_size=3,
)


def policy_of(kinds: Iterable[dict[str, str]], fallback: Target | Responder | str | None) -> EscalationPolicy:
    steps = [
        a_step(a_responder(name, **kind), AFTER_S if n else 0.0)
        for n, (name, kind) in enumerate(zip(NAMES, kinds, strict=True))
    ]
    if isinstance(fallback, str):
        fallback = next(step.responder for step in steps if step.name == fallback)
    return replace(a_policy(*steps), fallback=fallback)


POLICIES = st.builds(policy_of, st.tuples(*[st.sampled_from(KINDS)] * 3), st.sampled_from(FALLBACKS))
TARGETS = ("parent", "thread", "#ops", "on-call", "team-lead", "manager", "boss")
NIGHTS = {
    "policy": POLICIES,
    "fates": st.fixed_dictionaries(dict.fromkeys(TARGETS, FATES)),
    "away": AWAY,
    "queues": st.sampled_from([(PAGERDUTY, SLACK), (SLACK, PAGERDUTY)]),
}


@dataclass
class Night(Life):
    fates: dict[str, float | str] = field(default_factory=dict)
    away: list[tuple[float, float]] = field(default_factory=list)
    queues: tuple[str, ...] = (PAGERDUTY, SLACK)
    attempts: dict[str, list[float]] = field(default_factory=dict)
    receipts: dict[str, float] = field(default_factory=dict)
    waits: dict[str, float] = field(default_factory=dict)

    def passes(self) -> None:
        """Run until nothing is due any more."""
        self.receives(True, "a", False)
        while self.now < OPENED_AT + HORIZON_S:
            self.wakes_up()
            assert self.incident is not None
            planned = plan(self.incident, self.policy, self.now)
            ready = [
                a
                for queue in self.queues
                for a in planned.actions
                if a.queue == queue and a.ready_at <= self.now
            ]
            if ready:
                self.tries(ready[0])
                self.checks()
                continue
            due_times = [a.ready_at for a in planned.actions] + (
                [planned.next_check_at] if planned.next_check_at is not None else []
            )
            later = [at for at in due_times if at > self.now]
            if not later:
                return
            self.now = min(later)

    def wakes_up(self) -> None:
        for begin, length in sorted(self.away):
            if OPENED_AT + begin <= self.now < OPENED_AT + begin + length:
                self.now = OPENED_AT + begin + length

    def tries(self, action: Action) -> None:
        if isinstance(action, AddTimelineEntry):
            self.dispatches(action, "arrives")
            self.receipts[action.key] = self.now
            return
        self.attempts.setdefault(action.key, []).append(self.now)
        is_cut = any(0 <= OPENED_AT + begin - self.now < 0.5 for begin, _ in self.away)
        fate = self.fates[self.name(action)]
        if is_cut:
            outcome = "crashes before"
        elif fate == "refuses":
            outcome = "fails for good"
        else:
            outcome = "fails" if self.now < OPENED_AT + float(fate) else "arrives"
        self.dispatches(action, outcome)
        if outcome == "arrives":
            self.receipts.setdefault(action.key, self.now)
        self.now += 0.05

    def name(self, action: Action) -> str:
        if action.queue == PAGERDUTY:
            return action.target.address
        if action.target.address == "#ops":
            return "#ops"
        return "parent" if action.key in ("message", "message_replacement") else "thread"

    def escalation(self) -> EscalationState:
        assert self.incident is not None
        return evaluate_escalation(self.incident, self.policy, self.now)

    def notifying_keys(self, step: Step) -> list[str]:
        """Return the delivery keys that can notify *step*; a shared fallback message notifies several steps.

        A reply without a mention only says that the responder is paged, so it does not notify the step.
        """
        own = [f"{kind}:{step.name}" for kind in ("page", "page_delayed", "fallback")]
        if step.responder.find_target(SLACK):
            own.append(f"step:{step.name}")
        responder = self.policy.fallback
        shared = responder.name if isinstance(responder, Responder) else ""
        return [*own, f"page:{shared}#fallback", f"step:{shared}#fallback"]

    def find_first_attempt(self, step: Step) -> float | None:
        tried = [self.attempts.get(f"{kind}:{step.name}", []) for kind in ("page", "step")]
        return min(itertools.chain(*tried), default=None)

    def checks(self) -> None:
        steps = self.escalation().steps
        for step_state in steps:
            if step_state.notified_at is not None:
                assert step_state.due_at is not None
                assert step_state.notified_at >= step_state.due_at, "notified before it was due"
                receipt_times = [self.receipts.get(key) for key in self.notifying_keys(step_state.step)]
                assert step_state.notified_at in receipt_times, "notified at a time without a receipt"
            if step_state.wait_started_at is not None:
                first_start = self.waits.setdefault(step_state.step.name, step_state.wait_started_at)
                assert step_state.wait_started_at == first_start, "a wait that had started was moved"
        for before, step_state in itertools.pairwise(steps):
            first_attempt_at = self.find_first_attempt(step_state.step)
            if first_attempt_at is not None:
                assert before.wait_started_at is not None
                assert first_attempt_at >= before.wait_started_at + AFTER_S, (
                    "the wait before it was cut short"
                )


def live(policy, fates, away, queues) -> Night:
    night = Night(policy, fates=fates, away=away, queues=queues)
    night.passes()
    return night


@LAW
@given(**NIGHTS)
def test_a_step_is_notified_with_its_first_receipt_and_the_next_wait_runs_in_full(
    policy, fates, away, queues
) -> None:
    live(policy, fates, away, queues)  # asserts after each attempt


@LAW
@given(**NIGHTS)
def test_the_next_wait_begins_with_the_first_receipt_or_two_minutes_after_the_first_attempt(
    policy, fates, away, queues
) -> None:
    night = live(policy, fates, away, queues)
    for step_state in night.escalation().steps:
        assert step_state.wait_started_at is not None, (
            f"{step_state.step.name} was neither notified nor timed out"
        )
        own = [night.receipts.get(key) for key in night.notifying_keys(step_state.step)[:-2]]
        assert step_state.wait_started_at <= min(
            (at for at in own if at is not None), default=step_state.wait_started_at
        )
        if step_state.wait_started_at == step_state.notified_at:
            continue
        assert step_state.timed_out_at == step_state.wait_started_at
        if "refuses" in fates.values():
            continue
        first_attempt_at = night.find_first_attempt(step_state.step) or step_state.due_at
        if not step_state.step.responder.find_target(PAGERDUTY):
            first_attempt_at = step_state.due_at  # without a thread, the attempts of the message itself count
        assert step_state.wait_started_at >= first_attempt_at + STEP_TIMEOUT_S


@LAW
@given(**NIGHTS)
def test_no_two_steps_are_notified_within_one_wait_however_long_the_outage(
    policy, fates, away, queues
) -> None:
    """Each target accepts or refuses and none fails for a while, so no attempt continues into the next wait."""
    fates = {target: fate if fate == "refuses" else 0.0 for target, fate in fates.items()}
    night = live(policy, fates, away, queues)
    for before, step_state in itertools.pairwise(night.escalation().steps):
        if step_state.notified_at is not None and before.notified_at is not None:
            assert step_state.notified_at >= before.notified_at + AFTER_S - AT_ONCE_S


@LAW
@given(**NIGHTS)
def test_without_an_outage_no_step_waits_longer_than_its_time(policy, fates, away, queues) -> None:
    night = live(policy, fates, [], queues)
    for before, step_state in itertools.pairwise(night.escalation().steps):
        assert step_state.due_at == before.wait_started_at + AFTER_S
        assert before.wait_started_at <= before.due_at + STEP_TIMEOUT_S + RETRIES_S
