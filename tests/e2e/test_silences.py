"""Silences, with a real pair of Alertmanagers: made here, held there, and what resolves meanwhile."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.integrations.alertmanager.client import AlertmanagerClient
from tests.e2e.outside import ALERTMANAGER, Alertmanagers, Outside, free_port
from tests.e2e.test_alertmanagers import an_alert
from tests.e2e.test_answers import post_signed
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.rig import ROUTING
from tests.slack_people import a_click, a_submission

pytestmark = [
    pytest.mark.needs_alertmanager,
    pytest.mark.skipif(ALERTMANAGER is None, reason="no prometheus-alertmanager on the path"),
]


@pytest.fixture
def ports() -> list[int]:
    return [free_port(), free_port()]


@pytest.fixture
def outside(tmp_path: Path, ports: list[int]) -> Iterator[Outside]:
    urls = ", ".join(f'"http://127.0.0.1:{port}"' for port in ports)
    routing = ROUTING.replace("after: 5m", "after: 6s")
    routing += f"alertmanager: {{urls: [{urls}], look_every: 1s, looks: 2, trust_after: 1s}}\n"
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        outside = Outside(tmp_path, slack, pagerduty, routing)
        yield outside
        outside.kill_everything()


@pytest.fixture
def pair(tmp_path: Path, outside: Outside, ports: list[int]) -> Iterator[Alertmanagers]:
    pair = Alertmanagers(tmp_path, f"http://127.0.0.1:{outside.port}", ports)
    yield pair
    pair.stop()


def fire(outside: Outside, pair: Alertmanagers) -> tuple[str, dt.datetime]:
    started = dt.datetime.now(dt.UTC)
    pair.send(an_alert("DiskFull", "critical", started=started))
    outside.sees(lambda: outside.paged() == ["on-call"])
    _, listed = outside.ask("GET", "/api/v1/incidents")
    return listed["incidents"][0]["id"], started


def test_a_silence_made_here_suppresses_the_escalation_until_it_is_expired(
    outside: Outside, pair: Alertmanagers
) -> None:
    incident, _ = fire(outside, pair)
    status, shown = outside.ask(
        "POST", f"/api/v1/incidents/{incident}/silence", {"by": "alice", "for": "1h", "comment": "known"}
    )
    assert status == 200, shown
    client = AlertmanagerClient([f"http://127.0.0.1:{port}" for port in pair.ports])
    (silence,) = client.list_silences(incident)
    assert silence.by == "alice"
    time.sleep(8)
    assert outside.paged() == ["on-call"]
    assert outside.ask("GET", f"/api/v1/incidents/{incident}")[1]["suppressed"]["by"] == "alice"
    client.expire_silence(silence.id)
    outside.sees(lambda: outside.paged() == ["on-call", "team-lead"])


def test_the_silence_button_silences_there_and_expiring_it_lets_it_go_on(
    outside: Outside, pair: Alertmanagers
) -> None:
    incident, _ = fire(outside, pair)
    post_signed(
        outside, "interactions", {"payload": json.dumps(a_submission(incident, "1h", comment="known"))}
    )
    client = AlertmanagerClient([f"http://127.0.0.1:{port}" for port in pair.ports])
    outside.sees(lambda: [silence.by for silence in client.list_silences(incident)] == ["alice"])
    time.sleep(8)
    assert outside.paged() == ["on-call"]
    assert "expire:1" in outside.slack.roots[0].buttons
    post_signed(outside, "interactions", {"payload": json.dumps(a_click("expire:1", f"{incident}#1"))})
    outside.sees(lambda: outside.paged() == ["on-call", "team-lead"])
    outside.sees(lambda: not client.list_silences(incident), within_s=3)  # the pair gossips


def test_an_alert_that_resolves_while_it_is_silenced_is_closed_here_and_at_the_pager(
    outside: Outside, pair: Alertmanagers
) -> None:
    """Alertmanager tells nobody of such a resolve."""
    incident, started = fire(outside, pair)
    assert outside.ask("POST", f"/api/v1/incidents/{incident}/silence", {"for": "1h"})[0] == 200
    time.sleep(2)
    pair.send(an_alert("DiskFull", "critical", started=started, ended=True))
    outside.sees(lambda: outside.ask("GET", f"/api/v1/incidents/{incident}")[1]["state"] == "resolved", 30)
    outside.sees(lambda: not outside.pagerduty.still_open())


def test_a_silence_when_no_alertmanager_answers_is_502_and_not_made_later(
    outside: Outside, pair: Alertmanagers
) -> None:
    incident, _ = fire(outside, pair)
    pair.stop()
    status, answer = outside.ask("POST", f"/api/v1/incidents/{incident}/silence", {"for": "1h"})
    assert status == 502
    assert "Alertmanager" in answer["error"]["message"]
    _, shown = outside.ask("GET", f"/api/v1/incidents/{incident}")
    assert all(note["ended_at"] for note in shown["silences"])
