"""What a real pair of Alertmanagers does when we are away, when it is reloaded, and when an end comes again."""

from __future__ import annotations

import datetime as dt
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.outside import ALERTMANAGER, Alertmanagers, Outside
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack

pytestmark = [
    pytest.mark.needs_alertmanager,
    pytest.mark.skipif(ALERTMANAGER is None, reason="no prometheus-alertmanager on the path"),
]


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        outside = Outside(tmp_path, slack, pagerduty)
        yield outside
        outside.kill_everything()


@pytest.fixture
def pair(tmp_path: Path, outside: Outside) -> Iterator[Alertmanagers]:
    pair = Alertmanagers(tmp_path, f"http://127.0.0.1:{outside.port}")
    yield pair
    pair.stop()


def an_alert(instance: str, *, started: dt.datetime, ended: dt.datetime | None = None) -> dict[str, object]:
    return {
        "labels": {"alertname": "DiskFull", "severity": "critical", "instance": instance},
        "annotations": {"summary": "DiskFull is bad"},
        "startsAt": started.isoformat(),
        "endsAt": (ended or dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)).isoformat(),
        "generatorURL": "http://prometheus:9090/graph",
    }


def actions(outside: Outside) -> list[str]:
    return [event.action for event in outside.pagerduty.events]


def test_both_of_a_pair_try_again_after_our_5xx_and_it_is_one_incident(
    outside: Outside, pair: Alertmanagers
) -> None:
    valkey = outside.receiver.process_of("valkey")
    os.kill(valkey, signal.SIGSTOP)
    try:
        pair.send(an_alert("db-1", started=dt.datetime.now(dt.UTC)))
        outside.sees(lambda: all(pair.refused()), within_s=20)
    finally:
        os.kill(valkey, signal.SIGCONT)
    outside.sees(lambda: len(outside.slack.roots) == 1 and outside.paged() == ["on-call"], within_s=30)
    time.sleep(4)
    assert len(outside.slack.roots) == 1
    assert actions(outside) == ["trigger"]


def test_a_reload_resolves_nothing_and_pages_nobody_anew(outside: Outside, pair: Alertmanagers) -> None:
    """Groups are built up again after a reload, and may be posted with a part of their alerts."""
    started = dt.datetime.now(dt.UTC)
    alerts = [an_alert(f"db-{n}", started=started) for n in range(30)]
    pair.send(*alerts)
    outside.sees(lambda: outside.paged() == ["on-call"] and len(outside.slack.roots) == 1)
    for _ in range(5):
        pair.send(*alerts[:10])
        pair.reload()
        pair.send(*alerts)
        time.sleep(0.8)
    time.sleep(3)
    assert actions(outside) == ["trigger"]
    assert len(outside.slack.roots) == 1
    assert "30 firing / 30" in outside.slack.roots[0].text


def test_an_end_that_is_sent_again_changes_nothing(outside: Outside, pair: Alertmanagers) -> None:
    """Prometheus tells each end for a quarter of an hour, to each of the pair."""
    started = dt.datetime.now(dt.UTC)
    pair.send(an_alert("db-1", started=started))
    outside.sees(lambda: outside.paged() == ["on-call"])
    ended = dt.datetime.now(dt.UTC)
    pair.send(an_alert("db-1", started=started, ended=ended))
    outside.sees(lambda: not outside.pagerduty.still_open())
    outside.sees(lambda: "esolved" in outside.slack.roots[0].text)
    time.sleep(2)
    before = (actions(outside), [message.words for message in outside.slack.messages])
    for _ in range(4):
        pair.send(an_alert("db-1", started=started, ended=ended))
        time.sleep(1)
    pair.reload()
    time.sleep(2)
    assert (actions(outside), [message.words for message in outside.slack.messages]) == before
