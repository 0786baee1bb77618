"""`heartbeat_url` is called while the receiver works, and the status shows what does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.stub import Stub
from tests.rig import ROUTING, Rig

SECRET = "4c7c1a1e-secret"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        stub.set_response(f"GET /ping/{SECRET}", {})
        yield stub


@pytest.fixture
def watched(rig: Rig, stub: Stub) -> Rig:
    rig.configure(ROUTING + f'heartbeat_url: "{stub.url}/ping/{SECRET}"\n')
    rig.reconcilers.periodic_tasks.enqueue_all(rig.services.work_queue)
    rig.works()
    return rig


def test_the_url_is_called_every_minute(watched: Rig, stub: Stub) -> None:
    watched.passes("10m")
    assert len(stub.requests) == 11
    assert {(asked.method, asked.path) for asked in stub.requests} == {("GET", f"/ping/{SECRET}")}


def test_the_url_is_not_called_while_the_work_queue_is_not_processed(watched: Rig, stub: Stub) -> None:
    watched.posts(watched.alert("DiskFull"))
    watched.clock.moment += 61
    watched.works(("tasks",))
    assert len(stub.requests) == 1
    watched.works()
    watched.passes("1m")
    assert len(stub.requests) == 2


def test_the_url_is_not_called_while_no_page_can_be_sent(watched: Rig, stub: Stub, caplog) -> None:
    caplog.set_level("INFO")
    watched.pagerduty.stop()
    watched.fires("DiskFull")
    watched.passes("5m")
    assert len(stub.requests) == 6
    watched.passes("10m")
    assert len(stub.requests) <= 7
    watched.pagerduty.start()
    watched.passes("2m")
    assert len(stub.requests) >= 8
    texts = [r.getMessage() for r in caplog.records if "uptime ping" in r.getMessage()]
    assert texts == ["uptime ping withheld", "uptime ping succeeded again"]


def test_after_a_permanently_failed_page_the_url_is_still_called(watched: Rig, stub: Stub) -> None:
    """The failed delivery is reported elsewhere; nothing is pending, and other pages may succeed."""
    watched.refuses("on-call")
    incident = watched.fires("DiskFull")
    watched.answers(incident, "acknowledge")
    watched.passes("20m")
    assert len(stub.requests) == 21


def test_a_failed_call_is_logged_once_without_the_url_and_has_no_other_effect(
    watched: Rig, stub: Stub, caplog
) -> None:
    caplog.set_level("INFO")
    stub.set_response(f"GET /ping/{SECRET}", {}, status=500)
    watched.passes("5m")
    watched.fires("DiskFull")
    assert watched.paged() == ["on-call"]
    stub.set_response(f"GET /ping/{SECRET}", {})
    watched.passes("5m")
    texts = [r for r in caplog.records if "uptime ping" in r.getMessage()]
    assert [r.getMessage() for r in texts] == ["uptime ping failed", "uptime ping succeeded again"]
    assert not any(SECRET in str(vars(r)) for r in caplog.records)


def test_an_unreachable_url_has_no_other_effect(watched: Rig) -> None:
    watched.configure(ROUTING + 'heartbeat_url: "http://127.0.0.1:1/x"\n')
    watched.passes("2m")
    watched.fires("DiskFull")
    assert watched.paged() == ["on-call"]


def status(rig: Rig) -> dict[str, dict]:
    answer = rig.client.get("/api/v1/status")
    assert answer.status_code == 200
    return dict(answer.json)


def test_the_status_shows_the_state_of_the_channels(rig: Rig) -> None:
    assert status(rig)["channels"]["slack"] == {"state": "unknown", "reason": None, "since": None}
    rig.pagerduty.stop()
    rig.fires("DiskFull")
    shown = status(rig)["channels"]
    assert shown["slack"]["state"] == "ok"
    assert shown["pagerduty"]["state"] == "failing"
    assert shown["pagerduty"]["reason"]
    assert shown["pagerduty"]["since"] == "2026-11-23T12:00:00.000Z"
    assert "PagerDuty is failing" in rig.client.get("/").text
    rig.pagerduty.start()
    rig.passes("1m")
    assert status(rig)["channels"]["pagerduty"]["state"] == "ok"


def test_a_refused_routing_key_is_shown_as_failing_although_other_keys_work(rig: Rig) -> None:
    rig.refuses("on-call")
    rig.fires("DiskFull")
    rig.passes("6m")  # the team lead is paged
    assert "team-lead" in rig.paged()
    shown = status(rig)["channels"]["pagerduty"]
    assert (shown["state"], shown["reason"]) == ("failing", "invalid_routing_key")
    assert "PagerDuty is failing" in rig.client.get("/").text
    rig.passes("2h")
    assert status(rig)["channels"]["pagerduty"]["state"] == "ok"


def test_the_status_shows_simulated_channels(rig: Rig) -> None:
    rig.environ["SLACK_BOT_TOKEN"] = ""
    rig.configure(ROUTING)
    assert status(rig)["channels"]["slack"]["state"] == "simulated"


def test_the_status_shows_the_state_of_each_heartbeat(rig: Rig) -> None:
    beat = "heartbeats: [{match: ['alertname=\"Watchdog\"'], every: 5m, grace: 2m, notify: on-call}]\n"
    rig.configure(ROUTING + beat)
    rig.reconcilers.periodic_tasks.enqueue_all(rig.services.work_queue)
    (row,) = status(rig)["heartbeats"]
    assert (row["state"], row["source"], row["last_at"]) == ("waiting", None, None)
    rig.posts(rig.alert("Watchdog", "none"), source="eu")
    rig.works()
    (row,) = status(rig)["heartbeats"]
    assert (row["state"], row["source"], row["notify"]) == ("beating", "eu", "on-call")
    rig.passes("8m")
    assert status(rig)["heartbeats"][0]["state"] == "missing"
    page = rig.client.get("/").text
    assert "missing" in page
    assert "eu" in page


def test_the_status_shows_workers_and_maintenance(rig: Rig) -> None:
    rig.services.work_queue.record_heartbeat("w1", rig.clock())
    rig.client.post("/api/v1/maintenance", json={"for": "1h", "by": "bob"})
    shown = status(rig)
    assert (shown["redis"], shown["workers"], shown["maintenance"]["by"]) == ("ok", 1, "bob")
