"""Properties of plan(): after any history, completed actions are not planned again and the next check lies
ahead.

A random history of an incident runs in memory: incoming alerts, responses of people, time, and deliveries
that arrive, fail, fail permanently or are interrupted by a crash. A model of PagerDuty holds the pages that
the engineer gets.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from receiver.engine.dispatcher import format_target
from receiver.errors import PermanentDeliveryError, RefusalKind, TemporaryDeliveryError
from receiver.model.actions import (
    AcknowledgePage,
    Action,
    ConfirmPage,
    DeliveryAction,
    EndFlapping,
    Page,
    Post,
    ResolvePage,
    Transition,
)
from receiver.model.delivery import Delivery, Receipt
from receiver.model.incident import Incident, IncidentChange, Person, dedup_key
from receiver.model.merge import merge
from receiver.model.page_confirmation import record_repeat
from receiver.model.plan import plan
from receiver.model.routing import EscalationPolicy, RouteSettings
from receiver.model.transitions import acknowledge, end_flapping, resolve, unacknowledge
from tests.builders import OPENED_AT, a_group, a_policy, an_alert
from tests.sampling import count_examples

POLICY = a_policy()
ROUTE_SETTINGS = RouteSettings("#a", "#a", POLICY.name, tuple(step.name for step in POLICY.steps), 600, 4)
HOSTS = ("a", "b")


@dataclass
class Life:
    """The history of one incident, and the state of its pages in PagerDuty."""

    policy: EscalationPolicy = POLICY
    now: float = OPENED_AT
    incident: Incident | None = None
    open_pages: dict[str, str] = field(default_factory=dict)  # dedup key -> triggered, acknowledged
    woken: list[tuple[str, str, str]] = field(default_factory=list)  # incident, step, escalation run

    def apply_change(self, change: IncidentChange) -> None:
        if change.incident is not None and change.is_changed:
            deliveries = {} if change.is_new or self.incident is None else self.incident.deliveries
            self.incident = replace(change.incident, deliveries=deliveries)

    def receives(self, firing: bool, host: str, truncated: bool) -> None:
        self.now += 0.001
        alert = an_alert(instance=host, starts_at=self.now - 1, ends_at=0.0 if firing else self.now)
        change = merge(self.incident, a_group(alert, truncated=int(truncated)), ROUTE_SETTINGS, self.now)
        if change.is_new and self.incident is not None:
            self.marks_done()  # the engine completes the former incident first
        self.apply_change(change)

    def answers(self, answer: str) -> None:
        if self.incident is None:
            return
        how = {"acknowledge": acknowledge, "unacknowledge": unacknowledge, "resolve": resolve}[answer]
        self.apply_change(how(self.incident, Person("alice"), self.now))

    def ready(self) -> list[Action]:
        if self.incident is None:
            return []
        return [a for a in plan(self.incident, self.policy, self.now).actions if a.ready_at <= self.now]

    def works(self, outcome: str) -> None:
        ready = self.ready()
        if ready:
            self.dispatches(ready[0], outcome)

    def dispatches(self, action: Action, outcome: str) -> None:
        assert self.incident is not None
        if isinstance(action, Transition):
            if outcome in ("arrives", "crashes after"):
                self.applies(action)
            return
        before = self.incident.deliveries.get(action.key, Delivery())
        attempt = before.with_attempt(
            action.instance, action.content_version, format_target(action), self.now
        )
        was = attempt.attempts > 1 and before.maybe_sent
        if outcome in ("arrives", "crashes after"):
            self.reaches(action)
        if outcome == "arrives":
            attempt = attempt.with_receipt(Receipt(self.now, f"C1:{self.now:.6f}/{action.key}"))
        elif outcome == "fails":
            attempt = attempt.with_failure(
                TemporaryDeliveryError("no"), self.now, was_maybe_sent=was, salt="x"
            )
        elif outcome == "fails for good":
            attempt = attempt.with_failure(
                PermanentDeliveryError("is_archived", kind=RefusalKind.TARGET_GONE),
                self.now,
                was_maybe_sent=was,
                salt="x",
            )
        deliveries = {**self.incident.deliveries, action.key: attempt}
        self.incident = replace(self.incident, deliveries=deliveries)

    def applies(self, action: Transition) -> None:
        """Apply the end of flapping, or a page confirmation as it is without an API key for PagerDuty; no other
        transition is planned.
        """
        assert self.incident is not None
        if isinstance(action, EndFlapping):
            self.incident = end_flapping(self.incident, action.flapping_until, self.now).incident
            return
        assert isinstance(action, ConfirmPage)
        assert action.is_repeated
        page = self.incident.deliveries[action.event_key]
        deliveries = {
            **self.incident.deliveries,
            action.event_key: record_repeat(page, self.now, self.incident.last_received_at),
        }
        self.incident = replace(self.incident, deliveries=deliveries)

    def reaches(self, action: DeliveryAction) -> None:
        assert self.incident is not None
        if isinstance(action, Page):
            if action.dedup_key not in self.open_pages:
                self.woken.append((self.incident.id, action.step.name, action.instance))
            self.open_pages.setdefault(action.dedup_key, "triggered")
        elif isinstance(action, AcknowledgePage) and action.dedup_key in self.open_pages:
            self.open_pages[action.dedup_key] = "acknowledged"
        elif isinstance(action, ResolvePage):
            self.open_pages.pop(action.dedup_key, None)

    def marks_done(self) -> None:
        """Let every delivery arrive, however long its retries wait."""
        for _ in range(200):
            assert self.incident is not None
            planned = plan(self.incident, self.policy, self.now)
            if not planned.actions:
                return
            soonest = min(planned.actions, key=lambda action: action.ready_at)
            self.now = max(self.now, soonest.ready_at)
            self.dispatches(next(a for a in planned.actions if a.ready_at <= self.now), "arrives")
        raise AssertionError("an action is planned again and again")


OUTCOMES = st.sampled_from(["arrives"] * 5 + ["fails", "fails for good", "crashes before", "crashes after"])
HAPPENINGS = st.one_of(
    st.tuples(
        st.just("receives"), st.booleans(), st.sampled_from(HOSTS), st.sampled_from([False] * 5 + [True])
    ),
    st.tuples(st.just("answers"), st.sampled_from(["acknowledge", "unacknowledge", "resolve"])),
    st.tuples(st.just("passes"), st.sampled_from([0.1, 1.0, 30.0, 121.0, 300.0, 700.0])),
    st.tuples(st.just("works"), OUTCOMES),
    st.tuples(st.just("works"), OUTCOMES),
)


def live(happenings: list[tuple], only: str = "", policy: EscalationPolicy = POLICY) -> Life:
    life = Life(policy)
    life.receives(True, "a", False)
    for what, *details in happenings:
        if what == "passes":
            life.now += details[0]
        elif what == "works" and only:
            life.works(only)
        else:
            getattr(life, what)(*details)
    return life


LIVES = st.lists(HAPPENINGS, max_size=40)


@settings(max_examples=count_examples(300), deadline=None)
@given(LIVES)
def test_after_all_receipts_no_action_is_planned_and_the_next_check_is_in_the_future(
    happenings: list[tuple],
) -> None:
    life = live(happenings)
    life.marks_done()
    assert life.incident is not None
    after = plan(life.incident, POLICY, life.now)
    assert after.actions == ()
    assert after.next_check_at is None or after.next_check_at > life.now


@settings(max_examples=count_examples(300), deadline=None)
@given(LIVES)
def test_a_resolved_incident_leaves_no_page_open(happenings: list[tuple]) -> None:
    life = live([h for h in happenings if h[-1] != "fails for good"])
    life.answers("resolve")
    life.marks_done()
    assert life.open_pages == {}


@settings(max_examples=count_examples(300), deadline=None)
@given(LIVES)
def test_an_open_unacknowledged_incident_has_an_open_page(happenings: list[tuple]) -> None:
    life = live([h for h in happenings if h[-1] != "fails for good"])
    life.marks_done()
    assert life.incident is not None
    if life.incident.state == "open" and not life.incident.quiet_at and not life.incident.run.is_quiet:
        assert "triggered" in life.open_pages.values()


@settings(max_examples=count_examples(300), deadline=None)
@given(LIVES)
def test_an_acknowledged_incident_is_acknowledged_in_pagerduty(happenings: list[tuple]) -> None:
    life = live([h for h in happenings if h[-1] != "fails for good"])
    life.answers("acknowledge")
    life.marks_done()
    assert life.incident is not None
    if life.incident.state == "acknowledged":
        assert set(life.open_pages.values()) <= {"acknowledged"}


@settings(max_examples=count_examples(300), deadline=None)
@given(LIVES)
def test_each_step_pages_its_responder_once_per_escalation_run(happenings: list[tuple]) -> None:
    life = live(happenings)
    life.marks_done()
    assert len(life.woken) == len(set(life.woken))


@settings(max_examples=count_examples(300), deadline=None)
@given(LIVES)
def test_planning_twice_gives_the_same_plan(happenings: list[tuple]) -> None:
    life = live(happenings)
    assert life.incident is not None
    assert plan(life.incident, POLICY, life.now) == plan(life.incident, POLICY, life.now)


@settings(max_examples=count_examples(300), deadline=None)
@given(LIVES)
def test_no_responder_is_paged_for_a_resolved_or_acknowledged_incident(happenings: list[tuple]) -> None:
    life = live(happenings)
    assert life.incident is not None
    pages = [a for a in plan(life.incident, POLICY, life.now).actions if isinstance(a, Page)]
    if life.incident.is_resolved or life.incident.is_acknowledged:
        assert pages == []


@settings(max_examples=count_examples(300), deadline=None)
@given(LIVES)
def test_an_acknowledgement_ends_with_the_incident_unless_it_flaps(happenings: list[tuple]) -> None:
    life = live([h for h in happenings if h[-1] != "fails for good"])
    life.answers("acknowledge")
    for host in HOSTS:
        life.receives(False, host, False)
    assert life.incident is not None
    before, woken = life.incident, len(life.woken)
    if not (before.is_resolved and before.is_acknowledged) or before.is_closed_by_hand:
        return
    life.receives(True, "a", False)
    after = life.incident
    if after.id != before.id:  # the flap window was over, so this is another incident
        return
    life.marks_done()
    if after.run.is_quiet:
        assert after.acknowledged_by == before.acknowledged_by
        assert len(life.woken) == woken
        return
    assert after.state == "open"
    assert after.former_by == "alice"
    # The responder is paged again, unless PagerDuty got neither the acknowledgement nor the resolve.
    assert life.open_pages[dedup_key(after, "on-call")] == "triggered"


@settings(max_examples=count_examples(200), deadline=None)
@given(LIVES)
def test_an_incident_has_one_message(happenings: list[tuple]) -> None:
    life = live(happenings, only="arrives")
    assert life.incident is not None
    posts = [a for a in plan(life.incident, POLICY, life.now).actions if isinstance(a, Post)]
    assert len(posts) == (0 if "message" in life.incident.deliveries else 1)


def test_an_earlier_page_is_still_resolved_after_a_renewed_page_failed() -> None:
    """The page of the next escalation run failed, and no resolve was sent: PagerDuty's incident stayed open."""
    life = live([("works", "arrives"), ("passes", 1.0), ("works", "arrives")])
    life.answers("acknowledge")
    life.answers("unacknowledge")
    life.works("fails")
    life.answers("resolve")
    life.marks_done()
    assert life.open_pages == {}


def test_the_dedup_key_depends_on_group_and_responder_alone() -> None:
    first = merge(None, a_group(an_alert()), ROUTE_SETTINGS, OPENED_AT).incident
    later = merge(None, a_group(an_alert(), an_alert(instance="b")), ROUTE_SETTINGS, OPENED_AT + 1e6).incident
    assert first is not None
    assert later is not None
    assert dedup_key(first, "on-call") == dedup_key(later, "on-call")
    assert dedup_key(first, "on-call") != dedup_key(first, "manager")
