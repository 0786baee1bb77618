"""Who is on call: current, or as PagerDuty last returned it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from receiver.errors import PermanentDeliveryError, TemporaryDeliveryError
from receiver.integrations.pagerduty.rest_api import PagerDutyOnCallLookup
from receiver.model.incident import OnCallPerson
from tests.builders import a_responder
from tests.rig import START, Clock

ON_CALL = replace(a_responder("on-call"), schedule="PSCHED1")
ALICE = OnCallPerson("Alice", "alice@example.com", 1, START + 3600)
BOB = OnCallPerson("Bob", "bob@example.com", 2)


class Schedules:
    """A stand-in for the schedules of the REST API that returns what the test sets."""

    def __init__(self) -> None:
        self.answer: tuple[OnCallPerson, ...] | Exception = (ALICE, BOB)
        self.requests: list[str] = []

    def find_on_call(self, schedule: str) -> tuple[OnCallPerson, ...]:
        self.requests.append(schedule)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_the_people_on_call_are_those_of_the_responders_schedule() -> None:
    schedules = Schedules()
    assert PagerDutyOnCallLookup(schedules.find_on_call, Clock()).list_on_call(ON_CALL) == (ALICE, BOB)
    assert schedules.requests == ["PSCHED1"]


def test_without_a_schedule_or_a_token_the_report_is_empty() -> None:
    schedules = Schedules()
    assert PagerDutyOnCallLookup(schedules.find_on_call, Clock()).list_on_call(a_responder("manager")) == ()
    assert schedules.requests == []


def test_pagerduty_is_requested_every_two_minutes_at_most() -> None:
    schedules, clock = Schedules(), Clock()
    on_call = PagerDutyOnCallLookup(schedules.find_on_call, clock)
    for _ in range(12):
        on_call.list_on_call(ON_CALL)
        clock.moment += 20
    assert len(schedules.requests) == 2


@pytest.mark.parametrize("error", [TemporaryDeliveryError("no_answer"), PermanentDeliveryError("not_found")])
def test_while_pagerduty_is_unavailable_the_last_known_people_are_returned(error: Exception) -> None:
    schedules, clock = Schedules(), Clock()
    on_call = PagerDutyOnCallLookup(schedules.find_on_call, clock)
    on_call.list_on_call(ON_CALL)
    schedules.answer = error
    clock.moment += 600
    assert [(person.name, person.as_of) for person in on_call.list_on_call(ON_CALL)] == [
        ("Alice", START),
        ("Bob", START),
    ]


def test_a_person_whose_shift_has_ended_is_not_on_call_any_more() -> None:
    schedules, clock = Schedules(), Clock()
    on_call = PagerDutyOnCallLookup(schedules.find_on_call, clock)
    on_call.list_on_call(ON_CALL)
    schedules.answer = TemporaryDeliveryError("no_answer")
    clock.moment += 3600
    assert [person.name for person in on_call.list_on_call(ON_CALL)] == ["Bob"]


def test_before_the_first_response_the_people_on_call_are_unknown() -> None:
    schedules = Schedules()
    schedules.answer = TemporaryDeliveryError("no_answer")
    assert PagerDutyOnCallLookup(schedules.find_on_call, Clock()).list_on_call(ON_CALL) == ()
