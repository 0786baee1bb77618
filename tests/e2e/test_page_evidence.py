"""With real processes: a page that PagerDuty accepted and dropped, and keys that change at SIGHUP."""

from __future__ import annotations

import datetime as dt
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import wait_until
from tests.e2e.bodies import a_body
from tests.e2e.outside import Outside
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.rig import KEYS, ROUTING, UNLIMITED

ONCALL = KEYS["PAGERDUTY_ONCALL_KEY"]


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        outside = Outside(tmp_path, slack, pagerduty)
        yield outside
        outside.kill_everything()


def test_a_page_in_a_maintenance_window_comes_through_when_that_is_over(outside: Outside) -> None:
    outside.pagerduty.deaf.add(ONCALL)
    outside.post(a_body("DiskFull"))
    outside.sees(lambda: len(outside.pagerduty.triggers()) == 1)
    assert outside.paged() == []
    # Asked 30 s after the page, it is sent again at once, and said.
    outside.sees(lambda: len(outside.pagerduty.triggers()) == 2, 45)
    outside.sees(lambda: any("has no incident for it" in reply.words for reply in outside.slack.replies()))
    outside.pagerduty.deaf.clear()
    outside.sees(lambda: outside.paged() == ["on-call"], 45)
    assert [path for path, _ in outside.pagerduty.rest.asked].count("/incidents") >= 2


def test_after_a_reload_with_another_key_the_page_is_resolved_under_its_own(outside: Outside) -> None:
    outside.post(a_body("DiskFull"))
    outside.sees(lambda: outside.paged() == ["on-call"])
    text = ROUTING.replace('"${PAGERDUTY_ONCALL_KEY}"', '"' + "0" * 31 + 'd"')
    (outside.folder / "routing.yaml").write_text(text + UNLIMITED)
    outside.receiver.process.send_signal(signal.SIGHUP)
    # Two web processes, their master and the worker.
    wait_until(lambda: len(outside.receiver.events("configuration reloaded")) >= 2, outside.receiver.log)
    outside.post(a_body("DiskFull", ended=dt.datetime.now(dt.UTC)))
    outside.sees(lambda: outside.pagerduty.still_open() == [])
    assert {event.routing_key for event in outside.pagerduty.events} == {ONCALL}
