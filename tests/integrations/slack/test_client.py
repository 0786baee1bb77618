"""The client's connections: kept open between calls, and never a reason to send a request twice."""

from __future__ import annotations

import pytest

from receiver.errors import TemporaryDeliveryError
from receiver.integrations.slack import client as slack_client
from receiver.integrations.slack.client import SlackClient
from receiver.text import Secret
from tests.mocks.slack import MockSlack

POST = "chat.postMessage"
MESSAGE = {"channel": "#alerts-critical", "text": "disk is full"}


@pytest.fixture
def client(slack: MockSlack) -> SlackClient:
    return SlackClient(Secret("xoxb-test"), slack.url, 2.0)


def test_calls_share_one_connection(slack: MockSlack, client: SlackClient):
    for _ in range(3):
        assert client.post_json(POST, MESSAGE)["ok"]
    assert client.post_form("users.list", {})["ok"]
    assert slack.opened == 1


def test_a_refusal_keeps_the_connection_open(slack: MockSlack, client: SlackClient):
    slack.fail_next(POST, status=503)
    with pytest.raises(TemporaryDeliveryError):
        client.post_json(POST, MESSAGE)
    assert client.post_json(POST, MESSAGE)["ok"]
    assert slack.opened == 1


def test_a_connection_that_slack_closed_while_it_was_idle_is_replaced(slack: MockSlack, client: SlackClient):
    client.post_json(POST, MESSAGE)
    slack.cut_connections()
    assert slack.wait_for(lambda: not slack.is_connected)
    assert client.post_json(POST, MESSAGE)["ok"]
    assert (slack.opened, len(slack.messages)) == (2, 2)


def test_a_connection_that_was_idle_for_long_is_replaced(
    slack: MockSlack, client: SlackClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(slack_client, "_IDLE_S", 0.0)
    for _ in range(2):
        client.post_json(POST, MESSAGE)
    assert slack.opened == 2


def test_a_request_whose_connection_breaks_is_not_sent_again(slack: MockSlack, client: SlackClient):
    client.post_json(POST, MESSAGE)
    slack.drop_answer(POST)
    with pytest.raises(TemporaryDeliveryError) as caught:
        client.post_json(POST, MESSAGE)
    assert (caught.value.reason, caught.value.maybe_sent) == ("no_answer", True)
    assert (slack.opened, len(slack.messages)) == (1, 2)
    assert client.post_json(POST, MESSAGE)["ok"]
    assert slack.opened == 2


def test_a_late_response_is_not_taken_for_that_of_the_next_request(slack: MockSlack):
    client = SlackClient(Secret("xoxb-test"), slack.url, 0.3)
    client.post_json(POST, MESSAGE)
    slack.hang(POST, 0.6)
    with pytest.raises(TemporaryDeliveryError):
        client.post_json(POST, MESSAGE)
    assert "members" in client.post_form("users.list", {})


def test_a_proxy_of_the_environment_is_used(slack: MockSlack, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", slack.url.removesuffix("/api/"))
    monkeypatch.setenv("http_proxy", slack.url.removesuffix("/api/"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    client = SlackClient(Secret("xoxb-test"), "http://slack.invalid/api/", 2.0)
    assert client.post_json(POST, MESSAGE)["ok"]
    assert len(slack.messages) == 1
