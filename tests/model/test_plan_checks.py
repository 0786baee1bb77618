"""When PagerDuty is to be asked, and what waits for it."""

from __future__ import annotations

from dataclasses import replace as copy

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from receiver.model.actions import Action, CheckPagerDuty, Page, Reply
from receiver.model.delivery import Delivery, Receipt
from receiver.model.escalation import CHECK_AHEAD_S, CHECK_FRESH_S
from receiver.model.incident import Incident, Suppression
from receiver.model.plan import plan
from receiver.model.routing import PAGERDUTY, SLACK, EscalationPolicy
from tests.builders import OPENED_AT, a_policy, an_alert, an_incident

POLICY = copy(a_policy(), checks_pagerduty=True)
DUE_AT = OPENED_AT + 300


def paged(**changes: object) -> Incident:
    """An incident that was posted, and whose first page arrived at once."""
    arrived = Receipt(OPENED_AT, "C1:1.0")
    key = a_policy().steps[0].responder.targets[0].secret.digest
    first = Delivery("1", attempts=1, first_attempt_at=OPENED_AT, receipt=arrived, key_digest=key)
    root = Delivery("", content_version="o0.0.0....", attempts=1, receipt=arrived)
    return an_incident(an_alert(), deliveries={"page:on-call": first, "root": root}, **changes)


def wanted(incident: Incident, now: float, policy: EscalationPolicy = POLICY) -> tuple[Action, ...]:
    return plan(incident, policy, now).actions


def notifies(actions: tuple[Action, ...]) -> list[str]:
    """Return who is to be told of the second step."""
    return [
        action.queue
        for action in actions
        if isinstance(action, Page | Reply) and action.step and action.step.name == "team-lead"
    ]


@given(st.floats(-400, 100_000))
def test_no_further_step_is_notified_before_pagerduty_is_checked(offset: float) -> None:
    now = DUE_AT + offset
    actions = wanted(paged(), now)
    assert notifies(actions) == []
    asks = {action.queue: action.ready_at for action in actions if isinstance(action, CheckPagerDuty)}
    assert asks == ({PAGERDUTY: 0.0, SLACK: DUE_AT} if offset >= -CHECK_AHEAD_S else {})


@given(st.floats(0, 100_000), st.floats(-CHECK_FRESH_S, 0), st.booleans())
def test_after_the_check_the_step_is_notified_on_time_whatever_the_result(
    offset: float, asked: float, is_unasked: bool
) -> None:
    incident = replace(paged(), pagerduty_checked_at=DUE_AT + asked, pagerduty_check_failed=is_unasked)
    actions = wanted(incident, DUE_AT + offset)
    assert notifies(actions) == [PAGERDUTY, SLACK]
    assert not any(isinstance(action, CheckPagerDuty) for action in actions)


def test_an_old_check_does_not_count() -> None:
    incident = replace(paged(), pagerduty_checked_at=DUE_AT - CHECK_FRESH_S - 0.1)
    assert notifies(wanted(incident, DUE_AT)) == []


def test_a_failed_check_is_repeated_while_there_is_time() -> None:
    incident = replace(paged(), pagerduty_checked_at=DUE_AT - 2.5, pagerduty_check_failed=True)
    ready = [
        a.ready_at
        for a in wanted(incident, DUE_AT - 2)
        if isinstance(a, CheckPagerDuty) and a.queue == PAGERDUTY
    ]
    assert ready == [DUE_AT - 1.5]


def test_pagerduty_is_not_checked_while_acknowledged_or_suppressed() -> None:
    for incident in (paged(acknowledged_by="alice"), paged(suppression=Suppression("silenced", OPENED_AT))):
        assert not any(isinstance(action, CheckPagerDuty) for action in wanted(incident, DUE_AT))


def test_a_page_that_was_never_sent_is_not_checked() -> None:
    failed = Delivery("1", attempts=1, failed_at=OPENED_AT)
    given_up = Delivery("1", attempts=1, receipt=Receipt(OPENED_AT))
    incident = replace(paged(), deliveries={"page:on-call": failed, "given_up:on-call": given_up})
    actions = wanted(incident, DUE_AT)
    assert not any(isinstance(action, CheckPagerDuty) for action in actions)
    assert PAGERDUTY in notifies(actions)
