"""An alert that changes its state too often: one message, no new page, over once it was quiet."""

from __future__ import annotations

from tests.rig import Rig


def flap(rig: Rig, name: str, times: int, **labels: str) -> None:
    """Have a firing alert end and fire again so many times, half a minute each, and end at last."""
    for _ in range(times):
        rig.passes("30s")
        rig.ends(name, **labels)
        rig.passes("30s")
        rig.fires(name, **labels)
    rig.passes("30s")
    rig.ends(name, **labels)


def test_a_flapping_alert_stays_one_open_message_until_it_was_quiet_for_the_window(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    flap(rig, "DiskFull", 2)
    rig.passes("9m55s")
    assert rig.state(incident) == "open"
    assert "flapping" in rig.roots()[0].words
    rig.passes("10s")
    assert rig.state(incident) == "resolved"
    assert len(rig.roots()) == 1
    assert "resolved" in rig.roots()[0].words.lower()
    assert rig.events()[-1] == "resolve"


def test_once_it_flaps_nobody_is_paged_anew_and_the_thread_is_quiet(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.answers(incident, "acknowledge")
    flap(rig, "DiskFull", 2)
    rig.answers(incident, "acknowledge")  # that of before ended when it resolved
    pages, replies = rig.triggered(), len(rig.replies())
    for _ in range(10):
        rig.passes("1m")
        rig.fires("DiskFull")
        rig.passes("1s")
        rig.ends("DiskFull")
    assert rig.triggered() == pages == ["on-call"] * 3
    assert len(rig.replies()) == replies


def test_what_flaps_and_nobody_has_goes_on_to_the_next_step_and_pages_each_once(rig: Rig) -> None:
    rig.fires("DiskFull")
    flap(rig, "DiskFull", 2)
    for _ in range(30):
        rig.passes("30s")
        rig.fires("DiskFull")
        rig.passes("30s")
        rig.ends("DiskFull")
    assert rig.paged() == ["on-call"] * 3 + ["team-lead", "manager"]


def test_what_flaps_is_no_new_incident_however_long_it_goes_on(rig: Rig) -> None:
    first = rig.fires("DiskFull")
    flap(rig, "DiskFull", 40)
    assert rig.fires("DiskFull") == first
    assert len(rig.roots()) == 1


def test_a_change_after_the_window_counts_no_more(rig: Rig) -> None:
    """Four changes within ten minutes are not yet too many; a fifth later is the first of others."""
    incident = rig.fires("DiskFull")
    rig.passes("1m")
    for _ in range(2):
        rig.ends("DiskFull")
        rig.passes("3m")
        rig.fires("DiskFull")
        rig.passes("3m")
    rig.ends("DiskFull")
    assert rig.state(incident) == "resolved"


def test_while_what_flaps_is_quiet_the_next_step_waits(rig: Rig) -> None:
    rig.fires("DiskFull")
    flap(rig, "DiskFull", 2)
    rig.passes("9m")
    assert "team-lead" not in rig.paged()
    rig.fires("DiskFull")
    assert rig.paged()[-1] == "team-lead"


def test_what_flapped_and_then_fires_on_is_flapping_no_more(rig: Rig) -> None:
    incident = rig.fires("DiskFull", "info")
    for _ in range(3):
        rig.passes("30s")
        rig.ends("DiskFull", "info")
        rig.passes("30s")
        rig.fires("DiskFull", "info")
    rig.passes("9m")
    assert "flapping" in rig.roots()[0].words
    rig.passes("2m")
    assert "flapping" not in rig.roots()[0].words
    assert rig.state(incident) == "open"
    rig.ends("DiskFull", "info")
    assert rig.state(incident) == "resolved"


def test_one_alert_that_flaps_in_a_group_is_not_reported_each_time(rig: Rig) -> None:
    group = {"alertname": "DiskFull"}
    rig.posts(rig.alert("DiskFull", host="a"), rig.alert("DiskFull", host="b"), group=group)
    rig.passes("5s")
    for _ in range(12):
        rig.posts(rig.alert("DiskFull", host="b", ended=True, at=rig.clock() - 1), group=group)
        rig.passes("10s")
        rig.posts(rig.alert("DiskFull", host="b"), group=group)
        rig.passes("10s")
    joined = [reply for reply in rig.replies() if "joined" in reply]
    assert len(joined) <= 2
    assert "flapping" in rig.roots()[0].words


def test_acknowledged_while_it_flaps_stays_acknowledged(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    flap(rig, "DiskFull", 2)
    rig.answers(incident, "acknowledge")
    rig.fires("DiskFull")
    rig.passes("9m")
    assert rig.state(incident) == "acknowledged"
    assert "team-lead" not in rig.paged()


def test_resolved_by_hand_while_it_flaps_is_over(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    flap(rig, "DiskFull", 2)
    rig.answers(incident, "resolve")
    rig.passes("1h")
    assert rig.state(incident) == "resolved"
    assert rig.events()[-1] == "resolve"
