"""An incident without further duplicates is marked as stale, since its state is unknown."""

from __future__ import annotations

from tests.rig import Rig


def repeat(rig: Rig, hours: int) -> None:
    for _ in range(hours):
        rig.passes("1h")
        rig.posts(rig.alert("DiskFull", at=rig.clock()))
        rig.works()


def test_while_duplicates_arrive_an_incident_is_not_stale(rig: Rig) -> None:
    rig.fires("DiskFull")
    repeat(rig, 24)
    assert "Stale" not in rig.parents()[0].words


def test_an_incident_is_stale_without_duplicates_until_the_next_one(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    repeat(rig, 3)
    count = len(rig.slack.messages)
    rig.passes("2h9m")
    assert "Stale" not in rig.parents()[0].words
    rig.passes("2m")
    assert "Stale" in rig.parents()[0].words
    assert rig.state(incident) == "open"
    assert len(rig.slack.messages) == count, "it is no news that anybody must notice"
    rig.posts(rig.alert("DiskFull"))
    rig.passes("2s")
    assert "Stale" not in rig.parents()[0].words


def test_an_alert_without_duplicates_is_stale_after_alertmanagers_default_interval(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.passes("8h")
    assert "Stale" not in rig.parents()[0].words
    rig.passes("11m")
    assert "Stale" in rig.parents()[0].words
