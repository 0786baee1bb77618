"""With real processes: a page that PagerDuty accepted and dropped, and routing keys that change at SIGHUP."""

from __future__ import annotations

import datetime as dt
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import wait_until
from tests.e2e.bodies import a_body
from tests.e2e.deployment import Deployment
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.rig import KEYS, ROUTING, UNLIMITED

ONCALL = KEYS["PAGERDUTY_ONCALL_KEY"]


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        deployment = Deployment(tmp_path, slack, pagerduty)
        yield deployment
        deployment.kill_everything()


def test_a_page_in_a_maintenance_window_comes_through_when_that_is_over(deployment: Deployment) -> None:
    deployment.pagerduty.deaf.add(ONCALL)
    deployment.post(a_body("DiskFull"))
    deployment.wait_for(lambda: len(deployment.pagerduty.triggers()) == 1)
    assert deployment.paged() == []
    # The check 30 s after the page makes the worker send it again at once and post a reply.
    deployment.wait_for(lambda: len(deployment.pagerduty.triggers()) == 2, 45)
    deployment.wait_for(
        lambda: any("has no incident for it" in reply.words for reply in deployment.slack.replies())
    )
    deployment.pagerduty.deaf.clear()
    deployment.wait_for(lambda: deployment.paged() == ["on-call"], 45)
    assert [path for path, _ in deployment.pagerduty.rest.asked].count("/incidents") >= 2


def test_after_a_reload_with_another_key_the_page_is_resolved_under_its_own(deployment: Deployment) -> None:
    deployment.post(a_body("DiskFull"))
    deployment.wait_for(lambda: deployment.paged() == ["on-call"])
    text = ROUTING.replace('"${PAGERDUTY_ONCALL_KEY}"', '"' + "0" * 31 + 'd"')
    (deployment.folder / "routing.yaml").write_text(text + UNLIMITED)
    deployment.receiver.process.send_signal(signal.SIGHUP)
    # The web process and the worker.
    wait_until(
        lambda: len(deployment.receiver.events("configuration reloaded")) >= 2, deployment.receiver.log
    )
    deployment.post(a_body("DiskFull", ended=dt.datetime.now(dt.UTC)))
    deployment.wait_for(lambda: deployment.pagerduty.still_open() == [])
    assert {event.routing_key for event in deployment.pagerduty.events} == {ONCALL}
