"""The client's connections: kept open between calls, and never a reason to send a request twice."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from receiver.errors import TemporaryDeliveryError
from receiver.http_connection import HttpConnection
from receiver.integrations.slack import client as slack_client
from receiver.integrations.slack.client import IdleConnections, SlackClient, post_response
from receiver.text import Secret
from tests.hostile_servers import OK, HostileServer, read_request
from tests.mocks.slack import MockSlack
from tests.test_http_client import a_server_that_sends

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


def test_what_is_only_read_is_asked_again_if_slack_closes_the_idle_connection(
    slack: MockSlack, client: SlackClient
):
    client.post_json(POST, MESSAGE)
    slack.drop_answer("users.list")
    assert client.post_form("users.list", {})["ok"]
    slack.drop_answer("auth.test")
    assert client.post_json("auth.test", {})["ok"]
    assert slack.opened == 3
    slack.drop_answer("users.list", times=2)
    with pytest.raises(TemporaryDeliveryError):
        client.post_form("users.list", {})
    assert len(slack.calls_of("users.list")) == 4


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
    assert client.post_form("users.list", {})["ok"]
    assert slack.opened == 1


def test_a_redirect_of_a_proxy_is_not_followed_since_it_would_get_the_token(monkeypatch: pytest.MonkeyPatch):
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.invalid/\r\nContent-Length: 0\r\n\r\n"
    with HostileServer(lambda client: (read_request(client), client.sendall(moved))).run() as proxy:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        client = SlackClient(Secret("xoxb-test"), "http://slack.invalid/api/", 2.0)
        with pytest.raises(TemporaryDeliveryError, match="http_302"):
            client.post_json(POST, MESSAGE)
        assert proxy.opened == 1


DRIP = [b"HTTP/1.1 200 OK\r\nX: ", *[b"y"] * 200, b"\r\nContent-Length: 2\r\n\r\n{}"]


def test_a_response_byte_by_byte_does_not_occupy_the_thread_beyond_the_timeout():
    with a_server_that_sends(*DRIP, then_waits_s=0.02) as url:
        client = SlackClient(Secret("xoxb-test"), f"{url}/api/", 0.3)
        with pytest.raises(TemporaryDeliveryError) as caught:
            client.post_json(POST, MESSAGE)
    assert (caught.value.reason, caught.value.maybe_sent) == ("no_answer", True)


def test_a_follow_up_whose_response_comes_byte_by_byte_ends_with_its_timeout():
    with a_server_that_sends(*DRIP, then_waits_s=0.02) as url, pytest.raises(TemporaryDeliveryError):
        post_response(url, {"text": "done"}, 0.3)


def test_an_answer_that_no_one_asked_for_is_not_taken_for_that_of_the_next_request():
    def answer_twice(client):
        while read_request(client):
            client.sendall(OK + OK.replace(b"true}", b'"no"'))

    with HostileServer(answer_twice).run() as server:
        client = SlackClient(Secret("xoxb-test"), f"{server.url}/api/", 2.0)
        for _ in range(3):
            assert client.post_json(POST, MESSAGE) == {"ok": True}
        assert server.opened == 3


def test_no_two_threads_get_the_same_connection(slack: MockSlack):
    idle, in_use, failures = IdleConnections(), set(), []

    def take_and_return() -> None:
        try:
            for _ in range(300):
                connection = idle.take_connection() or HttpConnection(slack.url, time.monotonic() + 5)
                assert connection not in in_use
                in_use.add(connection)
                connection.is_kept_open = True
                in_use.remove(connection)
                idle.add_connection(connection)
        except BaseException as error:
            failures.append(error)
            raise

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=take_and_return) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failures == []
    assert slack.opened <= 8
