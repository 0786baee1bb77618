"""Properties of alerts that end at a time that their sender named, whatever was posted before."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.model.alert import Alert, Group
from receiver.model.incident import Incident, IncidentChange, Person
from receiver.model.merge import find_later_expiry, merge
from receiver.model.plan import plan
from receiver.model.routing import EscalationPolicy, RouteSettings
from receiver.model.transitions import acknowledge, expire_alerts, resolve
from tests.sampling import count_examples

ROUTE_SETTINGS = RouteSettings(route="#alerts", channel="#alerts", policy="", steps=())
START = 1_795_435_200.0
ALICE = Person("alice")
ENDS = st.one_of(st.integers(1, 600).map(float), st.just(math.inf), st.none())
# What is posted of alert `a`: that it fires until so many seconds later, or (a negative number) has ended.
POSTS = st.one_of(st.tuples(st.just("fires"), ENDS), st.tuples(st.just("ended"), st.integers(0, 300)))
STEPS = st.one_of(POSTS, st.tuples(st.sampled_from(["expire", "resolve", "acknowledge"]), st.just(0)))
PASTS = st.lists(st.tuples(STEPS, st.integers(0, 400)), max_size=12)


def post(incident: Incident | None, what: str, value: float | None, now: float) -> IncidentChange:
    labels = {"alertname": "a", "severity": "critical"}
    if what == "fires":
        expires_at = None if value is None else now + value
        alert = Alert("a", labels, {}, now, 0.0, expires_at=expires_at)
    else:
        ended_at = now - (value or 0.0)
        alert = Alert("a", labels, {}, ended_at - 1, ended_at, expires_at=ended_at)
    return merge(incident, Group("", "", "a", labels, (alert,)), ROUTE_SETTINGS, now)


def respond(incident: Incident, what: str, now: float) -> IncidentChange:
    if what == "expire":
        return expire_alerts(incident, now)
    return resolve(incident, ALICE, now) if what == "resolve" else acknowledge(incident, ALICE, now)


def replay(past: list[tuple[tuple[str, float | None], int]]) -> tuple[Incident | None, float]:
    incident, now = None, START
    for (what, value), seconds in past:
        now += seconds
        if what in ("fires", "ended"):
            incident = post(incident, what, value, now).incident
        elif incident is not None:
            incident = respond(incident, what, now).incident
    return incident, now


@given(past=PASTS, value=st.integers(1, 600))
@settings(max_examples=count_examples(300), deadline=None)
def test_a_renewed_alert_does_not_end_before_its_new_end(
    past: list[tuple[tuple[str, float | None], int]], value: int
) -> None:
    incident, now = replay(past)
    renewed = post(incident, "fires", value, now).incident
    assert renewed is not None
    assert expire_alerts(renewed, now + value - 0.5).incident == renewed
    assert renewed.alert_states["a"].is_firing


@given(past=PASTS)
@settings(max_examples=count_examples(300), deadline=None)
def test_expiring_twice_is_expiring_once_and_leaves_nothing_that_has_ended(
    past: list[tuple[tuple[str, float | None], int]],
) -> None:
    incident, now = replay(past)
    if incident is None:
        return
    once = expire_alerts(incident, now).incident
    assert once is not None
    assert not any(alert_state.is_expired(now) for alert_state in once.alert_states.values())
    twice = expire_alerts(once, now + 0.001)
    assert (twice.incident, twice.is_changed) == (once, False)
    assert once.is_resolved or once.firing or once.is_flapping


@given(past=PASTS)
@settings(max_examples=count_examples(300), deadline=None)
def test_a_plan_wants_the_end_when_it_is_due_and_says_when_it_will_be(
    past: list[tuple[tuple[str, float | None], int]],
) -> None:
    incident, now = replay(past)
    if incident is None:
        return
    wanted = plan(incident, EscalationPolicy(""), now)
    is_due = any(type(action).__name__ == "ExpireAlerts" for action in wanted.actions)
    assert is_due is any(alert_state.is_expired(now) for alert_state in incident.alert_states.values())
    at = incident.next_expiry_at
    if at is not None and not is_due:
        assert wanted.next_check_at is not None
        assert wanted.next_check_at <= at


@given(ENDS, ENDS)
def test_the_later_of_two_ends_counts(known: float | None, given_end: float | None) -> None:
    found = find_later_expiry(known, given_end)
    if known is None or given_end is None:
        assert found is None
    elif math.inf in (known, given_end):
        assert found == given_end
    else:
        assert found == max(known, given_end)
