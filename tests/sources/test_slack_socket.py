"""Socket Mode: the same over a line of ours, which is opened anew whenever it is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from receiver.domain.request import Command, Press, Request
from receiver.sources.slack_line import Pace
from receiver.sources.slack_socket import SlackSocket
from receiver.text import Secret
from tests.mocks.slack import MockSlack
from tests.slack_people import a_command, a_press, a_submission

TOKEN = Secret("xapp-test")
QUICK = Pace(ping_every_s=0.2, first_wait_s=0.05)


@dataclass
class Carried:
    body: dict[str, Any] | None = None
    is_kept: bool = True


class Carrier:
    """Notes what is asked, and what is said."""

    def __init__(self, answer: Callable[[Request], Carried] = lambda _: Carried()) -> None:
        self.answer = answer
        self.asked: list[Request] = []
        self.said: list[Carried] = []

    def carry(self, request: Request) -> Carried:
        self.asked.append(request)
        return self.answer(request)

    def say(self, carried: Carried) -> None:
        self.said.append(carried)


@pytest.fixture
def slack() -> Iterator[MockSlack]:
    with MockSlack() as server:
        yield server


@pytest.fixture
def start(slack: MockSlack) -> Iterator[Callable[[Carrier], SlackSocket]]:
    started: list[SlackSocket] = []

    def begin(carrier: Carrier, token: Secret = TOKEN) -> SlackSocket:
        socket = SlackSocket(token, slack.url, carrier, QUICK)
        socket.start()
        started.append(socket)
        return socket

    yield begin
    for socket in started:
        socket.stop()


def wait_for(is_so: Callable[[], object], timeout_s: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def logged(caplog) -> str:
    return "\n".join(f"{r.name} {r.getMessage()} {getattr(r, 'fields', '')}" for r in caplog.records)


def test_buttons_forms_and_commands_come_over_the_line(slack, start):
    carrier = Carrier()
    start(carrier)
    assert slack.lines.wait_open()
    assert slack.lines.deliver("interactive", a_press("acknowledge", "i"), takes_payload=False) is not None
    assert slack.lines.deliver("interactive", a_submission("i")) is not None
    assert slack.lines.deliver("slash_commands", a_command("list")) is not None
    assert [type(asked).__name__ for asked in carrier.asked] == ["Press", "ModalSubmit", "Command"]


def test_an_envelope_is_acknowledged_only_when_it_is_done(slack, start):
    may_end = threading.Event()

    def slow(_: Request) -> Carried:
        assert may_end.wait(5)
        return Carried()

    start(Carrier(slow))
    slack.lines.wait_open()
    assert slack.lines.deliver("interactive", a_press("acknowledge", "i"), timeout_s=0.3) is None
    may_end.set()
    assert wait_for(lambda: slack.lines.acknowledged)


def test_an_envelope_that_comes_again_is_acknowledged_and_not_done_again(slack, start):
    carrier = Carrier(lambda _: Carried({"text": "done"}))
    start(carrier)
    slack.lines.wait_open()
    first = slack.lines.send("slash_commands", a_command("ack 0h2k"))
    assert wait_for(lambda: first in slack.lines.acknowledged)
    del slack.lines.acknowledged[first]
    slack.lines.send("slash_commands", a_command("ack 0h2k"), again=first)
    assert wait_for(lambda: first in slack.lines.acknowledged)
    assert slack.lines.acknowledged[first]["payload"] == {"text": "done"}
    assert len(carrier.asked) == 1


def test_a_reply_goes_with_the_acknowledgement(slack, start):
    start(Carrier(lambda _: Carried({"text": "No incident is open"})))
    slack.lines.wait_open()
    acknowledged = slack.lines.deliver("slash_commands", a_command("list"))
    assert acknowledged["payload"] == {"text": "No incident is open"}


def test_an_envelope_that_takes_no_payload_gets_none(slack, start):
    start(Carrier(lambda _: Carried({"text": "x"})))
    slack.lines.wait_open()
    acknowledged = slack.lines.deliver("slash_commands", a_command("list"), takes_payload=False)
    assert not acknowledged.get("payload")


def test_words_without_a_body_are_said_apart(slack, start):
    carrier = Carrier()
    start(carrier)
    slack.lines.wait_open()
    slack.lines.deliver("interactive", a_press("acknowledge", "i"))
    assert wait_for(lambda: carrier.said)


def test_what_could_not_be_kept_is_not_acknowledged(slack, start):
    carrier = Carrier(lambda _: Carried(is_kept=False))
    start(carrier)
    slack.lines.wait_open()
    assert slack.lines.deliver("interactive", a_press("acknowledge", "i"), timeout_s=0.5) is None
    assert carrier.said


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
def test_what_is_not_for_us_or_can_not_be_read_is_acknowledged_and_left(slack, start, kind, payload):
    carrier = Carrier()
    start(carrier)
    slack.lines.wait_open()
    assert slack.lines.deliver(kind, payload) is not None
    assert carrier.asked == []


def test_a_fault_of_ours_is_logged_and_the_line_goes_on(slack, start, caplog):
    def break_down(request: Request) -> Carried:
        if isinstance(request, Press):
            raise RuntimeError("a fault")  # noqa: TRY004
        return Carried()

    start(Carrier(break_down))
    slack.lines.wait_open()
    assert slack.lines.deliver("interactive", a_press("acknowledge", "i"), timeout_s=0.3) is None
    assert slack.lines.deliver("slash_commands", a_command("list")) is not None
    assert "unhandled error in Slack request" in caplog.text


def test_a_line_that_was_cut_is_opened_anew(slack, start):
    carrier = Carrier()
    start(carrier)
    for opened in range(1, 4):
        assert wait_for(lambda opened=opened: (slack.lines.opened, slack.lines.count) == (opened, 1))
        assert slack.lines.deliver("slash_commands", a_command("list")) is not None
        slack.lines.cut()
    assert len(carrier.asked) == 3


def test_a_cut_line_is_left_at_once(slack):
    """slack_sdk alone reads on from it at full speed, until its pings fail."""
    socket = SlackSocket(TOKEN, slack.url, Carrier(), Pace(ping_every_s=5.0, first_wait_s=0.05))
    socket.start()
    try:
        assert slack.lines.wait_open()
        assert slack.lines.deliver("slash_commands", a_command("list")) is not None
        slack.lines.cut()
        assert wait_for(lambda: not socket.is_connected, timeout_s=1.0)
    finally:
        socket.stop()


def test_slack_may_ask_for_a_new_line(slack, start):
    carrier = Carrier()
    start(carrier)
    slack.lines.wait_open()
    time.sleep(0.1)  # lines are not asked for in one breath
    slack.lines.refresh()
    assert wait_for(lambda: (slack.lines.opened, slack.lines.count) == (2, 1))
    assert slack.lines.deliver("slash_commands", a_command("list")) is not None


def test_a_slack_that_is_away_at_first_is_tried_again(slack, start):
    slack.fail_next("apps.connections.open", error="internal_error")
    slack.fail_next("apps.connections.open", status=503, body=b"away")
    slack.drop_answer("apps.connections.open")
    start(Carrier())
    assert slack.lines.wait_open()
    assert len(slack.calls_of("apps.connections.open")) == 4


def test_a_refusal_is_logged_without_the_token_and_not_asked_in_a_hurry(slack, start, caplog):
    start(Carrier(), token=Secret("xoxb-the-wrong-one"))
    assert wait_for(lambda: "not_allowed_token_type" in logged(caplog))
    time.sleep(1)
    assert len(slack.calls_of("apps.connections.open")) <= 6
    assert "the-wrong-one" not in logged(caplog)


def test_slacks_wait_is_kept(slack, start):
    slack.fail_next("apps.connections.open", status=429, retry_after=30)
    start(Carrier())
    assert wait_for(lambda: slack.calls_of("apps.connections.open"))
    time.sleep(0.8)
    assert len(slack.calls_of("apps.connections.open")) == 1


def test_stopping_ends_what_is_under_way_and_leaves_no_line(slack, start):
    carrier = Carrier(lambda _: time.sleep(0.3) or Carried())
    socket = start(carrier)
    slack.lines.wait_open()
    slack.lines.send("slash_commands", a_command("list"))
    assert wait_for(lambda: carrier.asked)
    began = time.monotonic()
    socket.stop()
    assert time.monotonic() - began < 3
    assert wait_for(lambda: len(slack.lines.acknowledged) == 1)
    assert wait_for(lambda: slack.lines.count == 0)
    time.sleep(0.5)
    assert slack.lines.opened == 1


def test_stopping_while_slack_is_away_takes_no_time(slack, start):
    slack.fail_next("apps.connections.open", status=429, retry_after=30, times=100)
    socket = start(Carrier())
    assert wait_for(lambda: slack.calls)
    began = time.monotonic()
    socket.stop()
    assert time.monotonic() - began < 2


def test_stopping_what_was_never_started_is_nothing(slack):
    SlackSocket(TOKEN, slack.url, Carrier()).stop()


def test_several_workers_share_the_envelopes(slack, start):
    carriers = [Carrier(), Carrier()]
    for carrier in carriers:
        start(carrier)
    assert slack.lines.wait_open(2)
    for n in range(10):
        assert slack.lines.deliver("slash_commands", a_command(f"ack {n}")) is not None
    texts = [asked.text for carrier in carriers for asked in carrier.asked if isinstance(asked, Command)]
    assert sorted(texts) == sorted(f"ack {n}" for n in range(10))
    assert all(carrier.asked for carrier in carriers)


def test_after_a_change_of_configuration_the_line_stays(slack, start):
    first, second = Carrier(), Carrier()
    socket = start(first)
    slack.lines.wait_open()
    socket.use(second)
    slack.lines.deliver("slash_commands", a_command("list"))
    assert (len(first.asked), len(second.asked), slack.lines.opened) == (0, 1, 1)


def test_a_long_envelope_is_read_whole(slack, start):
    carrier = Carrier()
    start(carrier)
    slack.lines.wait_open()
    payload = a_press("acknowledge", "i", message={"text": "x" * 60_000})
    assert slack.lines.deliver("interactive", payload) is not None
    assert len(carrier.asked) == 1
