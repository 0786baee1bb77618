"""Properties of a storm's plan: every member is counted in a page, and no batch pages its responder twice.

A random history of a responder's storm runs in memory: incidents join and end, people respond, time passes,
deliveries arrive, fail or are interrupted by a crash. A model of PagerDuty holds the pages that the engineer
gets.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from receiver.errors import PermanentDeliveryError, TemporaryDeliveryError
from receiver.model.actions import AcknowledgePage, Action, Page, ResolvePage
from receiver.model.delivery import Delivery, Receipt
from receiver.model.incident import Incident, Person
from receiver.model.transitions import acknowledge, resolve
from receiver.storms.model import (
    BATCH_PAUSE_S,
    MAX_MEMBERS,
    Member,
    MemberState,
    Storm,
    new_storm_id,
    parse_storm_dedup_key,
    storm_dedup_key,
)
from receiver.storms.plan import ChangeStorm, StormView, plan_storm
from tests.builders import OPENED_AT, a_responder, an_incident
from tests.sampling import count_examples

TARGET_KEY = "responder:on-call"
BOB = Person("bob")


@dataclass
class Life:
    now: float = OPENED_AT
    storm: Storm = field(
        default_factory=lambda: Storm(new_storm_id(TARGET_KEY, OPENED_AT), TARGET_KEY, OPENED_AT)
    )
    incidents: dict[str, Incident] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    open_pages: dict[str, str] = field(default_factory=dict)
    woken: list[tuple[str, float]] = field(default_factory=list)

    def joins(self) -> None:
        if not self.storm.is_active:
            return
        name = f"i{len(self.members)}"
        self.incidents[name] = replace(an_incident(), id=name, opened_at=self.now)
        self.members[name] = Member(self.now, self.storm.current_batch)

    def answers(self, what: str, which: int) -> None:
        if self.incidents:
            name = sorted(self.incidents)[which % len(self.incidents)]
            how = acknowledge if what == "acknowledge" else resolve
            self.incidents[name] = how(self.incidents[name], BOB, self.now).incident or self.incidents[name]

    def view(self) -> StormView:
        counted = [MemberState(name, member, self.incidents[name]) for name, member in self.members.items()]
        return StormView(self.storm, counted, 1.8, {"on-call": a_responder("on-call")}, self.now)

    def works(self, outcome: str) -> None:
        ready = [a for a in plan_storm(self.view()).actions if a.ready_at <= self.now]
        if ready:
            self.performs(ready[0], outcome)

    def performs(self, action: Action, outcome: str) -> None:
        match action:
            case ChangeStorm():
                self.storm = action.storm
            case _:
                self.delivers(action, outcome)

    def delivers(self, action: Action, outcome: str) -> None:
        before = self.storm.deliveries.get(action.key, Delivery())
        attempt = before.with_attempt(action.instance, action.content_version, "", self.now)
        was = attempt.attempts > 1 and before.maybe_sent
        if outcome in ("arrives", "crashes after"):
            self.reaches(action)
        if outcome == "arrives":
            attempt = attempt.with_receipt(Receipt(self.now))
        elif outcome == "fails":
            attempt = attempt.with_failure(
                TemporaryDeliveryError("no"), self.now, was_maybe_sent=was, salt="x"
            )
        elif outcome == "fails for good":
            attempt = attempt.with_failure(
                PermanentDeliveryError("no"), self.now, was_maybe_sent=was, salt="x"
            )
        self.storm = replace(self.storm, deliveries={**self.storm.deliveries, action.key: attempt})

    def reaches(self, action: Action) -> None:
        if isinstance(action, Page):
            if action.dedup_key not in self.open_pages:
                self.woken.append((action.dedup_key, self.now))
            self.open_pages.setdefault(action.dedup_key, "triggered")
        elif isinstance(action, AcknowledgePage) and action.dedup_key in self.open_pages:
            self.open_pages[action.dedup_key] = "acknowledged"
        elif isinstance(action, ResolvePage):
            self.open_pages.pop(action.dedup_key, None)

    def settles(self) -> None:
        """Let every delivery arrive, however long its retries wait."""
        for _ in range(300):
            wanted = plan_storm(self.view())
            if not wanted.actions:
                return
            self.now = max(self.now, min(action.ready_at for action in wanted.actions))
            self.works("arrives")
        raise AssertionError("something is wanted for ever")


HAPPENINGS = st.one_of(
    st.tuples(st.just("joins")),
    st.tuples(st.just("answers"), st.sampled_from(["acknowledge", "resolve"]), st.integers(0, 9)),
    st.tuples(st.just("passes"), st.sampled_from([0.1, 2.0, 6.0, 40.0, 121.0])),
    st.tuples(
        st.just("works"), st.sampled_from(["arrives"] * 4 + ["fails", "crashes before", "crashes after"])
    ),
)
LIVES = st.lists(HAPPENINGS, max_size=40)


def live(happenings: list[tuple]) -> Life:
    life = Life()
    life.joins()
    for what, *details in happenings:
        if what == "passes":
            life.now += details[0]
        else:
            getattr(life, what)(*details)
    return life


@settings(max_examples=count_examples(300), deadline=None)
@given(LIVES)
def test_after_all_receipts_no_action_is_planned_and_the_next_check_is_in_the_future(
    happenings: list[tuple],
) -> None:
    life = live(happenings)
    life.settles()
    after = plan_storm(life.view())
    assert after.actions == ()
    assert after.next_check_at is None if life.storm.resolved_at else (after.next_check_at or 0) > life.now


@settings(max_examples=count_examples(300), deadline=None)
@given(LIVES)
def test_each_open_member_is_counted_by_a_page_that_is_not_acknowledged(happenings: list[tuple]) -> None:
    life = live(happenings)
    life.settles()
    for name, member in life.members.items():
        if life.incidents[name].state == "open":
            assert life.open_pages[storm_dedup_key(life.storm.id, member.batch)] == "triggered"


REFUSED = st.one_of(HAPPENINGS, st.tuples(st.just("works"), st.just("fails for good")))


@settings(max_examples=count_examples(300), deadline=None)
@given(st.lists(REFUSED, max_size=40))
def test_each_open_member_is_paged_or_its_page_was_refused(happenings: list[tuple]) -> None:
    life = live(happenings)
    life.settles()
    for name, member in life.members.items():
        if life.incidents[name].state == "open":
            delivery = life.storm.find_notifying_delivery(name, member)
            key = storm_dedup_key(life.storm.id, member.batch)
            assert delivery.failed_at or life.open_pages.get(key) == "triggered"


@settings(max_examples=count_examples(300), deadline=None)
@given(LIVES)
def test_no_batch_pages_twice_and_batches_come_two_minutes_apart(happenings: list[tuple]) -> None:
    life = live(happenings)
    life.settles()
    keys = [key for key, _ in life.woken]
    assert len(keys) == len(set(keys))
    received = sorted(
        d.receipt.at for k, d in life.storm.deliveries.items() if k.startswith("page:") and d.receipt
    )
    assert all(later - earlier >= BATCH_PAUSE_S for earlier, later in itertools.pairwise(received))


@settings(max_examples=count_examples(300), deadline=None)
@given(LIVES)
def test_after_all_members_are_resolved_no_page_is_open_and_the_storm_has_ended(
    happenings: list[tuple],
) -> None:
    life = live(happenings)
    for which in range(len(life.incidents)):
        life.answers("resolve", which)
    life.settles()
    assert life.open_pages == {}
    life.now += 60
    life.settles()
    assert life.storm.resolved_at


@settings(max_examples=count_examples(200), deadline=None)
@given(LIVES)
def test_planning_twice_gives_the_same_plan(happenings: list[tuple]) -> None:
    life = live(happenings)
    assert plan_storm(life.view()) == plan_storm(life.view())


def test_the_dedup_key_of_a_batch_is_parsed_and_no_other_key_is() -> None:
    storm_id = new_storm_id(TARGET_KEY, OPENED_AT)
    assert parse_storm_dedup_key(storm_dedup_key(storm_id, 12)) == (storm_id, 12)
    assert parse_storm_dedup_key("receiver-000000000000-0123456789abcdef") is None
    assert parse_storm_dedup_key(f"receiver-{storm_id}-x") is None


def test_two_targets_with_a_storm_from_the_same_instant_have_two_storms() -> None:
    assert new_storm_id(TARGET_KEY, OPENED_AT) != new_storm_id("channel:#a", OPENED_AT)
    assert MAX_MEMBERS >= 1000


def test_a_batch_is_paged_at_once_if_its_members_joined_by_a_clock_ahead_of_ours() -> None:
    """How long these members have waited is unknown; waiting until the time of the other clock would page too
    late.
    """
    for ahead, is_ready in ((-10.0, True), (-0.5, False), (0.1, True), (3.0, True), (3600.0, True)):
        life = Life()
        life.joins()
        life.joins()
        life.now -= ahead
        view = life.view()
        (page,) = [action for action in plan_storm(view).actions if isinstance(action, Page)]
        assert (page.ready_at <= life.now) == is_ready, ahead
