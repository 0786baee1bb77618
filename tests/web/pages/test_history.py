"""`GET /api/v1/history`: past incidents and their durations."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.web.api.incidents import parse_since
from tests.rig import ROUTING, START, Rig
from tests.web.api.test_routes import ROW

DAY = 86400.0


def history(rig: Rig, query: str = "") -> list[dict[str, Any]]:
    response = rig.client.get(f"/api/v1/history{query}")
    assert response.status_code == 200, response.text
    return list(response.json["incidents"])


def names(rig: Rig, query: str) -> list[str]:
    return [row["alertname"] for row in history(rig, query)]


def test_a_row_has_the_durations(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.passes("90s")
    rig.answers(incident, "acknowledge")
    rig.passes("10m")
    rig.ends("DiskFull")
    (row,) = history(rig)
    assert list(row) == [*ROW, "resolved_at", "duration_s", "acknowledged_after_s"]
    assert row["id"] == incident
    assert row["state"] == "resolved"
    assert row["resolved_at"] == "2026-11-23T12:11:30.000Z"
    assert (row["duration_s"], row["acknowledged_after_s"]) == (690.0, 90.0)


def test_an_open_incident_has_no_duration_yet(rig: Rig) -> None:
    rig.fires("DiskFull")
    (row,) = history(rig)
    assert (row["resolved_at"], row["duration_s"], row["acknowledged_after_s"]) == (None, None, None)
    assert row["next_step"] == "team-lead"


def test_resolved_and_open_incidents_are_listed_newest_first(rig: Rig) -> None:
    for number, name in enumerate(("Old", "Middle", "New")):
        rig.clock.moment = START + number * DAY
        rig.fires(name, "info")
    rig.ends("Middle", "info")
    assert names(rig, "") == ["New", "Middle", "Old"]


@pytest.mark.parametrize(
    ("since", "found"),
    [
        ("12h", ["New"]),
        ("1d12h", ["New", "Middle"]),
        ("2026-11-24", ["New", "Middle"]),
        ("2026-11-24T12:00:00Z", ["New", "Middle"]),
        ("2026-11-24T12:00:00.001Z", ["New"]),
        ("2026-11-24T13:00:00+01:00", ["New", "Middle"]),
        ("2026-11-24T13:00:00%2B01:00", ["New", "Middle"]),
        ("2027-01-01T00:00:00Z", []),
        ("999999999y", ["New", "Middle", "Old"]),
        ("", ["New", "Middle", "Old"]),
    ],
)
def test_incidents_that_opened_before_the_given_time_are_omitted(
    rig: Rig, since: str, found: list[str]
) -> None:
    for number, name in enumerate(("Old", "Middle", "New")):
        rig.clock.moment = START + number * DAY
        rig.fires(name, "info")
    assert names(rig, f"?since={since}") == found


def test_the_alert_name_is_matched_exactly(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.fires("DiskFullSoon")
    assert names(rig, "?alertname=DiskFull") == ["DiskFull"]
    assert names(rig, "?alertname=Disk") == []


def test_former_incidents_of_a_group_are_listed(rig: Rig) -> None:
    for _ in range(2):
        rig.fires("DiskFull")
        rig.passes("1m")
        rig.ends("DiskFull")
        rig.passes("30m")
    assert names(rig, "?alertname=DiskFull") == ["DiskFull", "DiskFull"]


def test_pages_follow_one_another_back_to_the_given_time(rig: Rig) -> None:
    for number in range(6):
        rig.clock.moment = START + number * 60
        rig.fires(f"Alert{number}", "info")
    seen, cursor, pages = [], "", 0
    while cursor is not None:
        page = rig.client.get(f"/api/v1/history?since=4m&limit=2&cursor={cursor}").json
        seen += [row["alertname"] for row in page["incidents"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert seen == ["Alert5", "Alert4", "Alert3", "Alert2", "Alert1"]
    assert pages <= 4


@pytest.mark.parametrize(
    "query",
    [
        "since=yesterday",
        "since=7",
        "since=2026-13-01",
        "since=-7d",
        "limit=0",
        "limit=x",
        "cursor=nan_x",
        "cursor=%0A",
        "cursor=1",
    ],
)
def test_an_invalid_query_is_400_with_a_message(rig: Rig, query: str) -> None:
    response = rig.client.get(f"/api/v1/history?{query}")
    assert response.status_code == 400
    name = query.partition("=")[0]
    assert response.json["error"]["type"] == "bad_request"
    assert response.json["error"]["message"].startswith(f"{name} is ")
    assert "expected" in response.json["error"]["message"]


def test_a_time_before_the_first_possible_one_lists_everything() -> None:
    assert parse_since("0001-01-01T00:00:00Z", START) == 0.0


@pytest.mark.parametrize(
    "moment",
    ["9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59-12:00", "9999-12-31", "9999-12-30", "9999-12-29"],
)
@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_a_time_after_the_last_possible_one_is_limited(rig: Rig, name: str, moment: str, zone: str) -> None:
    hours = f"{{timezone: {zone}, days: mon-fri, from: '09:00', to: '17:00'}}"
    rig.configure(ROUTING + f"business_hours: {hours}\n")
    rig.fires("DiskFull")
    page = rig.client.get(f"/history?{name}={moment}")
    assert page.status_code == 200
    assert ("DiskFull" in page.text) is (name == "until")
    if name == "since":
        assert rig.client.get(f"/api/v1/history?since={moment}").json["incidents"] == []
