"""Buttons, views and commands of Slack: each is handled once and answered with a text."""

from __future__ import annotations

import threading
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from receiver.business_hours import BusinessHours, next_business_day_start
from receiver.incidents.service import SilenceService
from receiver.integrations.slack.commands import OnCallReport, SlackInteractionHandler
from receiver.integrations.slack.requests import (
    ButtonClick,
    Command,
    IncidentDetails,
    ModalSubmit,
    OpenModal,
    TextReply,
)
from receiver.model.incident import Incident, OnCallPerson, Person
from receiver.model.routing import Responder
from tests.rig import ROUTING, START, Rig

ALICE = Person("alice", "slack", "U0ALICE1")
BOB = Person("bob", "slack", "U0BOB001")


class FakeOnCall:
    """The people on call, as set by the test."""

    def __init__(self, **people: tuple[OnCallPerson, ...]) -> None:
        self.people = people

    def list_on_call(self, responder: Responder) -> tuple[OnCallPerson, ...]:
        return self.people.get(responder.name, ())


def build(
    rig: Rig,
    *,
    on_call_report: OnCallReport | None = None,
    business_hours: BusinessHours | None = None,
    **more: Any,
) -> SlackInteractionHandler:
    services = rig.services
    return SlackInteractionHandler(
        incident_service=services.incident_service,
        silence_service=SilenceService(services.incident_service, more.pop("can_silence", lambda _: True)),
        incidents=services.incidents,
        routing=replace(services.routing, business_hours=business_hours),
        on_call_report=on_call_report or OnCallReport({}, FakeOnCall()),
        clock=rig.clock,
        **{"buttons": {}, **more},
    )


@pytest.fixture
def handler(rig: Rig) -> SlackInteractionHandler:
    return build(rig)


def test_the_handler_has_seven_collaborators_at_most() -> None:
    assert len(fields(SlackInteractionHandler)) <= 7


def reply_to(handler: SlackInteractionHandler, text: str, by: Person = ALICE) -> str:
    answer = handler.execute_request(Command(text, by))
    assert isinstance(answer, TextReply)
    return answer.text


def load(rig: Rig, incident_id: str) -> Incident:
    return rig.services.incidents.load_incident(incident_id)


# --- buttons ---


@pytest.mark.parametrize(
    ("button", "state"), [("acknowledge", "acknowledged"), ("resolve", "resolved"), ("unacknowledge", "open")]
)
def test_a_button_changes_the_incident_once_also_if_clicked_twice(
    rig: Rig, handler: SlackInteractionHandler, button: str, state: str
) -> None:
    incident_id = rig.fires("DiskFull")
    if button == "unacknowledge":
        handler.execute_request(ButtonClick("acknowledge", incident_id, ALICE))
    assert handler.execute_request(ButtonClick(button, incident_id, ALICE)) is None
    first = load(rig, incident_id)
    rig.clock.moment += 30  # a second change would have another time
    handler.execute_request(ButtonClick(button, incident_id, ALICE))
    assert load(rig, incident_id) == first
    assert first.state == state


def test_the_user_who_clicked_is_stored_with_their_slack_id(
    rig: Rig, handler: SlackInteractionHandler
) -> None:
    incident_id = rig.fires("DiskFull")
    handler.execute_request(ButtonClick("acknowledge", incident_id, ALICE))
    incident = load(rig, incident_id)
    assert (incident.acknowledged_by, incident.acknowledged_ref) == ("alice", "U0ALICE1")


def test_repeating_ones_own_click_sends_no_reply(rig: Rig, handler: SlackInteractionHandler) -> None:
    incident_id = rig.fires("DiskFull")
    handler.execute_request(ButtonClick("acknowledge", incident_id, ALICE))
    assert handler.execute_request(ButtonClick("acknowledge", incident_id, ALICE)) is None


def test_a_click_on_what_another_user_did_names_that_user(rig: Rig, handler: SlackInteractionHandler) -> None:
    incident_id = rig.fires("DiskFull")
    handler.execute_request(ButtonClick("acknowledge", incident_id, ALICE))
    answer = handler.execute_request(ButtonClick("acknowledge", incident_id, BOB))
    assert answer == TextReply(f"DiskFull ({incident_id}) is acknowledged already, by alice")
    handler.execute_request(ButtonClick("resolve", incident_id, ALICE))
    answer = handler.execute_request(ButtonClick("acknowledge", incident_id, BOB))
    assert answer == TextReply(f"DiskFull ({incident_id}) is resolved already, by alice")


def test_a_button_of_an_unknown_incident_says_so(handler: SlackInteractionHandler) -> None:
    for value in ("", "nonsense", "000000000000-000000000", "a" * 100, "{0}:x-1"):
        for button in ("acknowledge", "unacknowledge", "resolve", "silence"):
            answer = handler.execute_request(ButtonClick(button, value, ALICE))
            assert isinstance(answer, TextReply)
            assert "There is no incident" in answer.text


def test_unknown_buttons_do_nothing(rig: Rig, handler: SlackInteractionHandler) -> None:
    incident_id = rig.fires("DiskFull")
    for button in ("", "approve", "reviewed", "expire", "expire:"):
        assert handler.execute_request(ButtonClick(button, incident_id, ALICE)) is None


def test_the_button_of_a_review_marks_it_as_reviewed(rig: Rig) -> None:
    marked: list[tuple[str, str]] = []
    handler = build(rig, buttons={"reviewed": lambda review, by, _now: marked.append((review, by.name))})
    assert handler.execute_request(ButtonClick("reviewed", "the-review", BOB)) is None
    assert marked == [("the-review", "bob")]


# --- silences ---


def test_the_silence_button_opens_the_form(rig: Rig) -> None:
    incident_id = rig.fires("DiskFull")
    handler = build(rig, business_hours=BusinessHours())
    form = handler.execute_request(ButtonClick("silence", incident_id, ALICE, "111.222"))
    assert isinstance(form, OpenModal)
    assert (form.incident.id, form.trigger_id) == (incident_id, "111.222")
    assert form.next_business_day_at == next_business_day_start(BusinessHours(), START)


@pytest.mark.parametrize(
    ("choice", "own", "for_s"),
    [
        ("1h", "", 3600.0),
        ("4h", "", 4 * 3600.0),
        ("opening", "", 21 * 3600.0),  # from Monday 12:00 to Tuesday 09:00
        ("resolved", "", 0.0),
        ("1h", "1h30m", 5400.0),
        ("1h", " 2 H ", 7200.0),
        ("", "90s", 90.0),
    ],
)
def test_the_form_creates_a_silence_of_the_chosen_length(
    rig: Rig, choice: str, own: str, for_s: float
) -> None:
    incident_id = rig.fires("DiskFull", host="a")
    handler = build(rig, business_hours=BusinessHours())
    assert handler.execute_request(ModalSubmit(incident_id, choice, own, "known", ALICE)) is None
    (note,) = load(rig, incident_id).silences
    assert (note.by, note.comment) == ("alice", "known")
    assert (note.until - note.requested_at if note.until else 0.0) == for_s


@pytest.mark.parametrize(
    ("choice", "own", "field"),
    [
        ("1h", "soon", "own"),
        ("1h", "25:00", "own"),
        ("1h", "until 2026-11-23T11:00", "own"),  # in the past
        ("1h", "0", "own"),
        ("1h", "999y", "own"),
        ("1h", "1ms", "own"),
        ("", "", "choice"),
        ("opening", "", "choice"),  # business hours aren't configured
        ("<!channel>", "", "choice"),
    ],
)
def test_an_invalid_time_is_an_error_at_its_field(
    rig: Rig, handler: SlackInteractionHandler, choice: str, own: str, field: str
) -> None:
    incident_id = rig.fires("DiskFull")
    answer = handler.execute_request(ModalSubmit(incident_id, choice, own, "", ALICE))
    assert isinstance(answer, TextReply)
    assert answer.field == field
    assert load(rig, incident_id).silences == ()


def test_a_form_submitted_twice_is_one_silence(rig: Rig, handler: SlackInteractionHandler) -> None:
    incident_id = rig.fires("DiskFull")
    for _ in range(3):
        handler.execute_request(ModalSubmit(incident_id, "1h", "", "known", ALICE))
        rig.clock.moment += 60
    assert len(load(rig, incident_id).silences) == 1
    handler.execute_request(ModalSubmit(incident_id, "4h", "", "known", ALICE))
    handler.execute_request(ModalSubmit(incident_id, "1h", "", "known", BOB))
    assert len(load(rig, incident_id).silences) == 3


def test_a_resolved_incident_can_not_be_silenced(rig: Rig, handler: SlackInteractionHandler) -> None:
    incident_id = rig.fires("DiskFull")
    handler.execute_request(ButtonClick("resolve", incident_id, ALICE))
    answer = handler.execute_request(ButtonClick("silence", incident_id, ALICE, "1.2"))
    assert isinstance(answer, TextReply)
    faults = handler.execute_request(ModalSubmit(incident_id, "1h", "", "", ALICE))
    assert isinstance(faults, TextReply)
    assert "resolved" in answer.text
    assert "resolved" in faults.text
    assert faults.field == "choice"


def test_without_an_alertmanager_nothing_can_be_silenced(rig: Rig) -> None:
    incident_id = rig.fires("DiskFull")
    handler = build(rig, can_silence=lambda _: False)
    answer = handler.execute_request(ButtonClick("silence", incident_id, ALICE, "1.2"))
    assert isinstance(answer, TextReply)
    assert "No Alertmanager" in answer.text
    assert "No Alertmanager" in reply_to(handler, f"silence {incident_id} 2h")
    assert load(rig, incident_id).silences == ()


def test_a_form_of_an_unknown_incident_says_so(handler: SlackInteractionHandler) -> None:
    answer = handler.execute_request(ModalSubmit("gone", "1h", "", "", ALICE))
    assert isinstance(answer, TextReply)
    assert "no incident gone" in answer.text
    assert answer.field == "choice"


def test_a_silence_is_expired_once(rig: Rig, handler: SlackInteractionHandler) -> None:
    incident_id = rig.fires("DiskFull")
    handler.execute_request(ModalSubmit(incident_id, "1h", "", "", ALICE))
    press = ButtonClick("expire:1", f"{incident_id}#1", BOB)
    assert handler.execute_request(press) is None
    (note,) = load(rig, incident_id).silences
    assert note.ended_at == START
    assert handler.execute_request(press) == TextReply("That silence has ended already")


@pytest.mark.parametrize(
    "value", ["", "#", "#1", "x#1", "{}", "{}#", "{}#x", "{}#-1", "{}#99", "{}#" + "9" * 50]
)
def test_an_unknown_silence_can_not_be_expired(
    rig: Rig, handler: SlackInteractionHandler, value: str
) -> None:
    incident_id = rig.fires("DiskFull")
    before = load(rig, incident_id)
    handler.execute_request(ButtonClick("expire:1", value.format(incident_id), ALICE))
    assert load(rig, incident_id) == before


# --- commands ---


def test_open_incidents_are_listed_newest_first(rig: Rig, handler: SlackInteractionHandler) -> None:
    assert reply_to(handler, "list") == "No incident is open"
    rig.fires("First")
    rig.clock.moment += 1
    over = rig.fires("Second")
    handler.execute_request(ButtonClick("resolve", over, ALICE))
    assert reply_to(handler, "") == "1 open incident:"
    rig.clock.moment += 1
    rig.fires("Third")
    answer = handler.execute_request(Command("LIST", ALICE))
    assert isinstance(answer, TextReply)
    assert [incident.alertname for incident in answer.incidents] == ["Third", "First"]


def test_a_long_list_is_marked_as_cut(rig: Rig, handler: SlackInteractionHandler) -> None:
    for n in range(22):
        rig.posts(rig.alert(f"Alert{n}"))
        rig.clock.moment += 1
    assert reply_to(handler, "list") == "The newest 20 open incidents:"


def test_the_show_command_shows_the_whole_incident(rig: Rig, handler: SlackInteractionHandler) -> None:
    incident_id = rig.fires("DiskFull")
    details = handler.execute_request(Command(f"show {incident_id}", ALICE))
    assert isinstance(details, IncidentDetails)
    assert details.incident.deliveries
    assert [step_state.step.name for step_state in details.escalation.steps] == [
        "on-call",
        "team-lead",
        "manager",
    ]


def test_a_command_acknowledges_unacknowledges_and_resolves(
    rig: Rig, handler: SlackInteractionHandler
) -> None:
    incident_id = rig.fires("DiskFull")
    name = f"DiskFull ({incident_id})"
    assert reply_to(handler, f"ack {incident_id}") == f"Acknowledged: {name}"
    assert reply_to(handler, f"ack {incident_id}", BOB) == f"{name} is acknowledged already, by alice"
    assert reply_to(handler, f"unack {incident_id}") == f"Un-acknowledged: {name}"
    assert reply_to(handler, f"unack {incident_id}") == f"{name} is not acknowledged"
    assert reply_to(handler, f"resolve {incident_id}") == f"Resolved: {name}"
    assert reply_to(handler, f"resolve {incident_id}") == f"{name} is resolved already, by alice"


@pytest.mark.parametrize("write", ["`{}`", "{}", '"{}"', "<{}>", "{}  "])
def test_an_id_may_be_quoted(rig: Rig, handler: SlackInteractionHandler, write: str) -> None:
    incident_id = rig.fires("DiskFull")
    assert reply_to(handler, "ack " + write.format(incident_id.upper())).startswith("Acknowledged")


def test_a_unique_prefix_of_an_open_incidents_id_is_enough(
    rig: Rig, handler: SlackInteractionHandler
) -> None:
    incident_id = rig.fires("DiskFull")
    assert reply_to(handler, f"ack {incident_id[:4]}").startswith("Acknowledged: DiskFull")
    reply_to(handler, f"resolve {incident_id[:4]}")
    assert reply_to(handler, f"ack {incident_id[:4]}").startswith("There is no open incident")


def test_an_ambiguous_prefix_of_an_id_is_refused(rig: Rig, handler: SlackInteractionHandler) -> None:
    ids = [rig.fires(f"Alert{n}") for n in range(40)]
    shared = next(name[0] for name in ids if sum(other[0] == name[0] for other in ids) > 1)
    answer = handler.execute_request(Command(f"resolve {shared}", ALICE))
    assert isinstance(answer, TextReply)
    assert answer.text.startswith("Several IDs begin with")
    assert {incident.id for incident in answer.incidents} == {name for name in ids if name[0] == shared}
    assert all(load(rig, name).state == "open" for name in ids)


@pytest.mark.parametrize("word", ["show", "ack", "unack", "resolve", "snooze", "silence"])
def test_a_command_without_an_id_is_refused(rig: Rig, handler: SlackInteractionHandler, word: str) -> None:
    rig.fires("DiskFull")
    assert reply_to(handler, word).startswith("Which one?")


def test_a_snooze_has_an_end(rig: Rig, handler: SlackInteractionHandler) -> None:
    incident_id = rig.fires("DiskFull")
    answer = handler.execute_request(Command(f"snooze {incident_id} 1h", ALICE))
    assert isinstance(answer, TextReply)
    assert answer.until == START + 3600
    assert load(rig, incident_id).snoozed_until == START + 3600
    reply_to(handler, f"resolve {incident_id}")
    assert "resolved already" in reply_to(handler, f"snooze {incident_id} 1h")


@pytest.mark.parametrize(
    "length", ["", " soon", " 25:00", " until", " until soon", " 0", " -1h", " 1y1y", " 99y"]
)
@pytest.mark.parametrize("word", ["snooze", "silence"])
def test_an_invalid_time_is_refused(
    rig: Rig, handler: SlackInteractionHandler, word: str, length: str
) -> None:
    incident_id = rig.fires("DiskFull")
    assert f"Say it like: {word} {incident_id}" in reply_to(handler, f"{word} {incident_id}{length}")
    incident = load(rig, incident_id)
    assert (incident.silences, incident.snoozed_until) == ((), 0.0)


def test_a_silence_may_have_a_comment(rig: Rig, handler: SlackInteractionHandler) -> None:
    incident_id = rig.fires("DiskFull")
    answer = handler.execute_request(Command(f"silence {incident_id} 2h disk is on its way", ALICE))
    assert isinstance(answer, TextReply)
    assert answer.until == START + 7200
    (note,) = load(rig, incident_id).silences
    assert (note.until, note.comment) == (START + 7200, "disk is on its way")


def test_a_silence_may_last_until_it_resolves(rig: Rig, handler: SlackInteractionHandler) -> None:
    incident_id = rig.fires("DiskFull")
    assert reply_to(handler, f"silence {incident_id} resolved").startswith("Silenced until it resolves")
    assert load(rig, incident_id).silences[0].is_until_resolved


@pytest.mark.parametrize("text", ["help", "HELP", "what", "<!channel>", "drop table"])
def test_an_unknown_command_is_answered_with_the_help(handler: SlackInteractionHandler, text: str) -> None:
    answer = handler.execute_request(Command(text, ALICE))
    assert isinstance(answer, TextReply)
    assert any(line.text.startswith("silence ID") for line in answer.lines)


# --- people on call ---


def on_call(rig: Rig, on_call_report: OnCallReport) -> list[str]:
    answer = build(rig, on_call_report=on_call_report).execute_request(Command("oncall", ALICE))
    assert isinstance(answer, TextReply)
    return [line.text for line in answer.lines]


def responders(*names: str) -> dict[str, Responder]:
    return {name: Responder(name, (), schedule="P1") for name in names}


def test_without_pagerduty_it_says_that_it_is_not_configured(rig: Rig) -> None:
    assert "isn't configured" in on_call(rig, OnCallReport({}, FakeOnCall()))[0]
    assert (
        "isn't configured"
        in on_call(rig, OnCallReport({"manager": Responder("manager", ())}, FakeOnCall()))[0]
    )


def test_people_on_call_are_shown_with_the_end_of_their_shift(rig: Rig) -> None:
    pagers = FakeOnCall(**{"on-call": (OnCallPerson("alice", until=START), OnCallPerson("bob", as_of=START))})
    on_call_report = OnCallReport(responders("on-call", "team-lead"), pagers)
    assert on_call(rig, on_call_report) == [
        "On-call: alice",
        "On-call: bob, as PagerDuty last said,",
        "Team Lead: nobody is known",
    ]
    assert [line.until for line in on_call_report.list_lines()] == [START, 0.0, 0.0]


def test_all_schedules_are_requested_concurrently(rig: Rig) -> None:
    """Each request may take two seconds, and Slack waits three seconds for the response."""
    meeting = threading.Barrier(3, timeout=5)

    class Slow:
        def list_on_call(self, responder: Responder) -> tuple[OnCallPerson, ...]:
            meeting.wait()
            return ()

    assert len(OnCallReport(responders("a", "b", "c"), Slow()).list_lines()) == 3


# --- until a time of day ---

BERLIN = BusinessHours("Europe/Berlin")
# 02:40 in Berlin, before its clocks are set back to 02:00.
BEFORE_SET_BACK = datetime(2026, 10, 25, 0, 40, tzinfo=UTC).timestamp()
# 01:50 in Berlin; ten minutes later its clocks show 03:00.
BEFORE_SET_FORWARD = datetime(2026, 3, 29, 0, 50, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("words", ["{}", "until {}", "UNTIL {}"])
@pytest.mark.parametrize(
    ("now", "typed", "minutes"),
    [
        (START, "14:00", 60),
        (START, "12:59", 24 * 60 - 1),
        (START, "2026-11-24T13:00", 24 * 60),
        (BEFORE_SET_BACK, "02:50", 10),
        (BEFORE_SET_BACK, "02:30", 50),
        (BEFORE_SET_BACK, "01:30", 23 * 60 + 50),
        (BEFORE_SET_FORWARD, "02:30", 10),
    ],
)
def test_a_snooze_and_a_silence_may_end_at_a_time_of_day(
    rig: Rig, words: str, now: float, typed: str, minutes: int
) -> None:
    rig.clock.moment = now
    incident_id = rig.fires("DiskFull")
    handler, length = build(rig, business_hours=BERLIN), words.format(typed)
    for command in (f"snooze {incident_id} {length}", f"silence {incident_id} {length} disk is on its way"):
        answer = handler.execute_request(Command(command, ALICE))
        assert isinstance(answer, TextReply)
        assert answer.until == now + 60 * minutes
    incident = load(rig, incident_id)
    (note,) = incident.silences
    assert (note.until, note.comment) == (now + 60 * minutes, "disk is on its way")
    assert incident.snoozed_until == now + 60 * minutes


def test_a_form_may_end_at_a_time_of_day_and_names_the_zone(rig: Rig) -> None:
    rig.clock.moment = BEFORE_SET_BACK
    incident_id = rig.fires("DiskFull")
    handler = build(rig, business_hours=BERLIN)
    form = handler.execute_request(ButtonClick("silence", incident_id, ALICE, "111.222"))
    assert isinstance(form, OpenModal)
    assert form.zone == "Europe/Berlin"
    assert handler.execute_request(ModalSubmit(incident_id, "1h", "until 02:30", "", ALICE)) is None
    (note,) = load(rig, incident_id).silences
    assert note.until == BEFORE_SET_BACK + 50 * 60


def test_until_resolved_may_be_written_with_until(rig: Rig, handler: SlackInteractionHandler) -> None:
    incident_id = rig.fires("DiskFull")
    assert reply_to(handler, f"silence {incident_id} until resolved").startswith("Silenced until it resolves")


def test_times_are_in_the_zone_of_the_business_hours(rig: Rig) -> None:
    assert str(rig.services.routing.zone) == "UTC"
    rig.configure(f"{ROUTING}business_hours: {{timezone: America/New_York}}\n")
    assert str(rig.services.routing.zone) == "America/New_York"
