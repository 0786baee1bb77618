"""Arrays of alerts as Prometheus, a ruler and vmalert send them: each fires until its end unless renewed."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.clock import format_iso_time, parse_duration
from receiver.model.alert import fingerprint
from receiver.model.transitions import expire_alerts
from tests.rig import Rig

PATHS = ["/api/v2/alerts", "/api/v2/alerts/", "/webhooks/alertmanager", "/webhooks/alertmanager/"]


def posted(rig: Rig, name: str, *, ends_in: str = "", ended: str = "", **labels: str) -> dict[str, Any]:
    """Return an alert as Prometheus posts it, which ends in *ends_in* or has ended *ended* ago."""
    alert = {
        "labels": {"alertname": name, "severity": "critical", **labels},
        "annotations": {"summary": f"{name} is bad"},
        "startsAt": format_iso_time(rig.clock() - 60),
        "generatorURL": "http://prometheus:9090/graph?g0.expr=up",
    }
    if ends_in:
        alert["endsAt"] = format_iso_time(rig.clock() + parse_duration(ends_in))
    if ended:
        alert["endsAt"] = format_iso_time(rig.clock() - parse_duration(ended))
    return alert


def sends(rig: Rig, *alerts: dict[str, Any], path: str = "/api/v2/alerts") -> dict[str, Any]:
    response = rig.client.post(path, json=list(alerts))
    assert response.status_code == 200, response.text
    rig.works()
    return dict(response.json)


def fires(rig: Rig, name: str, **fields: str) -> str:
    return str(sends(rig, posted(rig, name, **fields))["incidents"][0])


@pytest.mark.parametrize("path", PATHS)
def test_an_array_is_taken_at_both_addresses(rig: Rig, path: str) -> None:
    answer = sends(rig, posted(rig, "A", ends_in="4m"), posted(rig, "B", ends_in="4m"), path=path)
    assert {**answer, "incidents": len(answer["incidents"])} == {
        "alerts": 2,
        "new": 2,
        "duplicates": 0,
        "resolved": 0,
        "rejected": 0,
        "incidents": 2,
    }
    assert rig.paged() == ["on-call", "on-call"]


def test_each_alert_is_its_own_group_of_its_source(rig: Rig) -> None:
    path = "/api/v2/alerts?source=eu"
    first, second = sends(
        rig, posted(rig, "A", host="a", ends_in="4m"), posted(rig, "A", host="b", ends_in="4m"), path=path
    )["incidents"]
    assert rig.shows(first)["source"] == "eu"
    assert rig.shows(first)["group_labels"] == {"alertname": "A", "severity": "critical", "host": "a"}
    assert rig.shows(second)["total"] == 1


def test_it_fires_until_its_end(rig: Rig) -> None:
    incident_id = fires(rig, "A", ends_in="4m")
    rig.passes("3m59s")
    assert rig.state(incident_id) == "open"
    rig.passes("1s")
    assert rig.state(incident_id) == "resolved"
    assert rig.events() == ["trigger", "resolve"]
    assert "not renewed" in str(rig.shows(incident_id)["timeline"])
    [alert] = rig.shows(incident_id)["alerts"]
    assert alert["status"] == "resolved"
    assert alert["ends_at"] == format_iso_time(rig.clock())


def test_renewed_alerts_fire_on_and_are_duplicates(rig: Rig) -> None:
    incident_id, alert = fires(rig, "A", ends_in="4m"), posted(rig, "A")
    for _ in range(20):
        rig.passes("1m")
        answer = sends(rig, {**alert, "endsAt": format_iso_time(rig.clock() + 240)})
        assert (answer["duplicates"], answer["incidents"]) == (1, [incident_id])
    assert rig.state(incident_id) == "open"
    assert rig.paged() == ["on-call", "team-lead", "manager"]
    rig.passes("3m59s")
    assert rig.state(incident_id) == "open"
    rig.passes("1s")
    assert rig.state(incident_id) == "resolved"


def test_a_renewal_wakes_no_worker(rig: Rig) -> None:
    fires(rig, "A", ends_in="4m")
    rig.passes("1m")
    due = rig.works()
    rig.client.post("/api/v2/alerts", json=[posted(rig, "A", ends_in="4m")])
    assert rig.works() == due


def test_an_earlier_end_does_not_shorten_it(rig: Rig) -> None:
    """As in Alertmanager: of two rulers in HA, the one that promises more counts."""
    incident_id = fires(rig, "A", ends_in="4m")
    sends(rig, posted(rig, "A", ends_in="1m"))
    rig.passes("3m59s")
    assert rig.state(incident_id) == "open"
    rig.passes("1s")
    assert rig.state(incident_id) == "resolved"


def test_a_past_end_ends_it(rig: Rig) -> None:
    incident_id = fires(rig, "A", ends_in="4m")
    rig.passes("1m")
    assert sends(rig, posted(rig, "A", ended="1s"))["resolved"] == 1
    assert rig.state(incident_id) == "resolved"


def test_a_past_end_of_an_unknown_alert_changes_nothing(rig: Rig) -> None:
    assert sends(rig, posted(rig, "A", ended="1s"))["incidents"] == []
    assert rig.visible_output() == ([], [])


@pytest.mark.parametrize("end", [None, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000+02:00", "soon", 7])
def test_without_an_end_it_fires_until_a_resolve(rig: Rig, end: object) -> None:
    alert = posted(rig, "A")
    incident_id = str(sends(rig, {**alert, "endsAt": end})["incidents"][0])
    rig.passes("24h", every="5m")
    assert rig.state(incident_id) == "open"
    sends(rig, {**alert, "endsAt": format_iso_time(rig.clock())})
    assert rig.state(incident_id) == "resolved"


def test_an_end_named_later_counts(rig: Rig) -> None:
    alert = posted(rig, "A")
    incident_id = str(sends(rig, alert)["incidents"][0])
    sends(rig, {**alert, "endsAt": format_iso_time(rig.clock() + 60)})
    rig.passes("59s")
    assert rig.state(incident_id) == "open"
    rig.passes("1s")
    assert rig.state(incident_id) == "resolved"


def test_a_renewal_without_an_end_counts_until_a_resolve(rig: Rig) -> None:
    incident_id = fires(rig, "A", ends_in="4m")
    sends(rig, posted(rig, "A"))
    rig.passes("1h")
    assert rig.state(incident_id) == "open"


def test_an_alert_that_alertmanager_sends_too_ends_by_a_resolve(rig: Rig) -> None:
    """It fires there still, whatever becomes of the sender that renews it here."""
    incident_id = fires(rig, "A", ends_in="4m")
    answer = rig.posts(rig.alert("A"))
    assert answer["incidents"] == [incident_id]
    rig.passes("1h")
    assert rig.state(incident_id) == "open"
    rig.ends("A")
    assert rig.state(incident_id) == "resolved"


def test_an_end_cannot_resolve_what_alertmanager_sent_first(rig: Rig) -> None:
    incident_id = rig.fires("A")
    assert sends(rig, posted(rig, "A", ends_in="4m"))["incidents"] == [incident_id]
    rig.passes("1h")
    assert rig.state(incident_id) == "open"


def test_a_renewal_after_the_end_and_before_the_worker_keeps_it_open(rig: Rig) -> None:
    incident_id, alert = fires(rig, "A", ends_in="4m"), posted(rig, "A")
    rig.clock.moment += 241
    sends(rig, {**alert, "endsAt": format_iso_time(rig.clock() + 240)})
    assert rig.state(incident_id) == "open"
    assert rig.events() == ["trigger"]


def test_a_restart_between_changes_nothing(rig: Rig) -> None:
    incident_id = fires(rig, "A", ends_in="4m")
    (rig.folder / "routing.yaml").touch()
    rig.configure((rig.folder / "routing.yaml").read_text())
    rig.passes("3m59s")
    assert rig.state(incident_id) == "open"
    rig.passes("1s")
    assert rig.state(incident_id) == "resolved"


def test_firing_again_after_its_end_reopens_it(rig: Rig) -> None:
    incident_id = fires(rig, "A", ends_in="4m")
    rig.passes("5m")
    assert fires(rig, "A", ends_in="4m") == incident_id
    assert rig.state(incident_id) == "open"
    assert rig.events() == ["trigger", "resolve", "trigger"]


def test_a_resolve_that_is_repeated_ends_only_what_it_ended(rig: Rig) -> None:
    """Of two Prometheus in HA one has resolved, and repeats that every minute; the other still fires."""
    firing = posted(rig, "A")
    incident_id = fires(rig, "A", ends_in="4m")
    rig.passes("1m")
    resolved = {**firing, "endsAt": format_iso_time(rig.clock())}
    assert sends(rig, resolved)["resolved"] == 1
    for _ in range(8):
        rig.passes("30s")
        sends(rig, {**firing, "endsAt": format_iso_time(rig.clock() + 240)})
        rig.passes("30s")
        assert sends(rig, resolved)["resolved"] == 0
        assert rig.state(incident_id) == "open"
    rig.passes("5m")
    assert rig.state(incident_id) == "resolved"


def test_several_copies_in_one_array_are_one_alert_with_the_latest_end(rig: Rig) -> None:
    answer = sends(
        rig, *(posted(rig, "A", ends_in=end) for end in ("1m", "3m", "2m")), posted(rig, "A", ended="1m")
    )
    assert (answer["new"], answer["duplicates"]) == (1, 3)
    rig.passes("2m59s")
    assert rig.state(answer["incidents"][0]) == "open"
    rig.passes("1s")
    assert rig.state(answer["incidents"][0]) == "resolved"


def test_an_end_behind_its_firing_in_one_array_ends_it(rig: Rig) -> None:
    """Prometheus sends what waits in its queue as one array."""
    firing = posted(rig, "A", ends_in="4m")
    resolved = {**firing, "endsAt": format_iso_time(rig.clock() - 1)}
    assert sends(rig, firing, resolved)["new"] == 0
    incident_id = fires(rig, "A", ends_in="4m")
    assert sends(rig, firing, resolved)["resolved"] == 1
    assert rig.state(incident_id) == "resolved"
    assert rig.events() == ["trigger", "resolve"]


@pytest.mark.parametrize("is_first", [False, True])
def test_an_end_in_front_or_of_another_rule_with_the_same_labels_does_not_end_it(
    rig: Rig, is_first: bool
) -> None:
    firing = posted(rig, "A", ends_in="4m")
    incident_id = sends(rig, firing)["incidents"][0]
    ended = {**firing, "endsAt": format_iso_time(rig.clock() - 1)}
    another = {**ended, "startsAt": format_iso_time(rig.clock() - 30)}
    assert sends(rig, *((ended, firing) if is_first else (firing, another)))["resolved"] == 0
    assert rig.state(incident_id) == "open"


def test_closed_by_hand_its_renewals_stay_duplicates_and_it_opens_anew_after_its_end(rig: Rig) -> None:
    incident_id, alert = fires(rig, "A", ends_in="4m"), posted(rig, "A")
    rig.answers(incident_id, "resolve")
    for _ in range(10):
        rig.passes("1m")
        answer = sends(rig, {**alert, "endsAt": format_iso_time(rig.clock() + 240)})
        assert (answer["new"], answer["duplicates"]) == (0, 1)
    rig.passes("5m")
    assert rig.shows(incident_id)["firing"] == 0
    assert fires(rig, "A", ends_in="4m") != incident_id


def test_closed_by_hand_a_new_firing_opens_anew_even_before_a_worker_saw_the_end(rig: Rig) -> None:
    incident_id = fires(rig, "A", ends_in="4m")
    rig.answers(incident_id, "resolve")
    rig.clock.moment += 600
    answer = rig.client.post("/api/v2/alerts", json=[posted(rig, "A", ends_in="4m")]).json
    assert answer["new"] == 1
    assert answer["incidents"] != [incident_id]


def test_an_acknowledged_one_ends_too(rig: Rig) -> None:
    incident_id = fires(rig, "A", ends_in="4m")
    rig.answers(incident_id, "acknowledge")
    rig.passes("4m")
    assert rig.state(incident_id) == "resolved"


def test_empty_labels_do_not_count(rig: Rig) -> None:
    """Alertmanager drops them too, and the same alert may come from there."""
    incident_id = fires(rig, "A", ends_in="4m", pod="")
    [alert] = rig.shows(incident_id)["alerts"]
    assert alert["fingerprint"] == fingerprint({"alertname": "A", "severity": "critical"})


@pytest.mark.parametrize(
    "starts_at",
    [
        None,
        "2126-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "2026-11-23T13:00:00.123456789+01:00",
        "yesterday",
        5,
    ],
)
def test_any_start_will_do(rig: Rig, starts_at: object) -> None:
    alert = {**posted(rig, "A", ends_in="4m"), "startsAt": starts_at, "unknown": {"keys": [1]}}
    del alert["generatorURL"]
    incident_id = sends(rig, alert)["incidents"][0]
    [shown] = rig.shows(incident_id)["alerts"]
    assert shown["starts_at"] == format_iso_time(rig.clock())
    rig.passes("4m")
    assert rig.state(incident_id) == "resolved"


def test_an_end_in_a_hundred_years_is_believed(rig: Rig) -> None:
    alert = {**posted(rig, "A"), "endsAt": "2126-11-29T23:59:00+02:00"}
    incident_id = sends(rig, alert)["incidents"][0]
    rig.passes("24h", every="5m")
    assert rig.state(incident_id) == "open"


def test_an_empty_array_is_taken(rig: Rig) -> None:
    assert sends(rig)["alerts"] == 0


def test_unreadable_alerts_are_left_out(rig: Rig) -> None:
    answer = sends(rig, posted(rig, "A", ends_in="4m"), {"labels": 1}, "x")  # type: ignore[arg-type]
    assert (answer["new"], answer["rejected"]) == (1, 2)


@pytest.mark.parametrize("body", ["", "[", '["x"]', "[[]]", '{"labels": {"alertname": "A"}}', "7", "null"])
def test_what_holds_no_alert_is_refused(rig: Rig, body: str) -> None:
    response = rig.client.post("/api/v2/alerts", data=body)
    assert response.status_code == 400


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused(rig: Rig, method: str) -> None:
    assert rig.client.open("/api/v2/alerts", method=method).status_code == 405


def test_all_alerts_of_a_large_array_fire_and_end(rig: Rig) -> None:
    count = 300
    answer = sends(rig, *(posted(rig, "A", host=f"h{n}", ends_in="4m") for n in range(count)))
    assert answer["new"] == count


def test_a_renewal_while_a_worker_is_ending_it_wins(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    incident_id = fires(rig, "A", ends_in="4m")
    rig.clock.moment += 240
    incidents = rig.services.incidents
    load = incidents.load_latest
    read_before = [load([incident_id.partition("-")[0]])]
    rig.client.post("/api/v2/alerts", json=[posted(rig, "A", ends_in="4m")])
    monkeypatch.setattr(incidents, "load_latest", lambda ids: read_before.pop() if read_before else load(ids))
    now = rig.clock()
    rig.services.incident_service.update(incident_id, lambda latest: expire_alerts(latest, now), now)
    assert not read_before
    assert rig.state(incident_id) == "open"
