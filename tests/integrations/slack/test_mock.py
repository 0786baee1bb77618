"""The mock Slack refuses what Slack refuses; otherwise tests with it would prove nothing."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request

import pytest

from tests.mocks import blockkit
from tests.mocks.slack import MockSlack


def call(slack: MockSlack, method: str, token: str = "xoxb-test", *, form: bool = False, **arguments):
    headers = {"Content-Type": "application/x-www-form-urlencoded" if form else "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    body = urllib.parse.urlencode(arguments) if form else json.dumps(arguments)
    request = urllib.request.Request(slack.url + method, body.encode(), headers)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.loads(answer.read())


def section(text: str, **more):
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}, **more}


@pytest.mark.parametrize(
    ("blocks", "pointer"),
    [
        ([section("x" * 3001)], "/blocks/0/text/text"),
        ([section("")], "/blocks/0/text/text"),
        ([section("x")] * 51, "/blocks"),
        ([section("x", block_id="a"), section("y", block_id="a")], "/blocks/1/block_id"),
        ([section("x", colour="red")], "/blocks/0"),
        ([{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}], "/blocks/0/text/text"),
        ([{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}], "/blocks/0/text/type"),
        ([{"type": "context", "elements": []}], "/blocks/0/elements"),
        ([{"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * 11}], "/blocks/0/elements"),
        ([{"type": "actions", "elements": []}], "/blocks/0/elements"),
        ([{"type": "nonsense"}], "/blocks/0/type"),
        (["text"], "/blocks/0"),
        ({"type": "section"}, "/blocks"),
    ],
)
def test_blocks_over_a_limit_are_refused_with_a_pointer(slack, blocks, pointer):
    answer = call(slack, "chat.postMessage", channel="#monitoring", text="x", blocks=blocks)
    assert answer["error"] == "invalid_blocks"
    assert any(f"[json-pointer:{pointer}" in message for message in answer["response_metadata"]["messages"])
    assert slack.messages == []


@pytest.mark.parametrize(
    "button",
    [
        {"text": {"type": "plain_text", "text": "x" * 76}},
        {"value": "x" * 2001},
        {"url": "https://x.example/" + "x" * 3000},
        {"url": "ftp://x.example"},
        {"style": "pink"},
        {"action_id": "x" * 256},
    ],
)
def test_buttons_over_a_limit_are_refused(button):
    good = {"type": "button", "text": {"type": "plain_text", "text": "Go"}, "action_id": "go"}
    assert blockkit.check([{"type": "actions", "elements": [good]}]) == []
    assert blockkit.check([{"type": "actions", "elements": [good | button]}]) != []
    assert blockkit.check([{"type": "actions", "elements": [good, good]}]) != []


def test_blocks_that_are_too_long_together_are_refused(slack):
    blocks = [section("x" * 2900) for _ in range(5)]
    answer = call(slack, "chat.postMessage", channel="#monitoring", text="x", blocks=blocks)
    assert answer["error"] == "msg_blocks_too_long"


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("chat.postMessage", {"channel": "#nowhere", "text": "x"}, "channel_not_found"),
        ("chat.postMessage", {"channel": "#monitoring"}, "no_text"),
        ("chat.postMessage", {"channel": "#monitoring", "text": "x", "blocks": "{"}, "invalid_blocks_format"),
        (
            "chat.postMessage",
            {"channel": "#monitoring", "metadata": {"a": 1}, "text": "x"},
            "invalid_metadata_format",
        ),
        ("chat.update", {"channel": "#monitoring", "ts": "1.0", "text": "x"}, "channel_not_found"),
        ("chat.update", {"channel": "C0MONITORING", "ts": "1.0", "text": "x"}, "message_not_found"),
        ("chat.nonsense", {}, "unknown_method"),
        ("call", {}, "unknown_method"),
        ("users.lookupByEmail", {"email": "a@b.example"}, "users_not_found"),
    ],
)
def test_calls_that_slack_refuses_are_refused(slack, method, arguments, error):
    assert call(slack, method, **arguments) == {"ok": False, "error": error}


def test_a_token_is_required():
    with MockSlack(token="xoxb-right") as slack:
        assert call(slack, "auth.test", "")["error"] == "not_authed"
        assert call(slack, "auth.test", "xoxb-wrong")["error"] == "invalid_auth"
        assert call(slack, "auth.test", "xoxb-right")["ok"] is True


def test_forms_and_json_are_accepted(slack):
    blocks = json.dumps([section("in a block")])
    call(slack, "chat.postMessage", form=True, channel="monitoring", text="x", blocks=blocks)
    assert slack.parents[0].words == "x\nin a block"


def test_an_edit_without_blocks_keeps_them_and_an_empty_list_clears_them(slack):
    sent = call(slack, "chat.postMessage", channel="#monitoring", text="x", blocks=[section("old")])
    where = {"channel": sent["channel"], "ts": sent["ts"]}
    call(slack, "chat.update", **where, text="y")
    assert slack.parents[0].blocks == [section("old")]
    call(slack, "chat.update", **where, text="y", blocks=[])
    assert slack.parents[0].blocks == []


def test_mentions_are_found_anywhere_in_a_message(slack):
    plain = {"type": "header", "text": {"type": "plain_text", "text": "<!here>"}}
    blocks = [plain, section("<!channel> <@U0123|bob>")]
    call(slack, "chat.postMessage", channel="#monitoring", text="@all", blocks=blocks)
    assert slack.parents[0].pings == ["!channel", "@U0123"]
    sent = call(slack, "chat.postMessage", channel="#monitoring", text="@all", link_names=True)
    assert slack.parents[1].pings == ["@all"]
    call(slack, "chat.update", channel=sent["channel"], ts=sent["ts"], text="@here")
    assert slack.parents[1].pings == ["@here"]
    call(slack, "chat.update", channel=sent["channel"], ts=sent["ts"], text="@here", parse="none")
    assert slack.parents[1].pings == []


def test_timestamps_are_unique_also_if_the_clock_stands_still(slack):
    for _ in range(5):
        call(slack, "chat.postMessage", channel="#monitoring", text="x")
    assert len({message.ts for message in slack.messages}) == 5


def test_a_fault_applies_to_the_given_number_of_calls(slack):
    slack.fail_next("auth.test", error="internal_error", times=2)
    assert [call(slack, "auth.test")["ok"] for _ in range(3)] == [False, False, True]


def test_a_hanging_call_takes_effect_late(slack):
    slack.hang("chat.postMessage", 0.05)
    assert call(slack, "chat.postMessage", channel="#monitoring", text="x")["ok"]
    assert slack.wait_for(lambda: slack.parents)


def test_people_and_groups_are_listed(slack):
    slack.add_user("U0ALICE", "alice", "alice@x.example")
    slack.add_usergroup("S0LEADS", "team-lead")
    assert call(slack, "users.lookupByEmail", form=True, email="alice@x.example")["user"]["id"] == "U0ALICE"
    assert call(slack, "users.list")["members"][0]["name"] == "alice"
    assert call(slack, "usergroups.list")["usergroups"][0]["handle"] == "team-lead"


def test_a_view_needs_a_trigger(slack):
    title = {"type": "plain_text", "text": "Silence"}
    view = {"type": "modal", "title": title, "submit": title, "close": title, "blocks": [section("x")]}
    assert call(slack, "views.open", view=view)["error"] == "invalid_arguments"
    assert call(slack, "views.open", view=view, trigger_id="1.2")["view"]["type"] == "modal"
    long = {**view, "title": {"type": "plain_text", "text": "x" * 25}}
    assert call(slack, "views.open", view=long, trigger_id="1.2")["error"] == "invalid_arguments"


def test_an_archived_channel_refuses_messages(slack):
    slack.archive("#monitoring")
    assert call(slack, "chat.postMessage", channel="#monitoring", text="x")["error"] == "is_archived"
