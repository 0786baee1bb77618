"""A real pair of Alertmanagers in front of the receiver."""

from __future__ import annotations

import datetime as dt
import http.client
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import wait_until
from tests.e2e.outside import ALERTMANAGER, Alertmanagers, Outside
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack

pytestmark = [
    pytest.mark.needs_alertmanager,
    pytest.mark.skipif(ALERTMANAGER is None, reason="no prometheus-alertmanager on the path"),
]

ALERTS = {"DiskFull": "critical", "SlowTests": "warning", "CertRenewed": "info"}


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


def an_alert(name: str, severity: str, *, started: dt.datetime, ended: bool = False) -> dict[str, object]:
    now = dt.datetime.now(dt.UTC)
    return {
        "labels": {"alertname": name, "severity": severity},
        "annotations": {"summary": f"{name} is bad"},
        "startsAt": started.isoformat(),
        "endsAt": (now if ended else now + dt.timedelta(minutes=5)).isoformat(),
        "generatorURL": "http://prometheus:9090/graph",
    }


def test_each_severity_its_channel_its_page_and_its_end(outside: Outside, pair: Alertmanagers) -> None:
    started = dt.datetime.now(dt.UTC)
    pair.send(*(an_alert(name, severity, started=started) for name, severity in ALERTS.items()))
    outside.sees(lambda: len(outside.slack.roots) == 3 and len(outside.paged()) == 2)
    assert sorted(root.channel for root in outside.slack.roots) == [
        "#alerts-critical",
        "#alerts-info",
        "#alerts-warning",
    ]
    time.sleep(5)  # some repeats, from either of the pair
    assert len(outside.slack.roots) == 3
    assert len(outside.pagerduty.triggers()) == 2
    assert {event.action for event in outside.pagerduty.events} == {"trigger"}

    pair.send(*(an_alert(name, severity, started=started, ended=True) for name, severity in ALERTS.items()))
    outside.sees(lambda: not outside.pagerduty.still_open())
    outside.sees(lambda: all("esolved" in root.text for root in outside.slack.roots))
    time.sleep(3)
    assert len(outside.slack.roots) == 3
    assert [event.action for event in outside.pagerduty.events].count("resolve") == 2


def test_routes_changed_while_it_fires_page_nobody_again_and_the_end_closes_all(
    outside: Outside, pair: Alertmanagers
) -> None:
    started = dt.datetime.now(dt.UTC)
    pair.send(*(an_alert(name, "critical", started=started) for name in ("DiskFull", "DiskSlow")))
    outside.sees(lambda: len(outside.paged()) == 2 and len(outside.slack.roots) == 2)

    for route in (
        "group_by: [severity]",
        "group_by: ['...'], routes: [{matchers: ['alertname=~\"Disk.*\"'], group_by: [alertname, severity]}]",
    ):
        pair.reload(route)
        time.sleep(4)  # some repeats under the new keys
    assert outside.paged() == ["on-call", "on-call"]
    assert len(outside.slack.roots) == 2
    keys = {row["group_key"] for row in outside.ask("GET", "/api/v1/incidents")[1]["incidents"]}
    assert keys == {'{}:{alertname="DiskFull"}', '{}:{alertname="DiskSlow"}'}

    pair.send(an_alert("DiskFull", "critical", started=started, ended=True))
    outside.sees(lambda: len(outside.pagerduty.still_open()) == 1)
    pair.send(an_alert("DiskSlow", "critical", started=started, ended=True))
    outside.sees(lambda: not outside.pagerduty.still_open())
    outside.sees(lambda: all("esolved" in root.text for root in outside.slack.roots))
    assert outside.paged() == ["on-call", "on-call"]


# Each alert goes to both, as merged configurations of several teams have it.
TWO_RECEIVERS = (
    "group_by: [alertname], routes: ["
    "{receiver: shop, matchers: ['severity=\"critical\"'], continue: true}, "
    "{receiver: other, matchers: ['alertname=~\".+\"'], group_by: ['...']}]"
)


def count_alerts(outside: Outside, outcome: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", outside.port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    finally:
        connection.close()
    name = f'receiver_alerts_total{{outcome="{outcome}"}}'
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_an_alert_that_continues_to_a_second_receiver_is_one_incident_until_it_ends_by_both(
    outside: Outside, pair: Alertmanagers
) -> None:
    pair.reload(TWO_RECEIVERS, ["root", "shop", "other"])
    for n in range(2):  # it fires, ends by both, and fires again
        started = dt.datetime.now(dt.UTC)
        known = count_alerts(outside, "duplicate")
        pair.send(*(an_alert(f"Queue{one}", "critical", started=started) for one in range(5)))
        outside.sees(lambda: len(outside.pagerduty.still_open()) == 5)
        outside.sees(lambda known=known: count_alerts(outside, "duplicate") > known + 10)
        assert count_alerts(outside, "new") == 5 * (n + 1)
        assert len(outside.slack.roots) == 5
        ended = [an_alert(f"Queue{one}", "critical", started=started, ended=True) for one in range(5)]
        pair.send(*ended)
        outside.sees(lambda: not outside.pagerduty.still_open())
        time.sleep(2)  # the other's end
    assert count_alerts(outside, "resolved") == 10
    assert outside.paged() == ["on-call"] * 10
    assert len(outside.slack.roots) == 5
    rows = outside.ask("GET", "/api/v1/incidents")[1]["incidents"]
    assert len(rows) == 5
    assert {row["receiver"] for row in rows} <= {"shop", "other"}
    assert {row["state"] for row in rows} == {"resolved"}


def test_a_renamed_receiver_pages_what_is_acknowledged_no_more(outside: Outside, pair: Alertmanagers) -> None:
    started = dt.datetime.now(dt.UTC)
    pair.send(an_alert("DiskFull", "critical", started=started))
    outside.sees(lambda: outside.paged() == ["on-call"] and len(outside.slack.roots) == 1)
    [row] = outside.ask("GET", "/api/v1/incidents")[1]["incidents"]
    assert outside.ask("POST", f"/api/v1/incidents/{row['id']}/acknowledge", {"by": "alice"})[0] == 200
    known = count_alerts(outside, "duplicate")
    pair.reload(receivers=["renamed"])
    outside.sees(lambda: count_alerts(outside, "duplicate") > known + 2)
    [now] = outside.ask("GET", "/api/v1/incidents")[1]["incidents"]
    assert (now["id"], now["state"], now["receiver"]) == (row["id"], "acknowledged", row["receiver"])
    pair.send(an_alert("DiskFull", "critical", started=started, ended=True))
    outside.sees(lambda: not outside.pagerduty.still_open())
    assert outside.paged() == ["on-call"]
    assert len(outside.slack.roots) == 1


def test_a_slash_too_many_in_the_address_loses_nothing(outside: Outside, tmp_path: Path) -> None:
    """As a base address with a `/` at its end makes it: `//webhooks/alertmanager`."""
    pair = Alertmanagers(tmp_path, f"http://127.0.0.1:{outside.port}/")
    try:
        pair.send(an_alert("DiskFull", "critical", started=dt.datetime.now(dt.UTC)))
        outside.sees(lambda: len(outside.slack.roots) == 1 and outside.paged())
    finally:
        pair.stop()


def test_at_another_address_the_alerts_are_said_to_be_lost(outside: Outside, tmp_path: Path) -> None:
    pair = Alertmanagers(tmp_path, f"http://127.0.0.1:{outside.port}/receiver")
    try:
        pair.send(an_alert("DiskFull", "critical", started=dt.datetime.now(dt.UTC)))
        wait_until(lambda: outside.receiver.events("webhook at a wrong address"), outside.receiver.log)
    finally:
        pair.stop()
    (first, *_) = outside.receiver.events("webhook at a wrong address")
    assert first["path"] == "'/receiver/webhooks/alertmanager'"
    assert outside.slack.roots == []
