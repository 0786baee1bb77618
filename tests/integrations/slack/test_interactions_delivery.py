"""Responses to interactions: where each is sent, and what happens when Slack is unavailable."""

from __future__ import annotations

import time

import pytest

from receiver.errors import StoreError
from receiver.integrations.slack.interactions import SlackInteractions
from receiver.integrations.slack.requests import (
    ButtonClick,
    Command,
    InteractionResponse,
    ModalSubmit,
    OpenModal,
    Request,
    TextReply,
)
from receiver.model.incident import Person
from receiver.text import Secret
from tests.builders import an_incident
from tests.mocks.slack import MockSlack

ALICE = Person("alice", "slack", "U0ALICE1")
TOKEN = Secret("xoxb-test")
FORM = ModalSubmit("the-incident", "1h", "", "", ALICE)


def a_click(slack: MockSlack) -> ButtonClick:
    return ButtonClick("silence", "the-incident", ALICE, "111.222.valid", slack.response_url)


def a_command(slack: MockSlack) -> Command:
    return Command("list", ALICE, slack.response_url)


def build_interactions(
    slack: MockSlack, outcome: InteractionResponse, token: Secret = TOKEN
) -> SlackInteractions:
    return SlackInteractions(lambda _: outcome, token, slack.url)


def broken(_: Request) -> InteractionResponse:
    raise StoreError("Redis: away")


def test_a_successful_click_gets_an_empty_response(slack):
    result = build_interactions(slack, None).handle_request(a_click(slack))
    assert (result.body, result.is_saved, result.followup) == (None, True, None)


def test_the_reply_to_a_click_is_a_followup_since_slack_ignores_the_response_body(slack):
    interactions = build_interactions(slack, TextReply("Acknowledged already"))
    result = interactions.handle_request(a_click(slack))
    assert result.body is None
    interactions.send_followup(result)
    assert [followup["text"] for followup in slack.followups] == ["Acknowledged already"]
    assert slack.followups[0]["response_type"] == "ephemeral"


def test_a_command_is_answered_at_once_and_only_once(slack):
    interactions = build_interactions(slack, TextReply("No incident is open"))
    result = interactions.handle_request(a_command(slack))
    assert result.body is not None
    assert result.body["text"] == "No incident is open"
    interactions.send_followup(result)
    assert slack.followups == []


def test_an_accepted_form_is_closed(slack):
    assert build_interactions(slack, None).handle_request(FORM).body is None


def test_a_form_with_an_error_stays_open_and_names_the_field(slack):
    result = build_interactions(slack, TextReply("For how long?", field="own")).handle_request(FORM)
    assert result.body == {"response_action": "errors", "errors": {"own": "For how long?"}}


def test_the_silence_button_opens_the_form(slack):
    form = OpenModal(an_incident(id="the-incident"), "111.222.valid")
    result = build_interactions(slack, form).handle_request(a_click(slack))
    assert (result.body, result.followup) == (None, None)
    assert slack.calls_of("views.open")[0].arguments["trigger_id"] == "111.222.valid"
    assert slack.workspace.views[0]["private_metadata"] == "the-incident"


@pytest.mark.parametrize("fault", [{"error": "expired_trigger_id"}, {"status": 500}, {"status": 429}])
def test_if_slack_does_not_open_the_form_the_reply_names_the_command(slack, fault):
    slack.fail_next("views.open", **fault)
    interactions = build_interactions(slack, OpenModal(an_incident(id="the-incident"), "111.222.valid"))
    result = interactions.handle_request(a_click(slack))
    assert result.is_saved
    interactions.send_followup(result)
    assert "silence the-incident 2h" in slack.followups[0]["text"]
    assert len(slack.calls_of("views.open")) == 1


def test_a_hanging_slack_delays_the_response_by_two_seconds_only(slack):
    slack.hang("views.open")
    started = time.monotonic()
    result = build_interactions(slack, OpenModal(an_incident(), "111.222.valid")).handle_request(
        a_click(slack)
    )
    assert time.monotonic() - started < 2.7
    assert result.followup is not None
    slack.heal()


def test_without_a_token_the_reply_names_the_command_instead_of_the_form(slack):
    result = build_interactions(slack, OpenModal(an_incident(), "111"), Secret()).handle_request(
        a_click(slack)
    )
    assert result.followup is not None
    assert "SLACK_BOT_TOKEN" in result.followup["text"]
    assert slack.calls == []


def test_while_the_store_is_unavailable_the_request_is_not_saved_and_the_reply_says_so(slack):
    interactions = SlackInteractions(broken, TOKEN, slack.url)
    for request in (a_click(slack), a_command(slack)):
        result = interactions.handle_request(request)
        assert not result.is_saved
        interactions.send_followup(result)
    assert len(slack.followups) == 2
    assert all("nothing was done" in followup["text"] for followup in slack.followups)
    result = interactions.handle_request(FORM)
    assert not result.is_saved
    assert result.body is not None
    assert "nothing was done" in result.body["errors"]["choice"]


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
def test_followups_go_to_slack_and_nowhere_else(slack, url):
    interactions = build_interactions(slack, TextReply("x"))
    result = interactions.handle_request(ButtonClick("resolve", "i", ALICE, response_url=url))
    started = time.monotonic()
    interactions.send_followup(result)
    assert time.monotonic() - started < 0.5
    assert slack.followups == []


def test_a_followup_that_fails_is_only_logged(slack, caplog):
    interactions = build_interactions(slack, TextReply("x"))
    slack.fail_next("gone/1", status=404, body=b"expired_url")
    url = slack.response_url.replace("/words/", "/gone/")
    interactions.send_followup(
        interactions.handle_request(ButtonClick("resolve", "i", ALICE, response_url=url))
    )
    assert "slack follow-up not delivered" in caplog.text
