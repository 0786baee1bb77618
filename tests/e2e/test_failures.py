"""Permanent failures, with real processes: sent to the fallback at once, listed, and retried by the CLI."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.invoke import receiver
from tests.e2e.bodies import a_body
from tests.e2e.deployment import QUICK_ROUTING, Deployment
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.rig import KEYS
from tests.story.outage import NOTICES

CRITICAL = "#alerts-critical"


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    line = f'channel: "{CRITICAL}", escalation: critical'
    text = NOTICES + QUICK_ROUTING.replace(line, f'{line}, fallback: "#alerts-warning"')
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        deployment = Deployment(tmp_path, slack, pagerduty, text)
        yield deployment
        deployment.kill_everything()


def test_a_revoked_token_and_a_wrong_key_that_are_replaced(tmp_path: Path) -> None:
    """SIGHUP reads the mounted files again; refused deliveries are then sent again by themselves."""
    token, key = tmp_path / "token", tmp_path / "key"
    token.write_text("xoxb-revoked\n")
    key.write_text("0" * 31 + "d\n")
    text = QUICK_ROUTING.replace("${SLACK_BOT_TOKEN}", f"${{file:{token}}}")
    text = text.replace("${PAGERDUTY_ONCALL_KEY}", f"${{file:{key}}}")
    with MockSlack(token="xoxb-right") as slack, MockPagerDuty() as pagerduty:
        pagerduty.routing_keys = list(KEYS.values())
        deployment = Deployment(tmp_path, slack, pagerduty, text)
        try:
            url = f"http://127.0.0.1:{deployment.port}"
            deployment.post(a_body("DiskFull"))
            deployment.wait_for(lambda: "team-lead" in deployment.paged())
            listed = json.loads(receiver("failed", "--json", RECEIVER_URL=url).stdout)["deliveries"]
            refused = {(row["what"], row["reason"]) for row in listed}
            assert {("message", "invalid_auth"), ("page:on-call", "invalid_routing_key")} <= refused
            assert deployment.slack.parents == []

            token.write_text("xoxb-right\n")
            key.write_text(KEYS["PAGERDUTY_ONCALL_KEY"])
            deployment.receiver.process.send_signal(signal.SIGHUP)
            deployment.wait_for(lambda: channels(deployment) == [CRITICAL])
            deployment.wait_for(lambda: "on-call" in deployment.paged())
            assert receiver("failed", RECEIVER_URL=url).stdout == "Nothing has failed permanently.\n"
        finally:
            deployment.kill_everything()


def channels(deployment: Deployment) -> list[str]:
    return [parent.channel for parent in deployment.slack.parents]


def test_a_channel_that_was_archived_and_restored(deployment: Deployment) -> None:
    deployment.slack.archive(CRITICAL)
    deployment.post(a_body("DiskFull"))
    deployment.wait_for(lambda: sorted(channels(deployment)) == ["#alerts-warning", "#monitoring"])
    assert deployment.paged()[:1] == ["on-call"]

    url = f"http://127.0.0.1:{deployment.port}"
    listed = json.loads(receiver("failed", "--json", RECEIVER_URL=url).stdout)["deliveries"]
    assert [(row["what"], row["reason"]) for row in listed] == [("message", "is_archived")]

    deployment.slack.workspace.archived.clear()
    assert "1 delivery is sent again." in receiver("retry", "--all", RECEIVER_URL=url).stdout
    deployment.wait_for(lambda: channels(deployment).count(CRITICAL) == 1)
    assert receiver("failed", RECEIVER_URL=url).stdout == "Nothing has failed permanently.\n"
    deployment.wait_for(lambda: any("goes on in" in parent.words for parent in deployment.slack.parents))
    assert channels(deployment).count("#alerts-warning") == 1
