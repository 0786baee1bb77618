"""An alert that changes its state too often: one message, no new page, resolved after a quiet flap window."""

from __future__ import annotations

from tests.rig import Rig


def flap(rig: Rig, name: str, times: int, **labels: str) -> None:
    """Let a firing alert resolve and fire again *times* times, half a minute each, and resolve at last."""
    for _ in range(times):
        rig.passes("30s")
        rig.ends(name, **labels)
        rig.passes("30s")
        rig.fires(name, **labels)
    rig.passes("30s")
    rig.ends(name, **labels)


def test_a_flapping_alert_is_one_open_message_until_it_was_quiet_for_the_flap_window(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    flap(rig, "DiskFull", 2)
    rig.passes("9m55s")
    assert rig.state(incident) == "open"
    assert "flapping" in rig.parents()[0].words
    rig.passes("10s")
    assert rig.state(incident) == "resolved"
    assert len(rig.parents()) == 1
    assert "resolved" in rig.parents()[0].words.lower()
    assert rig.events()[-1] == "resolve"


def test_a_flapping_alert_causes_no_new_page_and_no_replies(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.answers(incident, "acknowledge")
    flap(rig, "DiskFull", 2)
    rig.answers(incident, "acknowledge")  # the former acknowledgement ended with the resolve
    pages, replies = rig.triggered(), len(rig.replies())
    for _ in range(10):
        rig.passes("1m")
        rig.fires("DiskFull")
        rig.passes("1s")
        rig.ends("DiskFull")
    assert rig.triggered() == pages == ["on-call"] * 3
    assert len(rig.replies()) == replies


def test_an_unacknowledged_flapping_incident_escalates_and_pages_each_responder_once(rig: Rig) -> None:
    rig.fires("DiskFull")
    flap(rig, "DiskFull", 2)
    for _ in range(30):
        rig.passes("30s")
        rig.fires("DiskFull")
        rig.passes("30s")
        rig.ends("DiskFull")
    assert rig.paged() == ["on-call"] * 3 + ["team-lead", "manager"]


def test_a_flapping_alert_opens_no_new_incident_however_long_it_flaps(rig: Rig) -> None:
    first = rig.fires("DiskFull")
    flap(rig, "DiskFull", 40)
    assert rig.fires("DiskFull") == first
    assert len(rig.parents()) == 1


def test_a_change_after_the_window_is_not_counted(rig: Rig) -> None:
    """Four changes within ten minutes are not yet flapping; a fifth one later starts a new count."""
    incident = rig.fires("DiskFull")
    rig.passes("1m")
    for _ in range(2):
        rig.ends("DiskFull")
        rig.passes("3m")
        rig.fires("DiskFull")
        rig.passes("3m")
    rig.ends("DiskFull")
    assert rig.state(incident) == "resolved"


def test_while_a_flapping_alert_is_quiet_the_next_step_waits(rig: Rig) -> None:
    rig.fires("DiskFull")
    flap(rig, "DiskFull", 2)
    rig.passes("9m")
    assert "team-lead" not in rig.paged()
    rig.fires("DiskFull")
    assert rig.paged()[-1] == "team-lead"


def test_an_alert_that_fires_continuously_is_not_flapping_any_more(rig: Rig) -> None:
    incident = rig.fires("DiskFull", "info")
    for _ in range(3):
        rig.passes("30s")
        rig.ends("DiskFull", "info")
        rig.passes("30s")
        rig.fires("DiskFull", "info")
    rig.passes("9m")
    assert "flapping" in rig.parents()[0].words
    rig.passes("2m")
    assert "flapping" not in rig.parents()[0].words
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
    assert "flapping" in rig.parents()[0].words


def test_an_acknowledgement_of_a_flapping_incident_stays(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    flap(rig, "DiskFull", 2)
    rig.answers(incident, "acknowledge")
    rig.fires("DiskFull")
    rig.passes("9m")
    assert rig.state(incident) == "acknowledged"
    assert "team-lead" not in rig.paged()


def test_a_flapping_incident_can_be_resolved_manually(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    flap(rig, "DiskFull", 2)
    rig.answers(incident, "resolve")
    rig.passes("1h")
    assert rig.state(incident) == "resolved"
    assert rig.events()[-1] == "resolve"
