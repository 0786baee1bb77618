"""Properties of fallback messages: whatever fails in whatever order, planning ends and no one is paged twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.model.actions import FallbackMention, Page, Post
from receiver.model.plan import plan
from receiver.model.routing import SLACK, Responder, Target
from tests.builders import a_policy, a_responder, a_step
from tests.model.test_plan_laws import HOSTS, live
from tests.sampling import count_examples

CHANNEL = Target(SLACK, "#ops")
OTHER_RESPONDER = a_responder("boss", slack="@boss")
MANAGER = a_responder("manager", slack="@manager")
SLACK_ONLY = a_policy(
    a_step(a_responder("on-call")), a_step(a_responder("lead", slack="@lead", pagerduty=""), 300.0)
)
POLICIES = [
    replace(policy, fallback=fallback)
    for policy in (a_policy(), SLACK_ONLY)
    for fallback in (CHANNEL, OTHER_RESPONDER, MANAGER)
]
HAPPENINGS = st.one_of(
    st.tuples(st.just("receives"), st.booleans(), st.sampled_from(HOSTS), st.just(False)),
    st.tuples(st.just("answers"), st.sampled_from(["acknowledge", "unacknowledge", "resolve"])),
    st.tuples(st.just("passes"), st.sampled_from([0.1, 1.0, 11.0, 121.0, 300.0, 700.0])),
    st.tuples(
        st.just("works"), st.sampled_from(["arrives"] * 3 + ["fails", "fails for good", "crashes after"])
    ),
    st.tuples(st.just("works"), st.sampled_from(["arrives", "fails for good"])),
)
LIVES = st.lists(HAPPENINGS, max_size=40)
LAW = settings(max_examples=count_examples(300), deadline=None)


@LAW
@given(LIVES, st.sampled_from(POLICIES))
def test_after_all_receipts_no_action_is_planned_and_the_next_check_is_in_the_future(
    happenings, policy
) -> None:
    life = live(happenings, policy=policy)
    life.marks_done()
    assert life.incident is not None
    after = plan(life.incident, policy, life.now)
    assert after.actions == ()
    assert after.next_check_at is None or after.next_check_at > life.now


@LAW
@given(LIVES, st.sampled_from(POLICIES))
def test_each_responder_is_paged_once_per_escalation_run(happenings, policy) -> None:
    life = live(happenings, policy=policy)
    life.marks_done()
    assert len(life.woken) == len(set(life.woken))


@LAW
@given(LIVES, st.sampled_from(POLICIES))
def test_no_responder_is_paged_for_a_resolved_incident(happenings, policy) -> None:
    life = live(happenings, policy=policy)
    life.answers("resolve")
    woken = len(life.woken)
    life.marks_done()
    assert len(life.woken) == woken
    assert life.incident is not None
    assert not any(
        isinstance(a, Page | FallbackMention) for a in plan(life.incident, policy, life.now).actions
    )


@LAW
@given(LIVES, st.sampled_from([p for p in POLICIES if isinstance(p.fallback, Responder)]))
def test_a_step_is_notified_or_times_out_within_two_minutes_of_its_first_attempt(happenings, policy) -> None:
    life = live(happenings, policy=policy)
    life.marks_done()
    assert life.incident is not None
    if life.incident.state == "open" and not life.incident.is_flapping:
        due = plan(life.incident, policy, life.now + 121.0).next_check_at
        assert due is None or due > life.now + 121.0


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: f"{len(policy.steps)} {policy.fallback}"[:30])
def test_where_all_deliveries_succeed_no_fallback_is_used(policy) -> None:
    life = live([("passes", 0.1)], policy=policy)
    life.marks_done()
    assert life.incident is not None
    keys = {key for key in life.incident.deliveries if not key.startswith("skipped:")}
    assert keys == {"message", "page:on-call", "step:on-call", "update"}
    assert not any(isinstance(a, Post) for a in plan(life.incident, policy, life.now + 1).actions)
