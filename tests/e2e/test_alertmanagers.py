"""A real pair of Alertmanagers in front of the receiver."""

from __future__ import annotations

import datetime as dt
import http.client
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import wait_until
from tests.e2e.deployment import ALERTMANAGER, Alertmanagers, Deployment
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack

pytestmark = [
    pytest.mark.needs_alertmanager,
    pytest.mark.skipif(ALERTMANAGER is None, reason="no prometheus-alertmanager on the path"),
]

ALERTS = {"DiskFull": "critical", "SlowTests": "warning", "CertRenewed": "info"}


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


def an_alert(name: str, severity: str, *, started: dt.datetime, ended: bool = False) -> dict[str, object]:
    now = dt.datetime.now(dt.UTC)
    return {
        "labels": {"alertname": name, "severity": severity},
        "annotations": {"summary": f"{name} is bad"},
        "startsAt": started.isoformat(),
        "endsAt": (now if ended else now + dt.timedelta(minutes=5)).isoformat(),
        "generatorURL": "http://prometheus:9090/graph",
    }


def test_alerts_of_each_severity_are_posted_paged_and_resolved(
    deployment: Deployment, pair: Alertmanagers
) -> None:
    started = dt.datetime.now(dt.UTC)
    pair.send(*(an_alert(name, severity, started=started) for name, severity in ALERTS.items()))
    deployment.wait_for(lambda: len(deployment.slack.parents) == 3 and len(deployment.paged()) == 2)
    assert sorted(root.channel for root in deployment.slack.parents) == [
        "#alerts-critical",
        "#alerts-info",
        "#alerts-warning",
    ]
    time.sleep(5)  # repeated notifications of both Alertmanagers
    assert len(deployment.slack.parents) == 3
    assert len(deployment.pagerduty.triggers()) == 2
    assert {event.action for event in deployment.pagerduty.events} == {"trigger"}

    pair.send(*(an_alert(name, severity, started=started, ended=True) for name, severity in ALERTS.items()))
    deployment.wait_for(lambda: not deployment.pagerduty.still_open())
    deployment.wait_for(lambda: all("esolved" in root.text for root in deployment.slack.parents))
    time.sleep(3)
    assert len(deployment.slack.parents) == 3
    assert [event.action for event in deployment.pagerduty.events].count("resolve") == 2


def test_a_change_of_routes_during_an_incident_causes_no_page_and_its_end_resolves_all(
    deployment: Deployment, pair: Alertmanagers
) -> None:
    started = dt.datetime.now(dt.UTC)
    pair.send(*(an_alert(name, "critical", started=started) for name in ("DiskFull", "DiskSlow")))
    deployment.wait_for(lambda: len(deployment.paged()) == 2 and len(deployment.slack.parents) == 2)

    for route in (
        "group_by: [severity]",
        "group_by: ['...'], routes: [{matchers: ['alertname=~\"Disk.*\"'], group_by: [alertname, severity]}]",
    ):
        pair.reload(route)
        time.sleep(4)  # repeated notifications with the new group keys
    assert deployment.paged() == ["on-call", "on-call"]
    assert len(deployment.slack.parents) == 2
    keys = {row["group_key"] for row in deployment.ask("GET", "/api/v1/incidents")[1]["incidents"]}
    assert keys == {'{}:{alertname="DiskFull"}', '{}:{alertname="DiskSlow"}'}

    pair.send(an_alert("DiskFull", "critical", started=started, ended=True))
    deployment.wait_for(lambda: len(deployment.pagerduty.still_open()) == 1)
    pair.send(an_alert("DiskSlow", "critical", started=started, ended=True))
    deployment.wait_for(lambda: not deployment.pagerduty.still_open())
    deployment.wait_for(lambda: all("esolved" in root.text for root in deployment.slack.parents))
    assert deployment.paged() == ["on-call", "on-call"]


# Each alert is sent to both receivers, as in the merged configurations of several teams.
TWO_RECEIVERS = (
    "group_by: [alertname], routes: ["
    "{receiver: shop, matchers: ['severity=\"critical\"'], continue: true}, "
    "{receiver: other, matchers: ['alertname=~\".+\"'], group_by: ['...']}]"
)


def count_alerts(deployment: Deployment, outcome: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", deployment.port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    finally:
        connection.close()
    name = f'receiver_alerts_total{{outcome="{outcome}"}}'
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_an_alert_sent_to_two_receivers_is_one_incident_until_both_resolve_it(
    deployment: Deployment, pair: Alertmanagers
) -> None:
    pair.reload(TWO_RECEIVERS, ["root", "shop", "other"])
    for n in range(2):  # it fires, is resolved by both receivers, and fires again
        started = dt.datetime.now(dt.UTC)
        known = count_alerts(deployment, "duplicate")
        pair.send(*(an_alert(f"Queue{one}", "critical", started=started) for one in range(5)))
        deployment.wait_for(lambda: len(deployment.pagerduty.still_open()) == 5)
        deployment.wait_for(lambda known=known: count_alerts(deployment, "duplicate") > known + 10)
        assert count_alerts(deployment, "new") == 5 * (n + 1)
        assert len(deployment.slack.parents) == 5
        ended = [an_alert(f"Queue{one}", "critical", started=started, ended=True) for one in range(5)]
        pair.send(*ended)
        deployment.wait_for(lambda: not deployment.pagerduty.still_open())
        time.sleep(2)  # the resolve of the other receiver
    assert count_alerts(deployment, "resolved") == 10
    assert deployment.paged() == ["on-call"] * 10
    assert len(deployment.slack.parents) == 5
    rows = deployment.ask("GET", "/api/v1/incidents")[1]["incidents"]
    assert len(rows) == 5
    assert {row["receiver"] for row in rows} <= {"shop", "other"}
    assert {row["state"] for row in rows} == {"resolved"}


def test_a_renamed_receiver_does_not_page_acknowledged_alerts(
    deployment: Deployment, pair: Alertmanagers
) -> None:
    started = dt.datetime.now(dt.UTC)
    pair.send(an_alert("DiskFull", "critical", started=started))
    deployment.wait_for(lambda: deployment.paged() == ["on-call"] and len(deployment.slack.parents) == 1)
    [row] = deployment.ask("GET", "/api/v1/incidents")[1]["incidents"]
    assert deployment.ask("POST", f"/api/v1/incidents/{row['id']}/acknowledge", {"by": "alice"})[0] == 200
    known = count_alerts(deployment, "duplicate")
    pair.reload(receivers=["renamed"])
    deployment.wait_for(lambda: count_alerts(deployment, "duplicate") > known + 2)
    [now] = deployment.ask("GET", "/api/v1/incidents")[1]["incidents"]
    assert (now["id"], now["state"], now["receiver"]) == (row["id"], "acknowledged", row["receiver"])
    pair.send(an_alert("DiskFull", "critical", started=started, ended=True))
    deployment.wait_for(lambda: not deployment.pagerduty.still_open())
    assert deployment.paged() == ["on-call"]
    assert len(deployment.slack.parents) == 1


def test_a_doubled_slash_in_the_webhook_url_loses_no_alert(deployment: Deployment, tmp_path: Path) -> None:
    """As from a base URL with a `/` at its end: `//webhooks/alertmanager`."""
    pair = Alertmanagers(tmp_path, f"http://127.0.0.1:{deployment.port}/")
    try:
        pair.send(an_alert("DiskFull", "critical", started=dt.datetime.now(dt.UTC)))
        deployment.wait_for(lambda: len(deployment.slack.parents) == 1 and deployment.paged())
    finally:
        pair.stop()


def test_alerts_sent_to_another_path_are_reported_as_lost(deployment: Deployment, tmp_path: Path) -> None:
    pair = Alertmanagers(tmp_path, f"http://127.0.0.1:{deployment.port}/receiver")
    try:
        pair.send(an_alert("DiskFull", "critical", started=dt.datetime.now(dt.UTC)))
        wait_until(lambda: deployment.receiver.events("webhook at a wrong address"), deployment.receiver.log)
    finally:
        pair.stop()
    (first, *_) = deployment.receiver.events("webhook at a wrong address")
    assert first["path"] == "'/receiver/webhooks/alertmanager'"
    assert deployment.slack.parents == []
