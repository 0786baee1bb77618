"""Slack's endpoints: which requests they accept, what they do, and how fast they respond."""

from __future__ import annotations

import json
import socket
import time
from urllib.parse import urlencode

import pytest

from receiver.app.channels import build_slack_interactions
from receiver.integrations.slack.socket_mode import SlackSocket
from receiver.text import Secret
from tests.rig import ROUTING, Rig
from tests.slack_people import SECRET, SlackPeople, a_click, a_command, a_submission
from tests.support.log_lines import count_lines, written_log

WITH_ALERTMANAGER = ROUTING + 'alertmanager: {url: "http://127.0.0.1:1"}\nbusiness_hours: {timezone: UTC}\n'


@pytest.fixture
def people(rig: Rig) -> SlackPeople:
    rig.environ["SLACK_SIGNING_SECRET"] = SECRET
    rig.configure(WITH_ALERTMANAGER)
    return SlackPeople(rig.client, rig.clock, rig.slack)


# --- which requests are accepted ---

BODIES = [
    ("interactions", urlencode({"payload": json.dumps(a_click("acknowledge", "INCIDENT"))}).encode()),
    ("interactions", urlencode({"payload": json.dumps(a_submission("INCIDENT"))}).encode()),
    ("commands", urlencode(a_command("ack INCIDENT")).encode()),
]


@pytest.mark.parametrize(("path", "body"), BODIES)
@pytest.mark.parametrize(
    "forged",
    [
        {"signature": ""},
        {"signature": "v0=" + "0" * 64},
        {"timestamp": ""},
        {"timestamp": "soon"},
        {"timestamp": "9" * 300},
    ],
)
def test_a_forged_request_is_refused_and_changes_nothing(
    rig: Rig, people: SlackPeople, path: str, body: bytes, forged: dict[str, str]
) -> None:
    incident = rig.fires("DiskFull")
    before = rig.shows(incident)
    response = people.posts(path, body.replace(b"INCIDENT", incident.encode()), **forged)
    assert response.status_code == 401
    assert response.json["error"]["type"] == "unauthorized"
    assert rig.shows(incident) == before


@pytest.mark.parametrize(("path", "body"), BODIES)
@pytest.mark.parametrize("off", [-301, 301])
def test_a_stale_request_is_refused(rig: Rig, people: SlackPeople, path: str, body: bytes, off: int) -> None:
    incident = rig.fires("DiskFull")
    body = body.replace(b"INCIDENT", incident.encode())
    assert people.posts(path, body, at=rig.clock() + off).status_code == 401
    assert rig.state(incident) == "open"


def test_a_signature_of_another_body_is_refused(rig: Rig, people: SlackPeople) -> None:
    """Else an attacker who has seen one request could sign another with it."""
    incident = rig.fires("DiskFull")
    seen = people.types("help").request.headers["X-Slack-Signature"]
    response = people.types(f"resolve {incident}", signature=seen)
    assert response.status_code == 401
    assert rig.state(incident) == "open"


@pytest.mark.parametrize("path", ["interactions", "commands"])
def test_without_a_signing_secret_every_request_is_refused(rig: Rig, path: str) -> None:
    people = SlackPeople(rig.client, rig.clock, rig.slack, secret="")
    assert people.posts(path, b"payload={}").status_code == 401
    assert SlackPeople(rig.client, rig.clock, rig.slack).posts(path, b"payload={}").status_code == 401


def test_unsigned_requests_are_one_log_line_a_minute(rig: Rig, people: SlackPeople) -> None:
    with written_log() as log:
        for _ in range(50):
            rig.client.post("/webhooks/slack/commands", data=b"x")
    assert count_lines(log) == {("request refused", ""): 1}
    assert "SLACK_SIGNING_SECRET is unset" in log.getvalue()


def test_slack_needs_no_token_of_ours(rig: Rig, people: SlackPeople) -> None:
    rig.environ |= {"RECEIVER_WEBHOOK_TOKEN": "one", "RECEIVER_API_TOKEN": "two"}
    rig.configure(ROUTING)
    people.client = rig.client
    assert people.types("help").status_code == 200


@pytest.mark.parametrize("body", [b"", b"payload=", b"payload=[]", b"payload={", b"\xff", b"x" * 5000])
@pytest.mark.parametrize("path", ["interactions", "commands"])
def test_a_signed_but_malformed_request_is_400(people: SlackPeople, path: str, body: bytes) -> None:
    response = people.posts(path, body)
    assert response.status_code == 400
    assert len(response.json["error"]["message"]) > 10


def test_a_body_far_too_large_is_not_read(people: SlackPeople) -> None:
    assert people.posts("interactions", b"payload=" + b"x" * 2_000_000).status_code == 413


def test_other_signed_requests_are_200(people: SlackPeople) -> None:
    assert people.interacts({"type": "view_closed", "user": {"id": "U0ALICE1"}}).status_code == 200
    assert people.posts("commands", b"ssl_check=1&token=x").status_code == 200


# --- what they do ---


def test_a_button_click_stops_the_escalation_and_is_visible_everywhere(rig: Rig, people: SlackPeople) -> None:
    incident = rig.fires("DiskFull")
    assert people.clicks("acknowledge", incident).status_code == 200
    assert rig.state(incident) == "acknowledged"
    rig.passes("30m")
    assert rig.paged() == ["on-call"]
    assert rig.events() == ["trigger", "acknowledge"]
    (parent,) = rig.parents()
    assert "acknowledged by <@U0ALICE1>" in parent.words
    assert set(parent.buttons) == {"unacknowledge", "resolve", "silence"}
    assert ("acknowledged", "alice") in [(e["what"], e["by"]) for e in rig.shows(incident)["timeline"]]


def test_the_buttons_of_the_message_work(rig: Rig, people: SlackPeople) -> None:
    incident = rig.fires("DiskFull")
    for button, state in (
        ("acknowledge", "acknowledged"),
        ("unacknowledge", "open"),
        ("resolve", "resolved"),
    ):
        (parent,) = rig.parents()
        assert people.clicks(button, parent.buttons[button]).status_code == 200
        rig.passes("2s")
        assert rig.state(incident) == state
    assert rig.parents()[0].buttons == {}


def test_clicking_twice_changes_nothing_more(rig: Rig, people: SlackPeople) -> None:
    incident = rig.fires("DiskFull")
    people.clicks("acknowledge", incident)
    rig.passes("10s")
    before, outside = rig.shows(incident), rig.visible_output()
    assert people.clicks("acknowledge", incident).status_code == 200
    assert people.clicks("acknowledge", incident, by="bob").status_code == 200
    rig.passes("10s")
    assert (rig.shows(incident), rig.visible_output()) == (before, outside)
    assert [words["text"] for words in rig.slack.followups] == [
        f"DiskFull ({incident}) is acknowledged already, by alice"
    ]


@pytest.mark.parametrize("what", ["acknowledge", "resolve", "silence", "command"])
def test_a_request_replayed_within_five_minutes_changes_nothing(
    rig: Rig, people: SlackPeople, what: str
) -> None:
    """Slack's signatures are valid for five minutes; repeating a transition changes nothing."""
    incident = rig.fires("DiskFull")
    signed_at = rig.clock()

    def post() -> int:
        if what == "silence":
            return people.submits(incident).status_code
        if what == "command":
            return people.types(f"ack {incident}", at=signed_at).status_code
        return people.clicks(what, incident, at=signed_at).status_code

    assert post() == 200
    before = rig.services.incidents.load_incident(incident)
    rig.clock.moment += 290
    assert post() == 200
    assert rig.services.incidents.load_incident(incident) == before


def test_the_silence_button_opens_a_form_and_the_form_is_saved(rig: Rig, people: SlackPeople) -> None:
    incident = rig.fires("DiskFull")
    people.clicks("silence", incident)
    (view,) = rig.slack.workspace.views
    assert view["private_metadata"] == incident
    response = people.submits(incident, choice="opening", comment="known", by="bob")
    assert (response.status_code, response.text) == (200, "")
    (note,) = rig.services.incidents.load_incident(incident).silences
    assert (note.by, note.comment, note.until) == ("bob", "known", rig.clock() + 21 * 3600)


def test_a_form_error_is_shown_at_its_field(rig: Rig, people: SlackPeople) -> None:
    incident = rig.fires("DiskFull")
    response = people.submits(incident, own="soon")
    assert response.status_code == 200
    assert response.json["response_action"] == "errors"
    assert list(response.json["errors"]) == ["own"]


def test_a_silence_is_shown_and_expired_by_its_button(rig: Rig, people: SlackPeople) -> None:
    incident = rig.fires("DiskFull")
    people.submits(incident, choice="1h", comment="known", by="bob")
    rig.works(("slack",))
    rig.clock.moment += 2
    rig.works(("slack",))
    (parent,) = rig.parents()
    assert "🔕 Silence 1 by bob" in parent.words
    people.clicks("expire:1", parent.buttons["expire:1"])
    assert rig.services.incidents.load_incident(incident).silences[0].ended_at == rig.clock()


def test_the_commands_work_on_an_incident(rig: Rig, people: SlackPeople) -> None:
    incident = rig.fires("DiskFull")
    assert incident in people.reply_to("list")
    assert "On-call paged" in people.reply_to(f"show {incident}")
    assert "Acknowledged: DiskFull" in people.reply_to(f"ack {incident}")
    assert "Un-acknowledged: DiskFull" in people.reply_to(f"unack {incident}")
    assert "Snoozed for 1h" in people.reply_to(f"snooze {incident} 1h")
    assert "Silenced for 2h" in people.reply_to(f"silence {incident} 2h on its way")
    assert "Resolved: DiskFull" in people.reply_to(f"resolve {incident}")
    assert "No incident is open" in people.reply_to("")
    assert "isn't configured" in people.reply_to("oncall")
    assert "snooze ID 1h" in people.reply_to("help")


def test_no_reply_mentions_anyone(rig: Rig, people: SlackPeople) -> None:
    rig.fires("<!channel>", host="<@U0BOB001>")
    replies = people.reply_to("list") + people.reply_to("ack <!here>") + people.reply_to("<!everyone>")
    assert "<!" not in replies.replace("<!date^", "")
    assert "<@" not in replies


# --- how fast they respond ---


def test_a_hanging_slack_does_not_delay_the_response(rig: Rig, people: SlackPeople) -> None:
    incident = rig.fires("DiskFull")
    rig.slack.hang("views.open")
    started = time.monotonic()
    assert people.clicks("silence", incident).status_code == 200
    assert time.monotonic() - started < 3
    assert f"silence {incident} 2h" in rig.slack.followups[0]["text"]
    rig.slack.heal()


def test_an_unavailable_redis_is_503_within_3_s_with_a_message(rig: Rig, people: SlackPeople) -> None:
    rig.environ["REDIS_URL"] = "redis://127.0.0.1:1/"
    rig.configure(WITH_ALERTMANAGER)
    people.client = rig.client
    for post in (
        lambda: people.clicks("acknowledge", "i"),
        lambda: people.types("list"),
        lambda: people.submits("i"),
    ):
        started = time.monotonic()
        assert post().status_code == 503
        assert time.monotonic() - started < 3
    assert len(rig.slack.followups) == 2
    assert all("nothing was done" in words["text"] for words in rig.slack.followups)


def test_a_hanging_redis_is_503_within_3_s(rig: Rig, people: SlackPeople) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        rig.environ["REDIS_URL"] = f"redis://127.0.0.1:{silent.getsockname()[1]}/"
        rig.configure(WITH_ALERTMANAGER)
        people.client = rig.client
        started = time.monotonic()
        assert people.clicks("acknowledge", "0" * 12 + "-" + "0" * 9).status_code == 503
        assert time.monotonic() - started < 3


def test_a_change_is_saved_before_the_200(rig: Rig, people: SlackPeople) -> None:
    """No worker has run yet: every process that reads Redis finds the change."""
    incident = rig.fires("DiskFull")
    people.clicks("acknowledge", incident)
    rig.configure(WITH_ALERTMANAGER)
    assert rig.state(incident) == "acknowledged"
    rig.passes("30m")
    assert rig.paged() == ["on-call"]


# --- and over Socket Mode ---


def test_the_same_works_over_socket_mode(rig: Rig, people: SlackPeople) -> None:
    incident = rig.fires("DiskFull")
    line = SlackSocket(Secret("xapp-test"), rig.slack.url, build_slack_interactions(rig.services))
    line.open_connection()
    try:
        assert rig.slack.connections.wait_open()
        press = a_click("acknowledge", incident, response_url=rig.slack.response_url)
        assert rig.slack.connections.deliver("interactive", press, takes_payload=False) is not None
        assert rig.state(incident) == "acknowledged"
        reply = rig.slack.connections.deliver("slash_commands", a_command("list"))
        assert reply is not None
        assert incident in json.dumps(reply["payload"]["blocks"])
        rig.slack.connections.deliver("interactive", a_click("silence", incident), takes_payload=False)
        assert rig.slack.workspace.views[0]["private_metadata"] == incident
        refused = rig.slack.connections.deliver("interactive", a_submission(incident, own="soon"))
        assert refused is not None
        assert refused["payload"]["response_action"] == "errors"
    finally:
        line.close_connection()
