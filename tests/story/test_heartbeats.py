"""The dead man's switch: an alert that must arrive regularly, and what happens when it is missing."""

from __future__ import annotations

import pytest

from tests.rig import ROUTING, Rig

HEARTBEATS = """
heartbeats:
  - {match: ['alertname="Watchdog"'], every: 5m, grace: 2m, notify: team-lead}
"""


def send_heartbeat(rig: Rig, source: str = "", **labels: str) -> dict[str, object]:
    answer = rig.posts(rig.alert("Watchdog", "none", at=rig.clock() - 1e6, **labels), source=source)
    rig.works()
    return answer


def send_heartbeats_for(rig: Rig, minutes: int, source: str = "") -> None:
    for _ in range(minutes // 5):
        rig.passes("5m")
        send_heartbeat(rig, source)


def missing(rig: Rig, state: str = "open") -> list[dict[str, object]]:
    rows = rig.client.get(f"/api/v1/incidents?state={state}").json["incidents"]
    return [row for row in rows if row["alertname"] == "HeartbeatMissing"]


def configure(rig: Rig, text: str = ROUTING + HEARTBEATS) -> None:
    rig.configure(text)
    rig.reconcilers.periodic_tasks.enqueue_all(rig.services.work_queue)
    rig.works()


@pytest.fixture
def rig(rig: Rig) -> Rig:
    configure(rig)
    return rig


def test_a_heartbeat_is_monitored_from_its_first_signal_on(rig: Rig) -> None:
    rig.passes("2h")
    assert missing(rig) == []
    assert rig.triggered() == []


def test_a_signal_is_a_duplicate_and_no_incident(rig: Rig) -> None:
    answer = send_heartbeat(rig)
    assert answer == {"alerts": 1, "new": 0, "duplicates": 1, "resolved": 0, "rejected": 0, "incidents": []}
    assert rig.parents() == []


def test_while_signals_arrive_nothing_is_sent(rig: Rig) -> None:
    send_heartbeat(rig)
    send_heartbeats_for(rig, 30)
    assert rig.parents() == []
    assert rig.triggered() == []


def test_when_a_heartbeat_stops_its_responder_is_paged_after_every_and_grace(rig: Rig) -> None:
    send_heartbeat(rig)
    rig.passes("6m59s")
    assert rig.triggered() == []
    rig.passes("1s")
    assert rig.triggered() == ["team-lead"]
    rig.passes("30m")
    assert rig.triggered() == ["team-lead"]


def test_the_message_names_the_heartbeat_its_source_and_its_last_signal(rig: Rig) -> None:
    send_heartbeat(rig, "eu")
    rig.passes("7m1s")
    (message,) = rig.parents()
    for words in ('alertname="Watchdog"', "eu", "2026-11-23 12:00:00 UTC", "every 5m", "Check that"):
        assert words in message.words
    assert missing(rig)[0]["channel"] == "#alerts-critical"


def test_the_next_signal_resolves_the_incident_at_once(rig: Rig) -> None:
    send_heartbeat(rig)
    rig.passes("20m")
    (row,) = missing(rig)
    send_heartbeat(rig)
    assert rig.state(str(row["id"])) == "resolved"
    assert rig.events("team-lead") == ["trigger", "resolve"]
    rig.passes("2s")
    assert "Resolved" in rig.parents()[0].words


def test_a_heartbeat_can_stop_again(rig: Rig) -> None:
    send_heartbeat(rig)
    rig.passes("30m")
    send_heartbeat(rig)
    send_heartbeats_for(rig, 15)
    rig.passes("8m")
    assert rig.triggered() == ["team-lead", "team-lead"]
    assert len(missing(rig, "")) == 2


def test_each_source_has_its_own_heartbeat(rig: Rig) -> None:
    send_heartbeat(rig, "eu")
    send_heartbeat(rig, "us")
    send_heartbeats_for(rig, 10, "eu")
    (row,) = missing(rig)
    assert row["group_labels"]["source"] == "us"


def test_the_resolve_of_the_alert_is_no_signal(rig: Rig) -> None:
    send_heartbeat(rig)
    rig.passes("5m")
    rig.posts(rig.alert("Watchdog", "none", ended=True, at=rig.clock() - 1e6))
    rig.passes("2m")
    assert rig.triggered() == ["team-lead"]


def test_signals_do_not_change_other_alerts_of_the_payload(rig: Rig) -> None:
    answer = rig.posts(rig.alert("Watchdog", "none"), rig.alert("DiskFull"), group={})
    assert (answer["new"], answer["duplicates"], len(answer["incidents"])) == (1, 1, 1)
    rig.works()
    rig.passes("8m")
    assert sorted(rig.triggered()) == ["on-call", "team-lead", "team-lead"]


def test_an_acknowledged_missing_heartbeat_stays_acknowledged_and_resolves_automatically(rig: Rig) -> None:
    send_heartbeat(rig)
    rig.passes("10m")
    incident = str(missing(rig)[0]["id"])
    rig.answers(incident, "acknowledge")
    rig.passes("20m")
    assert rig.state(incident) == "acknowledged"
    send_heartbeat(rig)
    assert rig.state(incident) == "resolved"


def test_after_a_manual_resolve_nothing_is_sent_until_the_next_signal(rig: Rig) -> None:
    """This is also how a source that was removed is closed."""
    send_heartbeat(rig)
    rig.passes("10m")
    rig.answers(str(missing(rig)[0]["id"]), "resolve")
    rig.passes("20m")
    rig.clock.moment += 100 * 86400
    rig.passes("20m")
    assert rig.triggered() == ["team-lead"]
    send_heartbeat(rig)
    rig.passes("6m")
    assert missing(rig) == []
    rig.passes("2m")
    assert rig.triggered() == ["team-lead", "team-lead"]


def test_after_an_outage_of_the_receiver_every_source_has_its_full_time_again(rig: Rig) -> None:
    send_heartbeat(rig)
    rig.clock.moment += 3600  # no worker was running
    rig.works()
    rig.passes("6m50s")
    assert rig.triggered() == []
    rig.passes("11s")
    assert rig.triggered() == ["team-lead"]


def test_an_outage_of_the_receiver_resolves_nothing(rig: Rig) -> None:
    send_heartbeat(rig)
    rig.passes("10m")
    (row,) = missing(rig)
    rig.clock.moment += 3600
    rig.works()
    rig.passes("5m")
    assert missing(rig)[0]["id"] == row["id"]
    assert rig.state(str(row["id"])) == "open"
    rig.passes("20m")
    assert rig.triggered() == ["team-lead"]


def test_after_a_loss_of_all_data_a_heartbeat_is_monitored_from_its_first_signal_on(
    rig: Rig, redis_client
) -> None:
    send_heartbeat(rig)
    redis_client.flushall()
    rig.reconcilers.periodic_tasks.enqueue_all(rig.services.work_queue)
    rig.passes("2h")
    assert rig.triggered() == []


def test_after_a_clock_was_set_back_missing_signals_are_still_noticed(rig: Rig) -> None:
    send_heartbeat(rig)
    rig.clock.moment -= 3600
    rig.reconcilers.periodic_tasks.enqueue_all(rig.services.work_queue)
    rig.works()
    rig.passes("6m59s")
    assert rig.triggered() == []
    rig.passes("1m")
    assert rig.triggered() == ["team-lead"]


def test_a_missing_signal_after_the_clock_was_set_back_behind_the_last_one_opens_an_incident(
    rig: Rig,
) -> None:
    send_heartbeat(rig)
    rig.passes("10m")
    send_heartbeat(rig)
    rig.passes("1s")
    rig.clock.moment -= 3600
    rig.reconcilers.periodic_tasks.enqueue_all(rig.services.work_queue)
    rig.works()
    send_heartbeat(rig)
    rig.passes("10m")
    assert len(missing(rig)) == 1


def test_removing_a_heartbeat_resolves_its_incident_with_the_reason(rig: Rig) -> None:
    send_heartbeat(rig)
    rig.passes("10m")
    incident = str(missing(rig)[0]["id"])
    configure(rig, ROUTING)
    assert rig.state(incident) == "resolved"
    assert "no longer in the configuration" in str(rig.shows(incident)["timeline"])
    assert rig.pagerduty.still_open() == []


def test_a_heartbeat_that_is_added_again_is_monitored_from_its_first_signal_on(rig: Rig) -> None:
    send_heartbeat(rig)
    configure(rig, ROUTING)
    configure(rig)
    rig.passes("2h")
    assert rig.triggered() == []


def test_a_heartbeat_whose_channel_changed_has_one_incident(rig: Rig) -> None:
    send_heartbeat(rig)
    rig.passes("10m")
    configure(rig, (ROUTING + HEARTBEATS).replace("#alerts-critical", "#elsewhere"))
    send_heartbeat(rig)
    assert missing(rig) == []
    assert len(missing(rig, "resolved")) == 1


def test_the_number_of_sources_is_bounded(rig: Rig) -> None:
    listed = ", ".join(f's{number}: {{url: ""}}' for number in range(210))
    configure(rig, ROUTING + HEARTBEATS + f"alertmanagers: {{{listed}}}\n")
    for number in range(210):
        rig.posts(rig.alert("Watchdog", "none"), source=f"s{number}")
    rig.passes("1m")
    assert len(rig.services.heartbeat_store.list_signals()) == 200


def test_in_maintenance_a_missing_heartbeat_is_paged_at_its_end(rig: Rig) -> None:
    send_heartbeat(rig)
    rig.client.post("/api/v1/maintenance", json={"for": "1h"})
    rig.passes("59m")
    assert len(missing(rig)) == 1
    assert rig.triggered() == []
    rig.passes("1m")
    assert rig.triggered() == ["team-lead"]


def test_two_workers_that_check_concurrently_open_one_incident(rig: Rig) -> None:
    send_heartbeat(rig)
    rig.clock.moment += 50
    rig.works()
    for _ in range(8):
        rig.clock.moment += 55
        rig.reconcilers.periodic_tasks.reconcile("heartbeats", "tasks", "a")
        rig.reconcilers.periodic_tasks.reconcile("heartbeats", "tasks", "b")
    rig.works()
    assert len(missing(rig)) == 1
    assert rig.triggered() == ["team-lead"]


def test_a_worker_killed_between_recording_the_miss_and_opening_the_incident_opens_it_the_next_time(
    rig: Rig,
) -> None:
    send_heartbeat(rig)
    (signal,) = rig.services.heartbeat_store.list_signals()
    rig.services.heartbeat_store.record_missed(signal)
    rig.passes("8m")
    assert rig.triggered() == ["team-lead"]


# --- sources ---


def notices(rig: Rig) -> list[str]:
    return [parent.text for parent in rig.parents() if parent.channel == "#monitoring"]


def test_made_up_sources_page_at_most_eight_times_a_day_with_one_notice(rig: Rig) -> None:
    configure(rig, ROUTING + HEARTBEATS + 'notices: {channel: "#monitoring"}\n')
    for n in range(40):
        assert send_heartbeat(rig, f"invented-{n}")["incidents"] == []
    rig.passes("20m")
    assert len(missing(rig)) == 8
    assert len(rig.paged()) == 8
    (notice,) = notices(rig)
    assert "Heartbeats from the source invented-8 do not count: 8 new sources came within a day" in notice
    assert "`alertmanagers`" in notice


def test_a_known_source_is_monitored_however_many_are_made_up(rig: Rig) -> None:
    send_heartbeat(rig, "eu")
    for n in range(40):
        send_heartbeat(rig, f"invented-{n}")
    send_heartbeats_for(rig, 10, "eu")
    rig.passes("10m")
    assert "eu" in [rig.shows(str(row["id"]))["source"] for row in missing(rig)]


def test_the_next_day_further_sources_are_monitored(rig: Rig) -> None:
    for n in range(9):
        send_heartbeat(rig, f"source-{n}")
    rig.passes("24h1m", every="1h")
    send_heartbeat(rig, "source-9")
    rig.passes("20m")
    assert "source-9" in [rig.shows(str(row["id"]))["source"] for row in missing(rig)]
    assert "source-8" not in [rig.shows(str(row["id"]))["source"] for row in missing(rig)]


def test_if_alertmanagers_are_configured_only_these_are_monitored(rig: Rig) -> None:
    listed = """
alertmanagers: {eu: {url: "http://127.0.0.1:1"}, us: {url: ""}}
notices: {channel: "#monitoring"}
"""
    configure(rig, ROUTING + HEARTBEATS + listed)
    for source in ("eu", "us", "", "invented"):
        assert send_heartbeat(rig, source)["incidents"] == []
    rig.passes("20m")
    assert sorted(rig.shows(str(row["id"]))["source"] for row in missing(rig)) == ["eu", "us"]
    (notice,) = notices(rig)
    assert "do not count: it is not in `alertmanagers`" in notice
