"""Silences with a real pair of Alertmanagers: created here, active there, and alerts that resolve meanwhile."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.integrations.alertmanager.client import AlertmanagerClient
from tests.e2e.deployment import ALERTMANAGER, Alertmanagers, Deployment
from tests.e2e.test_alertmanagers import an_alert
from tests.e2e.test_answers import post_signed
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.rig import ROUTING
from tests.slack_people import a_click, a_submission
from tests.support.ports import free_port

pytestmark = [
    pytest.mark.needs_alertmanager,
    pytest.mark.skipif(ALERTMANAGER is None, reason="no prometheus-alertmanager on the path"),
]


@pytest.fixture
def ports() -> list[int]:
    return [free_port(), free_port()]


@pytest.fixture
def deployment(tmp_path: Path, ports: list[int]) -> Iterator[Deployment]:
    urls = ", ".join(f'"http://127.0.0.1:{port}"' for port in ports)
    routing = ROUTING.replace("after: 5m", "after: 6s")
    routing += f"alertmanager: {{urls: [{urls}], look_every: 1s, looks: 2, trust_after: 1s}}\n"
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        deployment = Deployment(tmp_path, slack, pagerduty, routing)
        yield deployment
        deployment.kill_everything()


@pytest.fixture
def pair(tmp_path: Path, deployment: Deployment, ports: list[int]) -> Iterator[Alertmanagers]:
    pair = Alertmanagers(tmp_path, f"http://127.0.0.1:{deployment.port}", ports)
    yield pair
    pair.stop()


def fire(deployment: Deployment, pair: Alertmanagers) -> tuple[str, dt.datetime]:
    started = dt.datetime.now(dt.UTC)
    pair.send(an_alert("DiskFull", "critical", started=started))
    deployment.wait_for(lambda: deployment.paged() == ["on-call"])
    _, listed = deployment.ask("GET", "/api/v1/incidents")
    return listed["incidents"][0]["id"], started


def test_a_silence_in_alertmanager_suppresses_the_escalation_until_it_is_expired(
    deployment: Deployment, pair: Alertmanagers
) -> None:
    incident, _ = fire(deployment, pair)
    status, shown = deployment.ask(
        "POST", f"/api/v1/incidents/{incident}/silence", {"by": "alice", "for": "1h", "comment": "known"}
    )
    assert status == 200, shown
    client = AlertmanagerClient([f"http://127.0.0.1:{port}" for port in pair.ports])
    (silence,) = client.list_silences(incident)
    assert silence.by == "alice"
    time.sleep(8)
    assert deployment.paged() == ["on-call"]
    assert deployment.ask("GET", f"/api/v1/incidents/{incident}")[1]["suppressed"]["by"] == "alice"
    client.expire_silence(silence.id)
    deployment.wait_for(lambda: deployment.paged() == ["on-call", "team-lead"])


def test_the_silence_button_creates_a_silence_and_after_its_expiry_the_escalation_goes_on(
    deployment: Deployment, pair: Alertmanagers
) -> None:
    incident, _ = fire(deployment, pair)
    post_signed(
        deployment, "interactions", {"payload": json.dumps(a_submission(incident, "1h", comment="known"))}
    )
    client = AlertmanagerClient([f"http://127.0.0.1:{port}" for port in pair.ports])
    deployment.wait_for(lambda: [silence.by for silence in client.list_silences(incident)] == ["alice"])
    time.sleep(8)
    assert deployment.paged() == ["on-call"]
    assert "expire:1" in deployment.slack.parents[0].buttons
    post_signed(deployment, "interactions", {"payload": json.dumps(a_click("expire:1", f"{incident}#1"))})
    deployment.wait_for(lambda: deployment.paged() == ["on-call", "team-lead"])
    deployment.wait_for(
        lambda: not client.list_silences(incident), within_s=3
    )  # after the gossip of the pair


def test_an_alert_that_resolves_while_it_is_silenced_is_resolved_here_and_in_pagerduty(
    deployment: Deployment, pair: Alertmanagers
) -> None:
    """Alertmanager sends no notification of such a resolve."""
    incident, started = fire(deployment, pair)
    assert deployment.ask("POST", f"/api/v1/incidents/{incident}/silence", {"for": "1h"})[0] == 200
    time.sleep(2)
    pair.send(an_alert("DiskFull", "critical", started=started, ended=True))
    deployment.wait_for(
        lambda: deployment.ask("GET", f"/api/v1/incidents/{incident}")[1]["state"] == "resolved", 30
    )
    deployment.wait_for(lambda: not deployment.pagerduty.still_open())


def test_a_silence_without_a_reachable_alertmanager_is_502_and_is_not_created_later(
    deployment: Deployment, pair: Alertmanagers
) -> None:
    incident, _ = fire(deployment, pair)
    pair.stop()
    status, answer = deployment.ask("POST", f"/api/v1/incidents/{incident}/silence", {"for": "1h"})
    assert status == 502
    assert "Alertmanager" in answer["error"]["message"]
    _, shown = deployment.ask("GET", f"/api/v1/incidents/{incident}")
    assert all(note["ended_at"] for note in shown["silences"])
