"""An acknowledgement over any of five clients reaches all others, and survives kill -9."""

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
from tests.e2e.deployment import QUICK_ROUTING, Deployment
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.pagerduty_webhooks import post_to
from tests.mocks.slack import MockSlack
from tests.slack_people import SECRET, a_click, a_command

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kills as Linux does")


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        deployment = Deployment(tmp_path, slack, pagerduty, QUICK_ROUTING)
        yield deployment
        deployment.kill_everything()


def post_signed(deployment: Deployment, path: str, fields: dict[str, str]) -> None:
    timestamp, form = str(int(time.time())), urlencode(fields).encode()
    headers = {
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": sign_body(Secret(SECRET), timestamp, form),
    }
    url = f"http://127.0.0.1:{deployment.port}/webhooks/slack/{path}"
    with urllib.request.urlopen(urllib.request.Request(url, data=form, headers=headers), timeout=5) as answer:
        assert answer.status == 200


def click(deployment: Deployment, incident: str) -> None:
    post_signed(deployment, "interactions", {"payload": json.dumps(a_click("acknowledge", incident))})


def command(deployment: Deployment, incident: str) -> None:
    post_signed(deployment, "commands", a_command(f"ack {incident}"))


def pagerduty(deployment: Deployment, _incident: str) -> None:
    deployment.pagerduty.acknowledges(deployment.pagerduty.opened()[-1], by="Alice Doe")
    answers = deployment.pagerduty.webhooks.deliver(
        post_to(f"http://127.0.0.1:{deployment.port}/webhooks/pagerduty")
    )
    assert set(answers) == {202}


def api(deployment: Deployment, incident: str) -> None:
    assert deployment.ask("POST", f"/api/v1/incidents/{incident}/acknowledge", {"by": "alice"})[0] == 200


def command_line(deployment: Deployment, incident: str) -> None:
    environ = clean_environ(RECEIVER_URL=f"http://127.0.0.1:{deployment.port}")
    subprocess.run([*RECEIVER, "ack", incident], env=environ, check=True, timeout=20, capture_output=True)


SIDES: list[Callable[[Deployment, str], None]] = [click, command, pagerduty, api, command_line]


def is_acknowledged_everywhere(deployment: Deployment, name: str, incident: str) -> bool:
    (parent,) = [parent for parent in deployment.slack.parents if name in parent.text]
    pages = [page for page in deployment.pagerduty.opened() if name in page.summary]
    return (
        deployment.ask("GET", f"/api/v1/incidents/{incident}")[1]["state"] == "acknowledged"
        and "unacknowledge" in parent.buttons
        and all(page.state == "acknowledged" for page in pages)
    )


def test_each_client_reaches_the_others_within_two_seconds_and_stops_the_escalation(
    deployment: Deployment,
) -> None:
    for number, side in enumerate(SIDES):
        name = f"Alert{number}"
        incident = deployment.post(a_body(name))["incidents"][0]
        deployment.wait_for(lambda number=number: len(deployment.paged()) == number + 1)
        side(deployment, incident)
        pressed = time.monotonic()
        deployment.wait_for(
            lambda name=name, one=incident: is_acknowledged_everywhere(deployment, name, one), within_s=5
        )
        assert time.monotonic() - pressed < 2.0, side.__name__
    time.sleep(5)
    assert deployment.paged() == ["on-call"] * len(SIDES)


@pytest.mark.parametrize("side", [click, pagerduty], ids=["click", "pagerduty"])
def test_a_kill_right_after_an_acknowledgement_loses_nothing(
    deployment: Deployment, side: Callable[[Deployment, str], None]
) -> None:
    incident = deployment.post(a_body("DiskFull"))["incidents"][0]
    deployment.wait_for(lambda: deployment.paged() == ["on-call"])
    side(deployment, incident)
    deployment.kill_everything()
    deployment.start_again()
    deployment.wait_for(lambda: is_acknowledged_everywhere(deployment, "DiskFull", incident))
    time.sleep(5)
    assert deployment.paged() == ["on-call"]


def test_with_socket_mode_nothing_is_lost_when_a_worker_is_killed(tmp_path: Path) -> None:
    """Socket Mode needs no open port of ours; a killed worker is replaced by one with its own connection."""
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        deployment = Deployment(tmp_path, slack, pagerduty, QUICK_ROUTING, SLACK_APP_TOKEN="xapp-1-test")
        try:
            assert slack.connections.wait_open()
            for number in range(2):
                name = f"Alert{number}"
                incident = deployment.post(a_body(name))["incidents"][0]
                deployment.wait_for(
                    lambda name=name: [parent for parent in slack.parents if name in parent.text]
                )
                assert slack.connections.deliver("interactive", a_click("acknowledge", incident)) is not None
                deployment.wait_for(
                    lambda name=name, one=incident: is_acknowledged_everywhere(deployment, name, one)
                )
                if number == 0:
                    opened = slack.connections.opened
                    deployment.kill_everything()
                    deployment.start_again()
                    deployment.wait_for(
                        lambda opened=opened: (
                            slack.connections.opened > opened and slack.connections.count == 1
                        )
                    )
        finally:
            deployment.kill_everything()
