"""Real processes, killed and pressed; only Slack and PagerDuty are mocks."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.bodies import a_body
from tests.e2e.outside import QUICK_ROUTING, Outside
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kills as Linux does")


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        outside = Outside(tmp_path, slack, pagerduty, QUICK_ROUTING)
        yield outside
        outside.kill_everything()


def test_steps_come_in_time_and_once_though_everything_is_killed_in_between(outside: Outside) -> None:
    outside.post(a_body("DiskFull"))
    outside.sees(lambda: outside.paged() == ["on-call"])
    time.sleep(1.0)
    outside.kill_everything()
    outside.start_again()
    outside.sees(lambda: outside.paged() == ["on-call", "team-lead"])
    time.sleep(1.0)
    outside.kill_everything()
    outside.start_again()
    outside.sees(lambda: outside.paged() == ["on-call", "team-lead", "manager"])
    at = outside.paged_at()
    assert at["team-lead"] - at["on-call"] == pytest.approx(4.0, abs=1.0)
    assert at["manager"] - at["team-lead"] == pytest.approx(4.0, abs=1.0)
    time.sleep(2.0)
    assert len(outside.pagerduty.triggers()) == 3
    assert len(outside.slack.roots) == 1


def test_the_same_new_alert_from_both_of_a_pair_at_the_same_instant(outside: Outside) -> None:
    names = [f"Alert{n}" for n in range(20)]
    for name in names:
        outside.post_at_once([a_body(name, alertmanager=1), a_body(name, alertmanager=2)])
    outside.sees(lambda: len(outside.paged()) == 20 and len(outside.slack.roots) == 20)
    time.sleep(1.5)
    assert len(outside.slack.roots) == 20
    assert len(outside.pagerduty.triggers()) == 20
    assert len({event.dedup_key for event in outside.pagerduty.events}) == 20


def test_a_silent_slack_stops_no_page(outside: Outside) -> None:
    outside.slack.is_silent = True
    for n in range(20):
        outside.post(a_body(f"Alert{n}"))
    outside.sees(lambda: len(outside.paged()) >= 20, within_s=5.0)
    outside.slack.is_silent = False


def test_a_timer_fires_within_a_second_of_its_time(outside: Outside) -> None:
    outside.post(a_body("DiskFull"))
    outside.sees(lambda: outside.paged() == ["on-call", "team-lead", "manager"])
    at = outside.paged_at()
    assert 0 <= at["team-lead"] - at["on-call"] - 4.0 < 1.0
    assert 0 <= at["manager"] - at["team-lead"] - 4.0 < 1.0
