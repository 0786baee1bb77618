"""The API: rows, single incidents, and transitions."""

from __future__ import annotations

import pytest

from tests.rig import Rig

ROW = [
    "id",
    "state",
    "severity",
    "alertname",
    "summary",
    "receiver",
    "group_key",
    "group_labels",
    "route",
    "channel",
    "firing",
    "total",
    "opened_at",
    "updated_at",
    "acknowledged_by",
    "next_step",
    "next_step_at",
]


def test_a_row_has_every_documented_field(rig: Rig) -> None:
    incident = rig.fires("DiskFull", host="a")
    (row,) = rig.client.get("/api/v1/incidents?state=open").json["incidents"]
    assert list(row) == ROW
    assert row["id"] == incident
    assert (row["state"], row["severity"], row["alertname"]) == ("open", "critical", "DiskFull")
    assert (row["firing"], row["total"], row["channel"]) == (1, 1, "#alerts-critical")
    assert row["opened_at"] == "2026-11-23T12:00:00.000Z"
    assert (row["next_step"], row["next_step_at"]) == ("team-lead", "2026-11-23T12:05:00.000Z")
    assert row["acknowledged_by"] is None


def test_one_incident_has_alerts_timeline_escalation_and_deliveries(rig: Rig) -> None:
    details = rig.shows(rig.fires("DiskFull", host="a"))
    assert details["alerts"][0]["labels"]["host"] == "a"
    assert next(event["what"] for event in details["timeline"]) == "opened"
    assert [step["state"] for step in details["escalation"]["steps"]] == ["notified", "waiting", "later"]
    delivered = {delivery["id"] for delivery in details["deliveries"] if delivery["state"] == "delivered"}
    assert {"message", "page:on-call", "step:on-call"} <= delivered


def test_incidents_are_filtered_by_state(rig: Rig) -> None:
    opened, acknowledged, resolved = (rig.fires(name) for name in ("A", "B", "C"))
    rig.answers(acknowledged, "acknowledge", "alice")
    rig.answers(resolved, "resolve")

    def ids(query: str) -> set[str]:
        return {row["id"] for row in rig.client.get(f"/api/v1/incidents{query}").json["incidents"]}

    assert ids("") == {opened, acknowledged, resolved}
    assert ids("?state=open") == {opened, acknowledged}
    assert ids("?state=acknowledged") == {acknowledged}
    assert ids("?state=resolved") == {resolved}
    assert ids("?alertname=A") == {opened}
    assert ids("?severity=warning") == set()


def test_pages_follow_one_another(rig: Rig) -> None:
    for n in range(5):
        rig.fires(f"Alert{n}")
        rig.clock.moment += 1
    seen, cursor = [], ""
    while cursor is not None:
        page = rig.client.get(f"/api/v1/incidents?limit=2&cursor={cursor}").json
        seen += [row["alertname"] for row in page["incidents"]]
        cursor = page["next_cursor"]
    assert seen == ["Alert4", "Alert3", "Alert2", "Alert1", "Alert0"]


@pytest.mark.parametrize("query", ["state=nonsense", "limit=0", "limit=201", "limit=x", "limit=-1"])
def test_an_invalid_query_is_400_with_a_message(rig: Rig, query: str) -> None:
    response = rig.client.get(f"/api/v1/incidents?{query}")
    assert response.status_code == 400
    assert "expected" in response.json["error"]["message"]


@pytest.mark.parametrize("incident", ["nonsense", "abc-def", "%00", "a" * 5000, "{0}:x-1"])
def test_an_unknown_id_is_404(rig: Rig, incident: str) -> None:
    for response in (
        rig.client.get(f"/api/v1/incidents/{incident}"),
        rig.client.post(f"/api/v1/incidents/{incident}/acknowledge", json={"by": "alice"}),
    ):
        assert response.status_code == 404
        assert response.json["error"]["type"] == "not_found"


def test_a_transition_needs_no_name_but_a_valid_body(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    url = f"/api/v1/incidents/{incident}/acknowledge"
    assert rig.client.post(url, data="[1]").status_code == 400
    assert rig.client.post(url, json={"by": 5}).status_code == 400
    assert rig.client.post(url).json["acknowledged_by"] == "api"


def test_the_response_to_a_transition_is_the_changed_incident(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    assert rig.answers(incident, "acknowledge")["state"] == "acknowledged"
    assert rig.answers(incident, "unacknowledge")["state"] == "open"
    assert rig.answers(incident, "resolve")["state"] == "resolved"
    timeline = [(event["what"], event["by"]) for event in rig.shows(incident)["timeline"]]
    assert ("acknowledged", "alice") in timeline
    assert ("resolved", "alice") in timeline


def test_a_former_incident_of_a_group_can_not_be_changed(rig: Rig) -> None:
    first = rig.fires("DiskFull", host="a")
    rig.answers(first, "resolve", "alice")
    rig.fires("DiskFull", host="b")
    assert rig.answers(first, "acknowledge", "bob")["state"] == "resolved"


def test_a_runbook_is_found_by_name(rig: Rig) -> None:
    (rig.folder / "runbooks" / "a.md").write_text("### DiskFull (Critical)\n\n**Impact**: all stops\n")
    rig.clock.moment += 10
    body = rig.client.get("/api/v1/runbooks/DiskFull").json
    assert body["sections"][0]["title"] == "Impact"
    assert rig.client.get("/api/v1/runbooks/Nobody").status_code == 404
