"""Real processes that are killed and put under load; only Slack and PagerDuty are mocks."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.bodies import a_body
from tests.e2e.deployment import QUICK_ROUTING, Deployment
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kills as Linux does")


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        deployment = Deployment(tmp_path, slack, pagerduty, QUICK_ROUTING, workers=2)
        yield deployment
        deployment.kill_everything()


@pytest.mark.alone
def test_steps_are_notified_on_time_and_once_although_everything_is_killed_in_between(
    deployment: Deployment,
) -> None:
    deployment.post(a_body("DiskFull"))
    deployment.wait_for(lambda: deployment.paged() == ["on-call"])
    time.sleep(1.0)
    deployment.kill_everything()
    deployment.start_again()
    deployment.wait_for(lambda: deployment.paged() == ["on-call", "team-lead"])
    time.sleep(1.0)
    deployment.kill_everything()
    deployment.start_again()
    deployment.wait_for(lambda: deployment.paged() == ["on-call", "team-lead", "manager"])
    at = deployment.paged_at()
    assert at["team-lead"] - at["on-call"] == pytest.approx(4.0, abs=1.0)
    assert at["manager"] - at["team-lead"] == pytest.approx(4.0, abs=1.0)
    time.sleep(2.0)
    assert len(deployment.pagerduty.triggers()) == 3
    assert len(deployment.slack.parents) == 1


def test_the_same_new_alert_from_two_alertmanagers_at_the_same_instant_is_one_incident(
    deployment: Deployment,
) -> None:
    names = [f"Alert{n}" for n in range(20)]
    for name in names:
        deployment.post_at_once([a_body(name, alertmanager=1), a_body(name, alertmanager=2)])
    deployment.wait_for(lambda: len(deployment.paged()) == 20 and len(deployment.slack.parents) == 20)
    time.sleep(1.5)
    assert len(deployment.slack.parents) == 20
    assert len(deployment.pagerduty.triggers()) == 20
    assert len({event.dedup_key for event in deployment.pagerduty.events}) == 20


def test_a_hanging_slack_delays_no_page(deployment: Deployment) -> None:
    deployment.slack.is_silent = True
    for n in range(20):
        deployment.post(a_body(f"Alert{n}"))
    deployment.wait_for(lambda: len(deployment.paged()) >= 20, within_s=5.0)
    deployment.slack.is_silent = False


def test_a_step_is_notified_within_a_second_of_its_due_time(deployment: Deployment) -> None:
    deployment.post(a_body("DiskFull"))
    deployment.wait_for(lambda: deployment.paged() == ["on-call", "team-lead", "manager"])
    at = deployment.paged_at()
    assert 0 <= at["team-lead"] - at["on-call"] - 4.0 < 1.0
    assert 0 <= at["manager"] - at["team-lead"] - 4.0 < 1.0
