"""What is given up, with real processes: told elsewhere at once, listed, and sent again by the command line."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.invoke import receiver
from tests.e2e.bodies import a_body
from tests.e2e.outside import QUICK_ROUTING, Outside
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.rig import KEYS
from tests.story.outage import NOTICES

CRITICAL = "#alerts-critical"


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    line = f'channel: "{CRITICAL}", escalation: critical'
    text = NOTICES + QUICK_ROUTING.replace(line, f'{line}, fallback: "#alerts-warning"')
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        outside = Outside(tmp_path, slack, pagerduty, text)
        yield outside
        outside.kill_everything()


def test_a_revoked_token_and_a_wrong_key_that_are_replaced(tmp_path: Path) -> None:
    """SIGHUP reads the mounted files anew; what was refused under the former ones goes out by itself."""
    token, key = tmp_path / "token", tmp_path / "key"
    token.write_text("xoxb-revoked\n")
    key.write_text("0" * 31 + "d\n")
    text = QUICK_ROUTING.replace("${SLACK_BOT_TOKEN}", f"${{file:{token}}}")
    text = text.replace("${PAGERDUTY_ONCALL_KEY}", f"${{file:{key}}}")
    with MockSlack(token="xoxb-right") as slack, MockPagerDuty() as pagerduty:
        pagerduty.routing_keys = list(KEYS.values())
        outside = Outside(tmp_path, slack, pagerduty, text)
        try:
            url = f"http://127.0.0.1:{outside.port}"
            outside.post(a_body("DiskFull"))
            outside.sees(lambda: "team-lead" in outside.paged())
            listed = json.loads(receiver("failed", "--json", RECEIVER_URL=url).stdout)["deliveries"]
            refused = {(row["what"], row["reason"]) for row in listed}
            assert {("root", "invalid_auth"), ("page:on-call", "invalid_routing_key")} <= refused
            assert outside.slack.roots == []

            token.write_text("xoxb-right\n")
            key.write_text(KEYS["PAGERDUTY_ONCALL_KEY"])
            outside.receiver.process.send_signal(signal.SIGHUP)
            outside.sees(lambda: channels(outside) == [CRITICAL])
            outside.sees(lambda: "on-call" in outside.paged())
            assert receiver("failed", RECEIVER_URL=url).stdout == "Nothing was given up.\n"
        finally:
            outside.kill_everything()


def channels(outside: Outside) -> list[str]:
    return [root.channel for root in outside.slack.roots]


def test_a_channel_that_was_archived_and_is_back(outside: Outside) -> None:
    outside.slack.archive(CRITICAL)
    outside.post(a_body("DiskFull"))
    outside.sees(lambda: sorted(channels(outside)) == ["#alerts-warning", "#monitoring"])
    assert outside.paged()[:1] == ["on-call"]

    url = f"http://127.0.0.1:{outside.port}"
    listed = json.loads(receiver("failed", "--json", RECEIVER_URL=url).stdout)["deliveries"]
    assert [(row["what"], row["reason"]) for row in listed] == [("root", "is_archived")]

    outside.slack.workspace.archived.clear()
    assert "1 delivery is sent again." in receiver("retry", "--all", RECEIVER_URL=url).stdout
    outside.sees(lambda: channels(outside).count(CRITICAL) == 1)
    assert receiver("failed", RECEIVER_URL=url).stdout == "Nothing was given up.\n"
    outside.sees(lambda: any("goes on in" in root.words for root in outside.slack.roots))
    assert channels(outside).count("#alerts-warning") == 1
