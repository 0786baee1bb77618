"""Socket Mode: the same interactions over a WebSocket that we open, and reopen whenever it is closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from receiver.integrations.slack.requests import ButtonClick, Command, Request
from receiver.integrations.slack.socket_mode import SlackSocket, SocketModeTimings
from receiver.text import Secret
from tests.mocks.slack import MockSlack
from tests.slack_people import a_click, a_command, a_submission

TOKEN = Secret("xapp-test")
QUICK = SocketModeTimings(ping_every_s=0.2, first_wait_s=0.05)


@dataclass
class FakeResult:
    body: dict[str, Any] | None = None
    is_saved: bool = True


class FakeHandler:
    """Records requests and follow-ups."""

    def __init__(self, answer: Callable[[Request], FakeResult] = lambda _: FakeResult()) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.followups: list[FakeResult] = []

    def handle_request(self, request: Request) -> FakeResult:
        self.requests.append(request)
        return self.answer(request)

    def send_followup(self, result: FakeResult) -> None:
        self.followups.append(result)


@pytest.fixture
def slack() -> Iterator[MockSlack]:
    with MockSlack() as server:
        yield server


@pytest.fixture
def start(slack: MockSlack) -> Iterator[Callable[[FakeHandler], SlackSocket]]:
    started: list[SlackSocket] = []

    def begin(handler: FakeHandler, token: Secret = TOKEN) -> SlackSocket:
        socket = SlackSocket(token, slack.url, handler, QUICK)
        socket.open_connection()
        started.append(socket)
        return socket

    yield begin
    for socket in started:
        socket.close_connection()


def wait_for(is_so: Callable[[], object], timeout_s: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def logged(caplog) -> str:
    return "\n".join(f"{r.name} {r.getMessage()} {getattr(r, 'fields', '')}" for r in caplog.records)


def test_buttons_forms_and_commands_arrive_over_the_connection(slack, start):
    handler = FakeHandler()
    start(handler)
    assert slack.connections.wait_open()
    assert (
        slack.connections.deliver("interactive", a_click("acknowledge", "i"), takes_payload=False) is not None
    )
    assert slack.connections.deliver("interactive", a_submission("i")) is not None
    assert slack.connections.deliver("slash_commands", a_command("list")) is not None
    assert [type(asked).__name__ for asked in handler.requests] == ["ButtonClick", "ModalSubmit", "Command"]


def test_an_envelope_is_acknowledged_only_after_it_was_handled(slack, start):
    may_end = threading.Event()

    def slow(_: Request) -> FakeResult:
        assert may_end.wait(5)
        return FakeResult()

    start(FakeHandler(slow))
    slack.connections.wait_open()
    assert slack.connections.deliver("interactive", a_click("acknowledge", "i"), timeout_s=0.3) is None
    may_end.set()
    assert wait_for(lambda: slack.connections.acknowledged)


def test_a_repeated_envelope_is_acknowledged_and_not_handled_again(slack, start):
    handler = FakeHandler(lambda _: FakeResult({"text": "done"}))
    start(handler)
    slack.connections.wait_open()
    first = slack.connections.send("slash_commands", a_command("ack 0h2k"))
    assert wait_for(lambda: first in slack.connections.acknowledged)
    del slack.connections.acknowledged[first]
    slack.connections.send("slash_commands", a_command("ack 0h2k"), again=first)
    assert wait_for(lambda: first in slack.connections.acknowledged)
    assert slack.connections.acknowledged[first]["payload"] == {"text": "done"}
    assert len(handler.requests) == 1


def test_the_reply_is_sent_in_the_acknowledgement(slack, start):
    start(FakeHandler(lambda _: FakeResult({"text": "No incident is open"})))
    slack.connections.wait_open()
    acknowledged = slack.connections.deliver("slash_commands", a_command("list"))
    assert acknowledged["payload"] == {"text": "No incident is open"}


def test_an_envelope_that_accepts_no_payload_gets_none(slack, start):
    start(FakeHandler(lambda _: FakeResult({"text": "x"})))
    slack.connections.wait_open()
    acknowledged = slack.connections.deliver("slash_commands", a_command("list"), takes_payload=False)
    assert not acknowledged.get("payload")


def test_a_result_without_a_body_is_sent_as_a_followup(slack, start):
    handler = FakeHandler()
    start(handler)
    slack.connections.wait_open()
    slack.connections.deliver("interactive", a_click("acknowledge", "i"))
    assert wait_for(lambda: handler.followups)


def test_a_request_that_could_not_be_saved_is_not_acknowledged(slack, start):
    handler = FakeHandler(lambda _: FakeResult(is_saved=False))
    start(handler)
    slack.connections.wait_open()
    assert slack.connections.deliver("interactive", a_click("acknowledge", "i"), timeout_s=0.5) is None
    assert handler.followups


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("events_api", {"event": {"type": "message"}}),
        ("interactive", {"type": "view_closed"}),
        (
            "interactive",
            {"type": "block_actions", "user": {}, "actions": [{"type": "button", "action_id": "x"}]},
        ),
        ("slash_commands", {}),
        ("slash_commands", "text"),
        ("unheard_of", {}),
    ],
)
def test_unknown_or_malformed_envelopes_are_acknowledged_and_ignored(slack, start, kind, payload):
    handler = FakeHandler()
    start(handler)
    slack.connections.wait_open()
    assert slack.connections.deliver(kind, payload) is not None
    assert handler.requests == []


def test_an_unhandled_error_is_logged_and_the_connection_goes_on(slack, start, caplog):
    def break_down(request: Request) -> FakeResult:
        if isinstance(request, ButtonClick):
            raise RuntimeError("a fault")  # noqa: TRY004
        return FakeResult()

    start(FakeHandler(break_down))
    slack.connections.wait_open()
    assert slack.connections.deliver("interactive", a_click("acknowledge", "i"), timeout_s=0.3) is None
    assert slack.connections.deliver("slash_commands", a_command("list")) is not None
    assert "unhandled error in Slack request" in caplog.text


def test_a_closed_connection_is_opened_again(slack, start):
    handler = FakeHandler()
    start(handler)
    for opened in range(1, 4):
        assert wait_for(
            lambda opened=opened: (slack.connections.opened, slack.connections.count) == (opened, 1)
        )
        assert slack.connections.deliver("slash_commands", a_command("list")) is not None
        slack.connections.cut()
    assert len(handler.requests) == 3


def test_a_cut_connection_is_closed_at_once(slack):
    """slack_sdk alone would go on reading from it in a busy loop until its pings fail."""
    socket = SlackSocket(
        TOKEN, slack.url, FakeHandler(), SocketModeTimings(ping_every_s=5.0, first_wait_s=0.05)
    )
    socket.open_connection()
    try:
        assert slack.connections.wait_open()
        assert slack.connections.deliver("slash_commands", a_command("list")) is not None
        slack.connections.cut()
        assert wait_for(lambda: not socket.is_connected, timeout_s=1.0)
    finally:
        socket.close_connection()


def test_slack_may_request_a_new_connection(slack, start):
    handler = FakeHandler()
    start(handler)
    slack.connections.wait_open()
    time.sleep(0.1)  # there is a pause between two requests for a connection
    slack.connections.refresh()
    assert wait_for(lambda: (slack.connections.opened, slack.connections.count) == (2, 1))
    assert slack.connections.deliver("slash_commands", a_command("list")) is not None


def test_the_connection_is_retried_if_slack_is_unavailable_at_the_start(slack, start):
    slack.fail_next("apps.connections.open", error="internal_error")
    slack.fail_next("apps.connections.open", status=503, body=b"away")
    slack.drop_answer("apps.connections.open")
    start(FakeHandler())
    assert slack.connections.wait_open()
    assert len(slack.calls_of("apps.connections.open")) == 4


def test_a_refusal_is_logged_without_the_token_and_retried_slowly(slack, start, caplog):
    start(FakeHandler(), token=Secret("xoxb-the-wrong-one"))
    assert wait_for(lambda: "not_allowed_token_type" in logged(caplog))
    time.sleep(1)
    assert len(slack.calls_of("apps.connections.open")) <= 6
    assert "the-wrong-one" not in logged(caplog)


def test_the_retry_after_of_slack_is_respected(slack, start):
    slack.fail_next("apps.connections.open", status=429, retry_after=30)
    start(FakeHandler())
    assert wait_for(lambda: slack.calls_of("apps.connections.open"))
    time.sleep(0.8)
    assert len(slack.calls_of("apps.connections.open")) == 1


def test_stopping_finishes_requests_and_leaves_no_connection(slack, start):
    handler = FakeHandler(lambda _: time.sleep(0.3) or FakeResult())
    socket = start(handler)
    slack.connections.wait_open()
    slack.connections.send("slash_commands", a_command("list"))
    assert wait_for(lambda: handler.requests)
    started = time.monotonic()
    socket.close_connection()
    assert time.monotonic() - started < 3
    assert wait_for(lambda: len(slack.connections.acknowledged) == 1)
    assert wait_for(lambda: slack.connections.count == 0)
    time.sleep(0.5)
    assert slack.connections.opened == 1


def test_stopping_while_slack_is_unavailable_is_immediate(slack, start):
    slack.fail_next("apps.connections.open", status=429, retry_after=30, times=100)
    socket = start(FakeHandler())
    assert wait_for(lambda: slack.calls)
    started = time.monotonic()
    socket.close_connection()
    assert time.monotonic() - started < 2


def test_stopping_a_client_that_was_never_started_does_nothing(slack):
    SlackSocket(TOKEN, slack.url, FakeHandler()).close_connection()


def test_several_workers_share_the_envelopes(slack, start):
    carriers = [FakeHandler(), FakeHandler()]
    for handler in carriers:
        start(handler)
    assert slack.connections.wait_open(2)
    for n in range(10):
        assert slack.connections.deliver("slash_commands", a_command(f"ack {n}")) is not None
    texts = [asked.text for handler in carriers for asked in handler.requests if isinstance(asked, Command)]
    assert sorted(texts) == sorted(f"ack {n}" for n in range(10))
    assert all(handler.requests for handler in carriers)


def test_a_reload_does_not_close_the_connection(slack, start):
    first, second = FakeHandler(), FakeHandler()
    socket = start(first)
    slack.connections.wait_open()
    socket.handler = second
    slack.connections.deliver("slash_commands", a_command("list"))
    assert (len(first.requests), len(second.requests), slack.connections.opened) == (0, 1, 1)


def test_a_long_envelope_is_read_completely(slack, start):
    handler = FakeHandler()
    start(handler)
    slack.connections.wait_open()
    payload = a_click("acknowledge", "i", message={"text": "x" * 60_000})
    assert slack.connections.deliver("interactive", payload) is not None
    assert len(handler.requests) == 1
