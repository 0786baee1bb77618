"""Maintenance: no page is sent until its end, and everything else works as usual."""

from __future__ import annotations

import re
from datetime import datetime

import pytest

from tests.rig import ROUTING, Rig

PATH = "/api/v1/maintenance"


def start_maintenance(rig: Rig, for_: str = "1h", **more: str) -> None:
    answer = rig.client.post(PATH, json={"by": "bob", "for": for_, **more})
    assert answer.status_code == 200, answer.text
    rig.works()


def end_maintenance(rig: Rig) -> None:
    assert rig.client.delete(f"{PATH}?by=bob").status_code == 200
    rig.works()


@pytest.fixture
def rig(rig: Rig) -> Rig:
    rig.reconcilers.periodic_tasks.enqueue_all(rig.services.work_queue)
    rig.works()
    return rig


def test_alerts_in_maintenance_are_posted_and_not_paged(rig: Rig) -> None:
    start_maintenance(rig)
    rig.fires("DiskFull")
    rig.passes("59m59s")
    assert rig.triggered() == []
    assert len(rig.parents()) == 1
    assert rig.replies() == []


def test_every_message_shows_the_end_of_the_maintenance(rig: Rig) -> None:
    rig.fires("Before")
    start_maintenance(rig)
    rig.fires("During")
    rig.passes("2s")
    assert all("Maintenance until" in message.words for message in rig.parents())
    assert len(rig.parents()) == 2


def test_at_the_end_firing_incidents_are_paged_at_once_and_escalate(rig: Rig) -> None:
    start_maintenance(rig)
    rig.fires("DiskFull")
    rig.passes("1h")
    assert rig.paged() == ["on-call"]
    rig.passes("2s")
    assert "Maintenance" not in rig.parents()[0].words
    rig.passes("5m")
    assert rig.paged() == ["on-call", "team-lead"]


def test_an_incident_resolved_in_maintenance_is_never_paged(rig: Rig) -> None:
    start_maintenance(rig)
    incident = rig.fires("DiskFull")
    rig.passes("10m")
    rig.ends("DiskFull")
    rig.passes("2h")
    assert rig.triggered() == []
    assert rig.state(incident) == "resolved"
    assert "Resolved" in rig.parents()[0].words


def test_a_step_due_in_maintenance_is_notified_when_it_ends(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.passes("1m")
    start_maintenance(rig)
    rig.passes("59m59s")
    assert rig.triggered() == ["on-call"]
    rig.passes("1s")
    assert rig.triggered() == ["on-call", "team-lead"]


def test_a_failed_page_is_not_retried_until_the_end(rig: Rig) -> None:
    rig.pagerduty.stop()
    rig.fires("DiskFull")
    start_maintenance(rig)
    rig.pagerduty.start()
    rig.passes("59m")
    assert rig.triggered() == []
    rig.passes("1m1s")
    assert rig.triggered()[0] == "on-call"


def test_acknowledgements_and_resolves_reach_pagerduty_in_maintenance(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    start_maintenance(rig)
    rig.answers(incident, "acknowledge")
    assert rig.events() == ["trigger", "acknowledge"]
    rig.answers(incident, "resolve")
    assert rig.events() == ["trigger", "acknowledge", "resolve"]


def test_an_incident_acknowledged_in_maintenance_is_not_paged_at_the_end(rig: Rig) -> None:
    start_maintenance(rig)
    incident = rig.fires("DiskFull")
    rig.answers(incident, "acknowledge")
    rig.passes("2h")
    assert rig.triggered() == []


def test_after_an_early_end_firing_incidents_are_paged_at_once(rig: Rig) -> None:
    start_maintenance(rig, "6d")
    rig.fires("DiskFull")
    rig.passes("10m")
    end_maintenance(rig)
    assert rig.paged() == ["on-call"]


def test_maintenance_started_again_has_the_new_end(rig: Rig) -> None:
    start_maintenance(rig, "1h")
    rig.fires("DiskFull")
    start_maintenance(rig, "3h")
    rig.passes("2h59m")
    assert rig.triggered() == []
    start_maintenance(rig, "1s")
    rig.passes("1s")
    assert rig.paged() == ["on-call"]


def test_a_worker_killed_before_it_reported_the_end_delays_it_by_a_minute_at_most(rig: Rig) -> None:
    start_maintenance(rig, "6d")
    rig.fires("DiskFull")
    found = rig.services.maintenance.find_active(rig.clock())
    from msgspec.structs import replace

    rig.services.maintenance.save_maintenance(replace(found, ended_at=rig.clock()), rig.clock())
    rig.passes("1m")
    assert rig.paged() == ["on-call"]


def test_after_a_clock_was_set_back_maintenance_lasts_until_its_end(rig: Rig) -> None:
    start_maintenance(rig)
    rig.fires("DiskFull")
    rig.passes("30m")
    rig.clock.moment -= 1200
    rig.passes("49m59s")
    assert rig.triggered() == []
    rig.passes("1s")
    assert rig.paged() == ["on-call"]


def test_the_list_shows_the_step_that_is_notified_at_the_end(rig: Rig) -> None:
    start_maintenance(rig)
    rig.fires("DiskFull")
    (row,) = rig.client.get("/api/v1/incidents").json["incidents"]
    assert row["next_step"] == "on-call"
    assert row["next_step_at"] == rig.client.get(PATH).json["until"]


def test_start_and_end_are_each_reported_once(rig: Rig, caplog) -> None:
    start_maintenance(rig, comment="new disks")
    start_notices = [r.message for r in caplog.records if "nobody is paged" in r.message]
    assert start_notices == ["Maintenance by bob until 2026-11-23 13:00 UTC (new disks): nobody is paged"]
    rig.passes("3h")
    assert [r.message for r in caplog.records if "paging goes on" in r.message] == [
        "Maintenance is over: paging goes on"
    ]


def test_the_dashboard_shows_a_banner_and_can_end_it(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    assert "Maintenance until" not in rig.client.get("/").text
    form = {"for": "2h", "by": "<b>bob", "comment": "<i>disks"}
    assert rig.submits("/maintenance", **form).status_code == 303
    for path in ("/", f"/incidents/{incident}"):
        page = rig.client.get(path).text
        text = re.sub(r"</?time[^>]*>", "", page)
        assert "Maintenance until 2026-11-23 14:00:00 UTC: nobody is paged" in text
        assert "&lt;b&gt;bob" in page
        assert "<i>" not in page
    assert rig.submits("/maintenance/end").status_code == 303
    assert "Maintenance until" not in rig.client.get("/").text


def test_a_form_without_a_time_is_refused(rig: Rig) -> None:
    assert rig.submits("/maintenance", **{"for": "soon", "by": "bob"}).status_code == 400
    assert rig.client.get(PATH).json["until"] is None


@pytest.mark.parametrize(
    ("now", "typed", "until"),
    [
        ("2026-11-23T12:00:00Z", "14:00", "2026-11-23T13:00:00.000Z"),
        ("2026-11-23T12:00:00Z", "until 12:00", "2026-11-24T11:00:00.000Z"),
        ("2026-11-23T12:00:00Z", "2026-11-24T08:00", "2026-11-24T07:00:00.000Z"),
        # 02:40, before the clocks go back to 02:00: 02:30 occurs again.
        ("2026-10-25T00:40:00Z", "02:30", "2026-10-25T01:30:00.000Z"),
        # 01:50, ten minutes before the clocks show 03:00.
        ("2026-03-29T00:50:00Z", "02:30", "2026-03-29T01:00:00.000Z"),
    ],
)
def test_a_form_may_have_a_time_of_day_in_the_teams_time_zone(
    rig: Rig, now: str, typed: str, until: str
) -> None:
    rig.clock.moment = datetime.fromisoformat(now).timestamp()
    rig.configure(f"{ROUTING}business_hours: {{timezone: Europe/Berlin}}\n")
    assert "until 14:00 (Europe/Berlin)" in rig.client.get("/").text
    assert rig.submits("/maintenance", **{"for": typed, "by": "bob"}).status_code == 303
    assert rig.client.get(PATH).json["until"] == until


@pytest.mark.parametrize(
    "typed", ["25:00", "until", "2026-11-23T11:00", "2027-11-23T14:00", "1:2:3", "9999-12-31T23:59"]
)
def test_a_form_with_a_past_or_invalid_time_is_refused(rig: Rig, typed: str) -> None:
    assert rig.submits("/maintenance", **{"for": typed, "by": "bob"}).status_code == 400
    assert rig.client.get(PATH).json["until"] is None


def test_the_api_shows_who_started_it(rig: Rig) -> None:
    assert rig.client.get(PATH).json == {"until": None, "since": None, "by": None, "comment": None}
    until = "2026-11-23T15:00:00+01:00"
    answer = rig.client.post(PATH, json={"by": "bob", "until": until, "comment": "why"})
    shown = {
        "until": "2026-11-23T14:00:00.000Z",
        "since": "2026-11-23T12:00:00.000Z",
        "by": "bob",
        "comment": "why",
    }
    assert answer.json == rig.client.get(PATH).json == shown
    assert rig.client.delete(PATH).json["until"] is None


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"for": "1h", "until": "2026-11-23T14:00:00Z"},
        {"for": "8d"},
        {"for": "0"},
        {"for": "x"},
        {"until": "2026-11-23T11:00:00Z"},
        {"until": "2027-11-23T11:00:00Z"},
        {"until": "never"},
    ],
)
def test_an_invalid_time_is_refused_with_a_message(rig: Rig, asked: dict[str, str]) -> None:
    answer = rig.client.post(PATH, json={"by": "bob", **asked})
    assert answer.status_code == 400
    assert "expected" in answer.json["error"]["message"]


def test_the_metric_shows_it(rig: Rig) -> None:
    start_maintenance(rig)
    assert "receiver_maintenance 1.0" in rig.client.get("/metrics").text
    end_maintenance(rig)
    assert "receiver_maintenance 0.0" in rig.client.get("/metrics").text


def test_the_fallback_is_not_paged_either(rig: Rig) -> None:
    """Before, the fallback responder of a missing channel was paged in maintenance."""
    rig.configure(ROUTING.replace("escalation: critical}", "escalation: critical, fallback: manager}"))
    rig.slack.archive("#alerts-critical")
    rig.refuses("on-call")
    start_maintenance(rig)
    rig.fires("DiskFull")
    rig.passes("30m")
    assert rig.paged() == []
    rig.passes("31m")
    assert "manager" in rig.paged()


def test_a_page_that_failed_before_the_maintenance_causes_no_mention_in_the_thread(rig: Rig) -> None:
    rig.pagerduty.fail_next(503, times=1000)
    rig.fires("DiskFull")
    start_maintenance(rig)
    count = len(rig.replies())
    rig.passes("30m")
    assert len(rig.replies()) == count
    assert rig.paged() == []
