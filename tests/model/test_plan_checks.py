"""When PagerDuty is checked before a step, and which actions wait for that check."""

from __future__ import annotations

from dataclasses import replace as copy

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from receiver.model.actions import Action, CheckBeforeStep, Page, Reply
from receiver.model.delivery import Delivery, PostedState, Receipt
from receiver.model.escalation import CHECK_AHEAD_S, CHECK_FRESH_S
from receiver.model.incident import Incident, StepCheck, Suppression
from receiver.model.plan import plan
from receiver.model.routing import PAGERDUTY, SLACK, EscalationPolicy
from tests.builders import OPENED_AT, a_policy, an_alert, an_incident

POLICY = copy(a_policy(), checks_pagerduty=True)
DUE_AT = OPENED_AT + 300


def paged(**changes: object) -> Incident:
    """Return an incident whose message was posted and whose first page was received at once."""
    arrived = Receipt(OPENED_AT, "C1:1.0")
    key = a_policy().steps[0].responder.targets[0].secret.digest
    first = Delivery("1", attempts=1, first_attempt_at=OPENED_AT, receipt=arrived, key_digest=key)
    parent = Delivery("", content_version=PostedState(), attempts=1, receipt=arrived)
    return an_incident(an_alert(), deliveries={"page:on-call": first, "message": parent}, **changes)


def plan_actions(incident: Incident, now: float, policy: EscalationPolicy = POLICY) -> tuple[Action, ...]:
    return plan(incident, policy, now).actions


def list_notifying_queues(actions: tuple[Action, ...]) -> list[str]:
    """Return the queues of the actions that notify the second step."""
    return [
        action.queue
        for action in actions
        if isinstance(action, Page | Reply) and action.step and action.step.name == "team-lead"
    ]


@given(st.floats(-400, 100_000))
def test_no_further_step_is_notified_before_pagerduty_is_checked(offset: float) -> None:
    now = DUE_AT + offset
    actions = plan_actions(paged(), now)
    assert list_notifying_queues(actions) == []
    check_times = {action.queue: action.ready_at for action in actions if isinstance(action, CheckBeforeStep)}
    assert check_times == ({PAGERDUTY: 0.0, SLACK: DUE_AT} if offset >= -CHECK_AHEAD_S else {})


@given(st.floats(0, 100_000), st.floats(-CHECK_FRESH_S, 0), st.booleans())
def test_after_the_check_the_step_is_notified_on_time_whatever_the_result(
    offset: float, checked_offset: float, has_failed: bool
) -> None:
    incident = paged().with_check(PAGERDUTY, StepCheck(DUE_AT + checked_offset, has_failed))
    actions = plan_actions(incident, DUE_AT + offset)
    assert list_notifying_queues(actions) == [PAGERDUTY, SLACK]
    assert not any(isinstance(action, CheckBeforeStep) for action in actions)


def test_an_outdated_check_is_repeated() -> None:
    incident = paged().with_check(PAGERDUTY, StepCheck(DUE_AT - CHECK_FRESH_S - 0.1))
    assert list_notifying_queues(plan_actions(incident, DUE_AT)) == []


def test_a_failed_check_is_repeated_while_there_is_time() -> None:
    incident = paged().with_check(PAGERDUTY, StepCheck(DUE_AT - 2.5, has_failed=True))
    ready = [
        a.ready_at
        for a in plan_actions(incident, DUE_AT - 2)
        if isinstance(a, CheckBeforeStep) and a.queue == PAGERDUTY
    ]
    assert ready == [DUE_AT - 1.5]


def test_pagerduty_is_not_checked_while_acknowledged_or_suppressed() -> None:
    for incident in (paged(acknowledged_by="alice"), paged(suppression=Suppression("silenced", OPENED_AT))):
        assert not any(isinstance(action, CheckBeforeStep) for action in plan_actions(incident, DUE_AT))


def test_a_page_that_was_never_sent_is_not_checked() -> None:
    failed = Delivery("1", attempts=1, failed_at=OPENED_AT)
    timed_out = Delivery("1", attempts=1, receipt=Receipt(OPENED_AT))
    incident = replace(paged(), deliveries={"page:on-call": failed, "timed_out:on-call": timed_out})
    actions = plan_actions(incident, DUE_AT)
    assert not any(isinstance(action, CheckBeforeStep) for action in actions)
    assert PAGERDUTY in list_notifying_queues(actions)
