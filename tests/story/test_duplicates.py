"""Guarantees 1 and 2: what a duplicate is, and when an incident is resolved."""

from __future__ import annotations

from tests.rig import Rig


def test_a_duplicate_notifies_no_one(rig: Rig) -> None:
    rig.fires("DiskFull")
    before = rig.visible_output()
    answer = rig.posts(rig.alert("DiskFull", at=rig.clock()))
    rig.works()
    assert (answer["new"], answer["duplicates"]) == (0, 1)
    assert rig.visible_output() == before


def test_a_copy_with_an_earlier_start_changes_only_the_start(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.passes("1m")
    before = rig.visible_output()
    rig.posts(rig.alert("DiskFull", at=rig.clock() - 3600))
    rig.works()
    assert rig.shows(incident)["alerts"][0]["starts_at"] == "2026-11-23T11:01:00.000Z"
    assert rig.visible_output() == before


def test_a_copy_with_a_later_start_changes_nothing(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    starts_at = rig.shows(incident)["alerts"][0]["starts_at"]
    rig.passes("1m")
    rig.posts(rig.alert("DiskFull"))
    assert rig.shows(incident)["alerts"][0]["starts_at"] == starts_at


def test_the_resolve_of_an_unknown_alert_changes_nothing(rig: Rig) -> None:
    answer = rig.posts(rig.alert("DiskFull", ended=True))
    rig.works()
    assert answer == {"alerts": 1, "new": 0, "duplicates": 1, "resolved": 0, "rejected": 0, "incidents": []}
    assert rig.visible_output() == ([], [])


def test_a_repeated_resolve_changes_nothing(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.passes("1m")
    rig.ends("DiskFull")
    rig.passes("1m")
    before = rig.visible_output()
    assert rig.ends("DiskFull")["resolved"] == 0
    rig.passes("1m")
    assert rig.visible_output() == before


def test_an_alert_missing_from_a_payload_is_not_resolved(rig: Rig) -> None:
    rig.posts(rig.alert("DiskFull", host="a"), rig.alert("DiskFull", host="b"))
    rig.works()
    answer = rig.posts(rig.alert("DiskFull", host="a", ended=True))
    assert rig.state(answer["incidents"][0]) == "open"


def test_an_incident_is_resolved_when_every_alert_is(rig: Rig) -> None:
    answer = rig.posts(rig.alert("DiskFull", host="a"), rig.alert("DiskFull", host="b"))
    incident = answer["incidents"][0]
    rig.passes("1m")
    rig.posts(rig.alert("DiskFull", host="a", ended=True), rig.alert("DiskFull", host="b", ended=True))
    rig.passes("5s")
    assert rig.state(incident) == "resolved"
    assert rig.events() == ["trigger", "resolve"]
    assert "esolved" in rig.parents()[0].words
    assert any("esolved" in reply for reply in rig.replies())


def test_a_truncated_payload_resolves_no_incident(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.posts(rig.alert("DiskFull", ended=True), truncatedAlerts=3)
    rig.passes("1m")
    assert rig.state(incident) == "open"
    rig.posts(rig.alert("DiskFull", ended=True))
    assert rig.state(incident) == "resolved"


def test_alertmanagers_with_different_sources_have_separate_incidents(rig: Rig) -> None:
    here = rig.posts(rig.alert("DiskFull"))["incidents"]
    there = rig.posts(rig.alert("DiskFull"), source="berlin")["incidents"]
    assert here != there


def test_the_two_alertmanagers_of_a_pair_are_one_source(rig: Rig) -> None:
    rig.posts(rig.alert("DiskFull"), externalURL="http://alertmanager-1:9093")
    answer = rig.posts(rig.alert("DiskFull"), externalURL="http://alertmanager-2:9093")
    assert (answer["new"], answer["duplicates"]) == (0, 1)


def test_alerts_of_a_group_on_two_routes_make_two_incidents(rig: Rig) -> None:
    answer = rig.posts(rig.alert("DiskFull", "critical"), rig.alert("DiskFull", "warning"))
    assert len(answer["incidents"]) == 2
    rig.works()
    assert sorted(parent.channel for parent in rig.parents()) == ["#alerts-critical", "#alerts-warning"]
    assert rig.paged() == ["on-call", "on-call"]


def test_an_info_alert_causes_no_page(rig: Rig) -> None:
    rig.fires("CertRenewed", "info")
    rig.passes("2h")
    assert [parent.channel for parent in rig.parents()] == ["#alerts-info"]
    assert rig.paged() == []
