"""An incident whose repeats stop is marked, since nobody knows any more how it stands."""

from __future__ import annotations

from tests.rig import Rig


def hears(rig: Rig, hours: int) -> None:
    for _ in range(hours):
        rig.passes("1h")
        rig.posts(rig.alert("DiskFull", at=rig.clock()))
        rig.works()


def test_while_it_is_repeated_it_is_not_stale(rig: Rig) -> None:
    rig.fires("DiskFull")
    hears(rig, 24)
    assert "Stale" not in rig.roots()[0].words


def test_when_repeats_stop_it_is_marked_and_unmarked_when_they_come_again(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    hears(rig, 3)
    told = len(rig.slack.messages)
    rig.passes("2h9m")
    assert "Stale" not in rig.roots()[0].words
    rig.passes("2m")
    assert "Stale" in rig.roots()[0].words
    assert rig.state(incident) == "open"
    assert len(rig.slack.messages) == told, "it is no news that anybody must notice"
    rig.posts(rig.alert("DiskFull"))
    rig.passes("2s")
    assert "Stale" not in rig.roots()[0].words


def test_an_alert_never_repeated_has_the_time_of_alertmanagers_default(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.passes("8h")
    assert "Stale" not in rig.roots()[0].words
    rig.passes("11m")
    assert "Stale" in rig.roots()[0].words
