"""Between the desk and Slack: which answer goes where, and what happens when Slack is away."""

from __future__ import annotations

import time

import pytest

from receiver.channels.slack.porter import Porter
from receiver.domain.person import Person
from receiver.domain.request import (
    Answer,
    Command,
    FormFaults,
    ModalSubmit,
    OpenModal,
    Outcome,
    Press,
    Request,
)
from receiver.errors import StoreError
from receiver.text import Secret
from tests.builders import an_incident
from tests.mocks.slack import MockSlack

ALICE = Person("alice", "slack", "U0ALICE1")
TOKEN = Secret("xoxb-test")
FORM = ModalSubmit("the-incident", "1h", "", "", ALICE)


def a_press(slack: MockSlack) -> Press:
    return Press("silence", "the-incident", ALICE, "111.222.valid", slack.response_url)


def a_command(slack: MockSlack) -> Command:
    return Command("list", ALICE, slack.response_url)


def porter(slack: MockSlack, outcome: Outcome, token: Secret = TOKEN) -> Porter:
    return Porter(lambda _: outcome, token, slack.url)


def broken(_: Request) -> Outcome:
    raise StoreError("Redis: away")


def test_a_button_that_did_something_is_answered_with_nothing(slack):
    carried = porter(slack, None).carry(a_press(slack))
    assert (carried.body, carried.is_kept, carried.words) == (None, True, None)


def test_words_for_who_pressed_are_said_apart_since_slack_reads_no_body_there(slack):
    desk = porter(slack, Answer("Acknowledged already"))
    carried = desk.carry(a_press(slack))
    assert carried.body is None
    desk.say(carried)
    assert [words["text"] for words in slack.words] == ["Acknowledged already"]
    assert slack.words[0]["response_type"] == "ephemeral"


def test_a_command_is_answered_at_once_and_only_once(slack):
    desk = porter(slack, Answer("No incident is open"))
    carried = desk.carry(a_command(slack))
    assert carried.body is not None
    assert carried.body["text"] == "No incident is open"
    desk.say(carried)
    assert slack.words == []


def test_a_form_that_was_taken_closes(slack):
    assert porter(slack, None).carry(FORM).body is None


def test_a_form_with_a_fault_stays_open_and_says_where(slack):
    carried = porter(slack, FormFaults({"own": "For how long?"})).carry(FORM)
    assert carried.body == {"response_action": "errors", "errors": {"own": "For how long?"}}


def test_the_silence_button_opens_the_form(slack):
    form = OpenModal(an_incident(id="the-incident"), "111.222.valid")
    carried = porter(slack, form).carry(a_press(slack))
    assert (carried.body, carried.words) == (None, None)
    assert slack.calls_of("views.open")[0].arguments["trigger_id"] == "111.222.valid"
    assert slack.workspace.views[0]["private_metadata"] == "the-incident"


@pytest.mark.parametrize("fault", [{"error": "expired_trigger_id"}, {"status": 500}, {"status": 429}])
def test_a_form_that_slack_does_not_open_is_said_with_another_way(slack, fault):
    slack.fail_next("views.open", **fault)
    desk = porter(slack, OpenModal(an_incident(id="the-incident"), "111.222.valid"))
    carried = desk.carry(a_press(slack))
    assert carried.is_kept
    desk.say(carried)
    assert "silence the-incident 2h" in slack.words[0]["text"]
    assert len(slack.calls_of("views.open")) == 1


def test_a_slack_that_hangs_holds_the_answer_for_two_seconds_only(slack):
    slack.hang("views.open")
    began = time.monotonic()
    carried = porter(slack, OpenModal(an_incident(), "111.222.valid")).carry(a_press(slack))
    assert time.monotonic() - began < 2.7
    assert carried.words is not None
    slack.heal()


def test_without_a_token_the_command_is_named_in_place_of_the_form(slack):
    carried = porter(slack, OpenModal(an_incident(), "111"), Secret()).carry(a_press(slack))
    assert carried.words is not None
    assert "SLACK_BOT_TOKEN" in carried.words["text"]
    assert slack.calls == []


def test_a_store_that_is_away_is_said_and_nothing_is_called_kept(slack):
    desk = Porter(broken, TOKEN, slack.url)
    for request in (a_press(slack), a_command(slack)):
        carried = desk.carry(request)
        assert not carried.is_kept
        desk.say(carried)
    assert len(slack.words) == 2
    assert all("nothing was done" in words["text"] for words in slack.words)
    carried = desk.carry(FORM)
    assert not carried.is_kept
    assert carried.body is not None
    assert "nothing was done" in carried.body["errors"]["choice"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://127.0.0.1:1/words",
        "http://hooks.slack.com/actions/1",
        "https://hooks.slack.com.evil.example/1",
        "https://evilslack.com/1",
        "file:///etc/passwd",
        "http://169.254.169.254/latest",
        "https://[::1",
    ],
)
def test_words_go_to_slack_and_nowhere_else(slack, url):
    desk = porter(slack, Answer("x"))
    carried = desk.carry(Press("resolve", "i", ALICE, response_url=url))
    began = time.monotonic()
    desk.say(carried)
    assert time.monotonic() - began < 0.5
    assert slack.words == []


def test_words_that_do_not_arrive_harm_nobody(slack, caplog):
    desk = porter(slack, Answer("x"))
    slack.fail_next("gone/1", status=404, body=b"expired_url")
    url = slack.response_url.replace("/words/", "/gone/")
    desk.say(desk.carry(Press("resolve", "i", ALICE, response_url=url)))
    assert "slack follow-up not delivered" in caplog.text
