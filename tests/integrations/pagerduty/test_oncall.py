"""Who has the pager: fresh, or as PagerDuty said last."""

from __future__ import annotations

from dataclasses import replace

import pytest

from receiver.errors import PermanentDeliveryError, TemporaryDeliveryError
from receiver.integrations.pagerduty.oncall import PagerDutyOnCallLookup
from receiver.model.incident import OnCallPerson
from tests.builders import a_responder
from tests.rig import START, Clock

ON_CALL = replace(a_responder("on-call"), schedule="PSCHED1")
ALICE = OnCallPerson("Alice", "alice@example.com", 1, START + 3600)
BOB = OnCallPerson("Bob", "bob@example.com", 2)


class Schedules:
    """Tells of one schedule what it is told to."""

    def __init__(self) -> None:
        self.answer: tuple[OnCallPerson, ...] | Exception = (ALICE, BOB)
        self.asked: list[str] = []

    def find_on_call(self, schedule: str) -> tuple[OnCallPerson, ...]:
        self.asked.append(schedule)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_the_people_of_the_responders_schedule_are_on_call() -> None:
    schedules = Schedules()
    assert PagerDutyOnCallLookup(schedules, Clock()).list_on_call(ON_CALL) == (ALICE, BOB)
    assert schedules.asked == ["PSCHED1"]


def test_without_a_schedule_or_a_token_nobody_is_known() -> None:
    schedules = Schedules()
    assert PagerDutyOnCallLookup(schedules, Clock()).list_on_call(a_responder("manager")) == ()
    assert PagerDutyOnCallLookup(None, Clock()).list_on_call(ON_CALL) == ()
    assert schedules.asked == []


def test_pagerduty_is_asked_every_two_minutes_at_most() -> None:
    schedules, clock = Schedules(), Clock()
    on_call = PagerDutyOnCallLookup(schedules, clock)
    for _ in range(12):
        on_call.list_on_call(ON_CALL)
        clock.moment += 20
    assert len(schedules.asked) == 2


@pytest.mark.parametrize("error", [TemporaryDeliveryError("no_answer"), PermanentDeliveryError("not_found")])
def test_while_pagerduty_is_away_it_is_who_was_known_last(error: Exception) -> None:
    schedules, clock = Schedules(), Clock()
    on_call = PagerDutyOnCallLookup(schedules, clock)
    on_call.list_on_call(ON_CALL)
    schedules.answer = error
    clock.moment += 600
    assert [(person.name, person.as_of) for person in on_call.list_on_call(ON_CALL)] == [
        ("Alice", START),
        ("Bob", START),
    ]


def test_whose_turn_has_ended_is_not_on_call_any_more() -> None:
    schedules, clock = Schedules(), Clock()
    on_call = PagerDutyOnCallLookup(schedules, clock)
    on_call.list_on_call(ON_CALL)
    schedules.answer = TemporaryDeliveryError("no_answer")
    clock.moment += 3600
    assert [person.name for person in on_call.list_on_call(ON_CALL)] == ["Bob"]


def test_a_pagerduty_that_never_answered_leaves_it_unknown() -> None:
    schedules = Schedules()
    schedules.answer = TemporaryDeliveryError("no_answer")
    assert PagerDutyOnCallLookup(schedules, Clock()).list_on_call(ON_CALL) == ()
