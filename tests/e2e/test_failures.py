"""What is given up, with real processes: told elsewhere at once, listed, and sent again by the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.invoke import receiver
from tests.e2e.bodies import a_body
from tests.e2e.outside import QUICK_ROUTING, Outside
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
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
