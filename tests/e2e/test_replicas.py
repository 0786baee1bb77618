"""A real pair of Alertmanagers while the receiver is unavailable, after a reload, and with repeated resolves."""

from __future__ import annotations

import datetime as dt
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.deployment import ALERTMANAGER, Alertmanagers, Deployment
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack

pytestmark = [
    pytest.mark.needs_alertmanager,
    pytest.mark.skipif(ALERTMANAGER is None, reason="no prometheus-alertmanager on the path"),
]


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        deployment = Deployment(tmp_path, slack, pagerduty, workers=2)
        yield deployment
        deployment.kill_everything()


@pytest.fixture
def pair(tmp_path: Path, deployment: Deployment) -> Iterator[Alertmanagers]:
    pair = Alertmanagers(tmp_path, f"http://127.0.0.1:{deployment.port}")
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


def actions(deployment: Deployment) -> list[str]:
    return [event.action for event in deployment.pagerduty.events]


def test_both_alertmanagers_retry_after_a_5xx_and_there_is_one_incident(
    deployment: Deployment, pair: Alertmanagers
) -> None:
    valkey = deployment.receiver.process_of("valkey")
    os.kill(valkey, signal.SIGSTOP)
    try:
        pair.send(an_alert("db-1", started=dt.datetime.now(dt.UTC)))
        deployment.wait_for(lambda: all(pair.refused()), within_s=20)
    finally:
        os.kill(valkey, signal.SIGCONT)
    deployment.wait_for(
        lambda: len(deployment.slack.parents) == 1 and deployment.paged() == ["on-call"], within_s=30
    )
    time.sleep(4)
    assert len(deployment.slack.parents) == 1
    assert actions(deployment) == ["trigger"]


def test_a_reload_of_alertmanager_resolves_nothing_and_causes_no_page(
    deployment: Deployment, pair: Alertmanagers
) -> None:
    """Alertmanager rebuilds its groups after a reload, and may post them with a part of their alerts."""
    started = dt.datetime.now(dt.UTC)
    alerts = [an_alert(f"db-{n}", started=started) for n in range(30)]
    pair.send(*alerts)
    deployment.wait_for(lambda: deployment.paged() == ["on-call"] and len(deployment.slack.parents) == 1)
    for _ in range(5):
        pair.send(*alerts[:10])
        pair.reload()
        pair.send(*alerts)
        time.sleep(0.8)
    time.sleep(3)
    assert actions(deployment) == ["trigger"]
    assert len(deployment.slack.parents) == 1
    assert "30 firing / 30" in deployment.slack.parents[0].text


def test_a_repeated_resolve_changes_nothing(deployment: Deployment, pair: Alertmanagers) -> None:
    """Prometheus sends each resolve for a quarter of an hour, to both Alertmanagers."""
    started = dt.datetime.now(dt.UTC)
    pair.send(an_alert("db-1", started=started))
    deployment.wait_for(lambda: deployment.paged() == ["on-call"])
    ended = dt.datetime.now(dt.UTC)
    pair.send(an_alert("db-1", started=started, ended=ended))
    deployment.wait_for(lambda: not deployment.pagerduty.still_open())
    deployment.wait_for(lambda: "esolved" in deployment.slack.parents[0].text)
    time.sleep(2)
    before = (actions(deployment), [message.words for message in deployment.slack.messages])
    for _ in range(4):
        pair.send(an_alert("db-1", started=started, ended=ended))
        time.sleep(1)
    pair.reload()
    time.sleep(2)
    assert (actions(deployment), [message.words for message in deployment.slack.messages]) == before
