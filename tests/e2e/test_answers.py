"""An acknowledgement from any of five sides reaches all the others, and survives kill -9."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from receiver.integrations.slack.requests import sign_body
from receiver.text import Secret
from tests.cli.running import RECEIVER, clean_environ
from tests.e2e.bodies import a_body
from tests.e2e.outside import QUICK_ROUTING, Outside
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.pagerduty_webhooks import post_to
from tests.mocks.slack import MockSlack
from tests.slack_people import SECRET, a_click, a_command

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kills as Linux does")


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        outside = Outside(tmp_path, slack, pagerduty, QUICK_ROUTING)
        yield outside
        outside.kill_everything()


def post_signed(outside: Outside, path: str, fields: dict[str, str]) -> None:
    stamp, form = str(int(time.time())), urlencode(fields).encode()
    headers = {
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": sign_body(Secret(SECRET), stamp, form),
    }
    url = f"http://127.0.0.1:{outside.port}/webhooks/slack/{path}"
    with urllib.request.urlopen(urllib.request.Request(url, data=form, headers=headers), timeout=5) as answer:
        assert answer.status == 200


def click(outside: Outside, incident: str) -> None:
    post_signed(outside, "interactions", {"payload": json.dumps(a_click("acknowledge", incident))})


def command(outside: Outside, incident: str) -> None:
    post_signed(outside, "commands", a_command(f"ack {incident}"))


def pagerduty(outside: Outside, _incident: str) -> None:
    outside.pagerduty.acknowledges(outside.pagerduty.opened()[-1], by="Alice Doe")
    answers = outside.pagerduty.webhooks.deliver(
        post_to(f"http://127.0.0.1:{outside.port}/webhooks/pagerduty")
    )
    assert set(answers) == {202}


def api(outside: Outside, incident: str) -> None:
    assert outside.ask("POST", f"/api/v1/incidents/{incident}/acknowledge", {"by": "alice"})[0] == 200


def command_line(outside: Outside, incident: str) -> None:
    environ = clean_environ(RECEIVER_URL=f"http://127.0.0.1:{outside.port}")
    subprocess.run([*RECEIVER, "ack", incident], env=environ, check=True, timeout=20, capture_output=True)


SIDES: list[Callable[[Outside, str], None]] = [click, command, pagerduty, api, command_line]


def is_acknowledged_everywhere(outside: Outside, name: str, incident: str) -> bool:
    (root,) = [root for root in outside.slack.roots if name in root.text]
    pages = [page for page in outside.pagerduty.opened() if name in page.summary]
    return (
        outside.ask("GET", f"/api/v1/incidents/{incident}")[1]["state"] == "acknowledged"
        and "unacknowledge" in root.buttons
        and all(page.state == "acknowledged" for page in pages)
    )


def test_each_side_reaches_the_others_within_two_seconds_and_stops_the_escalation(outside: Outside) -> None:
    for number, side in enumerate(SIDES):
        name = f"Alert{number}"
        incident = outside.post(a_body(name))["incidents"][0]
        outside.sees(lambda number=number: len(outside.paged()) == number + 1)
        side(outside, incident)
        pressed = time.monotonic()
        outside.sees(
            lambda name=name, one=incident: is_acknowledged_everywhere(outside, name, one), within_s=5
        )
        assert time.monotonic() - pressed < 2.0, side.__name__
    time.sleep(5)
    assert outside.paged() == ["on-call"] * len(SIDES)


@pytest.mark.parametrize("side", [click, pagerduty], ids=["click", "pagerduty"])
def test_killed_between_the_answer_and_what_follows(
    outside: Outside, side: Callable[[Outside, str], None]
) -> None:
    incident = outside.post(a_body("DiskFull"))["incidents"][0]
    outside.sees(lambda: outside.paged() == ["on-call"])
    side(outside, incident)
    outside.kill_everything()
    outside.start_again()
    outside.sees(lambda: is_acknowledged_everywhere(outside, "DiskFull", incident))
    time.sleep(5)
    assert outside.paged() == ["on-call"]


def test_over_a_socket_that_we_open_nothing_is_lost_with_a_worker(tmp_path: Path) -> None:
    """Socket Mode: no port of ours; a worker that dies is followed by one with a line of its own."""
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        outside = Outside(tmp_path, slack, pagerduty, QUICK_ROUTING, SLACK_APP_TOKEN="xapp-1-test")
        try:
            assert slack.connections.wait_open()
            for number in range(2):
                name = f"Alert{number}"
                incident = outside.post(a_body(name))["incidents"][0]
                outside.sees(lambda name=name: [root for root in slack.roots if name in root.text])
                assert slack.connections.deliver("interactive", a_click("acknowledge", incident)) is not None
                outside.sees(lambda name=name, one=incident: is_acknowledged_everywhere(outside, name, one))
                if number == 0:
                    opened = slack.connections.opened
                    outside.kill_everything()
                    outside.start_again()
                    outside.sees(
                        lambda opened=opened: (
                            slack.connections.opened > opened and slack.connections.count == 1
                        )
                    )
        finally:
            outside.kill_everything()
