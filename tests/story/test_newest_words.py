"""Guarantee 12: a duplicate notifies no one, and later messages have its annotations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from receiver.incidents.store import RedisIncidents
from tests.rig import Rig

GROUP = {"cluster": "eu"}
PERCENT = "Disk at {} %"


def worded(alert: dict[str, Any], summary: str, **annotations: str) -> dict[str, Any]:
    return {**alert, "annotations": {"summary": summary, **annotations}}


def disk(rig: Rig, percent: int, host: str = "db-1", **more: Any) -> dict[str, Any]:
    alert = rig.alert("DiskFilling", instance=f"{host}:9100", at=rig.clock(), **more)
    return worded(alert, PERCENT.format(percent), description=f"{100 - percent} GB left")


@contextmanager
def counted_trips(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Record the calls of ingest to the store."""
    trips: list[str] = []
    for name in ("load_latest", "commit_updates", "save_reworded", "find_owners"):
        whole = getattr(RedisIncidents, name)

        def asked(self: RedisIncidents, *args: Any, _name: str = name, _whole: Any = whole) -> Any:
            trips.append(_name)
            return _whole(self, *args)

        monkeypatch.setattr(RedisIncidents, name, asked)
    yield trips
    monkeypatch.undo()


def summary_of(rig: Rig, incident: str) -> str:
    return str(rig.shows(incident)["summary"])


def listed(rig: Rig, incident: str) -> dict[str, Any]:
    rows = rig.client.get("/api/v1/incidents").json["incidents"]
    return next(row for row in rows if row["id"] == incident)


# --- newest annotations ---


def test_the_page_of_a_further_step_and_an_edit_have_the_newest_annotations(rig: Rig) -> None:
    (incident,) = rig.posts(disk(rig, 91))["incidents"]
    rig.works()
    rig.passes("2m")
    before, trail = rig.visible_output(), rig.shows(incident)["timeline"]
    answer = rig.posts(
        {
            **disk(rig, 99),
            "annotations": {"summary": PERCENT.format(99), "runbook_url": "https://wiki.example.org/disk"},
            "generatorURL": "http://prometheus-2:9090/graph?g0.expr=up",
        }
    )
    rig.works()
    assert (answer["new"], answer["duplicates"]) == (0, 1)
    assert (rig.visible_output(), rig.shows(incident)["timeline"]) == (before, trail)  # no page, no edit
    rig.passes("4m")
    assert rig.paged() == ["on-call", "team-lead"]
    page = rig.pagerduty.triggers()[-1].body["payload"]
    assert PERCENT.format(99) in page["summary"]
    assert (
        page["custom_details"]["alerts"][0]["annotations"]["runbook_url"] == "https://wiki.example.org/disk"
    )
    assert "91 %" not in json.dumps(page)
    rig.answers(incident, "acknowledge")
    assert PERCENT.format(99) in rig.parents()[0].words
    assert "prometheus-2:9090" in rig.parents()[0].words


def test_the_api_returns_them_in_the_list_and_in_the_detail(rig: Rig) -> None:
    (incident,) = rig.posts(disk(rig, 91))["incidents"]
    rig.works()
    updated = listed(rig, incident)["updated_at"]
    rig.posts(disk(rig, 99))
    assert summary_of(rig, incident) == listed(rig, incident)["summary"] == PERCENT.format(99)
    assert rig.shows(incident)["alerts"][0]["annotations"]["description"] == "1 GB left"
    assert listed(rig, incident)["updated_at"] == updated


def test_changed_annotations_alone_are_saved_once_a_minute_for_each_group(rig: Rig) -> None:
    (incident,) = rig.posts(disk(rig, 91))["incidents"]
    rig.posts(disk(rig, 92))
    rig.passes("59s")
    rig.posts(disk(rig, 93))
    assert summary_of(rig, incident) == PERCENT.format(92)
    rig.passes("1s")
    rig.posts(disk(rig, 94))
    assert summary_of(rig, incident) == PERCENT.format(94)
    rig.clock.moment -= 3600  # a clock that was set back delays nothing
    rig.posts(disk(rig, 95))
    assert summary_of(rig, incident) == PERCENT.format(95)


def test_any_other_save_includes_the_newest_annotations(rig: Rig) -> None:
    (incident,) = rig.posts(disk(rig, 91))["incidents"]
    rig.posts(disk(rig, 92))
    rig.posts(disk(rig, 93), disk(rig, 50, host="db-2"))
    rig.works()
    summaries = {alert["annotations"]["summary"] for alert in rig.shows(incident)["alerts"]}
    assert summaries == {PERCENT.format(93), PERCENT.format(50)}
    assert PERCENT.format(93) in rig.parents()[0].words


def test_a_duplicate_costs_one_round_trip_and_one_with_changed_annotations_two(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.posts(disk(rig, 91))
    with counted_trips(monkeypatch) as trips:
        rig.posts(disk(rig, 91))
        assert trips == ["load_latest"]
        rig.posts(disk(rig, 92))
        assert trips[1:] == ["load_latest", "save_reworded"]
        rig.posts(disk(rig, 93))  # within the minute
        assert trips[3:] == ["load_latest"]


def test_changed_annotations_wake_no_worker_and_do_not_change_the_version(rig: Rig) -> None:
    (incident,) = rig.posts(disk(rig, 91))["incidents"]
    rig.works()
    group_id = incident.partition("-")[0]
    key = rig.services.incidents.keys_of(group_id).incident(group_id)
    client = rig.services.incidents._redis
    version = client.hget(key, "v")
    due = client.zrange(rig.services.incidents.keys_of(group_id).queue("pagerduty"), 0, -1, withscores=True)
    rig.posts(disk(rig, 92))
    assert client.hget(key, "v") == version
    assert (
        client.zrange(rig.services.incidents.keys_of(group_id).queue("pagerduty"), 0, -1, withscores=True)
        == due
    )


def test_a_change_between_reading_and_saving_annotations_is_not_undone(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process acknowledges while the annotations of a duplicate are being saved."""
    (incident,) = rig.posts(disk(rig, 91))["incidents"]
    rig.works()
    whole = RedisIncidents.save_reworded

    def interrupted(self: RedisIncidents, writes: Any) -> list[bool]:
        monkeypatch.undo()
        rig.answers(incident, "acknowledge")
        return whole(self, writes)

    monkeypatch.setattr(RedisIncidents, "save_reworded", interrupted)
    answer = rig.posts(disk(rig, 99))
    assert answer["duplicates"] == 1
    assert rig.state(incident) == "acknowledged"
    assert summary_of(rig, incident) == PERCENT.format(99)


def test_two_processes_that_save_annotations_of_one_group_concurrently_lose_no_alert(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reads before the other writes; the next duplicate saves annotations that one overwrote."""
    hosts = [f"db-{n}" for n in range(8)]
    (incident,) = rig.posts(*(disk(rig, 50, host) for host in hosts))["incidents"]
    rig.works()
    whole = RedisIncidents.save_reworded

    def interrupted(self: RedisIncidents, writes: Any) -> list[bool]:
        monkeypatch.undo()
        rig.posts(disk(rig, 71, "db-1"))
        return whole(self, writes)

    monkeypatch.setattr(RedisIncidents, "save_reworded", interrupted)
    rig.posts(disk(rig, 72, "db-2"))
    rig.passes("1m")
    rig.posts(disk(rig, 71, "db-1"), disk(rig, 72, "db-2"))
    summaries = {a["labels"]["instance"]: a["annotations"]["summary"] for a in rig.shows(incident)["alerts"]}
    assert len(summaries) == 8
    assert (summaries["db-1:9100"], summaries["db-2:9100"]) == (PERCENT.format(71), PERCENT.format(72))


def test_a_late_copy_of_the_former_firing_changes_no_annotations(rig: Rig) -> None:
    start_at = rig.clock()
    (incident,) = rig.posts(disk(rig, 91), rig.alert("Other"))["incidents"]
    rig.passes("1m")
    rig.posts(disk(rig, 91, ended=True))
    rig.passes("1m")
    rig.posts(disk(rig, 97))
    rig.posts({**disk(rig, 91), "startsAt": rig.alert("x", at=start_at)["startsAt"]})
    texts = [a["annotations"]["summary"] for a in rig.shows(incident)["alerts"]]
    assert PERCENT.format(97) in texts


@pytest.mark.parametrize("changed", [1, 4, 20, 60])
def test_annotations_that_change_for_hours_are_stored_once(rig: Rig, changed: int) -> None:
    """Alerts that arrived together are stored together; changed annotations replace them there."""
    hosts = [f"db-{n}" for n in range(60)]
    (incident,) = rig.posts(*(disk(rig, 10, host) for host in hosts))["incidents"]
    rig.works()
    group_id = incident.partition("-")[0]
    client, key = rig.services.incidents._redis, rig.services.incidents.keys_of(group_id).incident(group_id)
    first = client.memory_usage(key, samples=0)
    for number in range(11, 40):
        rig.clock.moment += 60
        start = number % 7
        moved = hosts[start : start + changed]
        rig.posts(*(disk(rig, number if host in moved else 10, host) for host in hosts))
        if number % 10 == 0:  # a change of state, which saves annotations into separate fields
            rig.posts(disk(rig, 10, f"extra-{number}"), *(disk(rig, number + 1, host) for host in moved))
    assert client.memory_usage(key, samples=0) < first * 1.35
    summaries = {a["labels"]["instance"]: a["annotations"]["summary"] for a in rig.shows(incident)["alerts"]}
    assert summaries[f"{hosts[start]}:9100"] == PERCENT.format(39)
    assert len(summaries) == 62


def test_a_stored_alert_is_little_larger_than_its_json(rig: Rig) -> None:
    client = rig.services.incidents._redis
    before, size = client.info("memory")["used_memory"], 0
    for _ in range(3):  # the second and third time with other annotations
        rig.clock.moment += 61
        for number in range(10):
            alerts = [_crash(rig, number, pod) for pod in range(100)]
            size += len(json.dumps(alerts, separators=(",", ":")))
            rig.posts(*alerts, group={"alertname": "KubePodCrashLooping", "group": str(number)})
    assert client.info("memory")["used_memory"] - before <= 1.35 * size / 3


def _crash(rig: Rig, number: int, pod: int) -> dict[str, Any]:
    labels = {"namespace": f"team-{number}", "pod": f"checkout-{pod:05d}-abcde", "container": "app"}
    alert = rig.alert(
        "KubePodCrashLooping", "warning", cluster="eu-west-1", job="kube-state-metrics", **labels
    )
    return worded(
        alert,
        f"Pod {labels['pod']} restarts",
        description=f"It restarted 12 times by {rig.clock()} and waits in CrashLoopBackOff.",
        runbook_url="https://runbooks.example.org/KubePodCrashLooping",
    )


# --- headlines that fit the group ---


def test_headline_thread_and_next_page_name_a_firing_alert(rig: Rig) -> None:
    node = worded(rig.alert("KubeNodeNotReady", node="n1"), "Node n1 is not ready")
    replica = worded(rig.alert("PostgresReplicaLag", pod="pg-2"), "pg-2 lags by 900 s")
    (incident,) = rig.posts(node, replica, group=GROUP)["incidents"]
    rig.works()
    row = rig.shows(incident)
    first = row["alertname"]
    assert "(+1)" in rig.parents()[0].words.splitlines()[0]
    assert "(+1)" in row["summary"]
    page = rig.pagerduty.triggers()[0].body["payload"]
    lead = {"KubeNodeNotReady": ("Node n1 is not ready", "n1"), "PostgresReplicaLag": ("pg-2 lags", "pg-2")}
    assert first in page["summary"]
    assert lead[first][0] in page["summary"]
    assert (page["class"], page["source"]) == (first, lead[first][1])
    rig.passes("2m")
    ended = {"status": "resolved", "endsAt": rig.alert("x", ended=True)["endsAt"]}
    rig.posts({**node, **ended}, replica, group=GROUP)
    rig.passes("5m")
    head = rig.parents()[0].words.splitlines()[0]
    assert "PostgresReplicaLag" in head
    assert "KubeNodeNotReady" not in head
    assert "PostgresReplicaLag" in rig.replies()[-1]
    page = rig.pagerduty.triggers()[-1].body["payload"]
    assert page["summary"] == "[CRITICAL] PostgresReplicaLag: pg-2 lags by 900 s"
    assert (page["class"], page["source"]) == ("PostgresReplicaLag", "pg-2")
    for row in (rig.shows(incident), listed(rig, incident)):
        assert (row["alertname"], row["summary"]) == ("PostgresReplicaLag", "pg-2 lags by 900 s")
    assert rig.client.get("/api/v1/incidents?alertname=PostgresReplicaLag").json["incidents"]


def test_five_hosts_are_counted_and_one_of_them_is_named(rig: Rig) -> None:
    alerts = [
        worded(rig.alert("DiskFull", instance=f"db-{n}:9100"), f"Disk / on db-{n} is 9{n}% full")
        for n in range(5)
    ]
    (incident,) = rig.posts(*alerts)["incidents"]
    rig.works()
    page = rig.pagerduty.triggers()[0].body["payload"]
    host = page["source"].partition(":")[0]
    assert host == "db-0"  # as in the message, which lists them ordered by labels
    assert page["summary"] == f"[CRITICAL] DiskFull: Disk / on {host} is 9{host[-1]}% full (+4)"
    summary = f"Disk / on {host} is 9{host[-1]}% full (+4)"
    assert summary in rig.parents()[0].words
    assert summary_of(rig, incident) == listed(rig, incident)["summary"] == summary


def test_equal_summaries_are_not_counted_as_different(rig: Rig) -> None:
    alerts = [worded(rig.alert("DiskFull", instance=f"db-{n}"), "A disk is filling up") for n in range(3)]
    (incident,) = rig.posts(*alerts)["incidents"]
    rig.works()
    assert summary_of(rig, incident) == "A disk is filling up"
    assert rig.pagerduty.triggers()[0].body["payload"]["summary"].endswith("A disk is filling up (+2)")


def test_a_resolved_incident_shows_the_annotations_of_its_last_alert(rig: Rig) -> None:
    (incident,) = rig.posts(disk(rig, 91), rig.alert("Other", "warning"), group=GROUP)["incidents"][:1]
    rig.passes("1m")
    rig.posts(disk(rig, 97, ended=True), group=GROUP)
    rig.works()
    assert rig.state(incident) == "resolved"
    assert summary_of(rig, incident) == listed(rig, incident)["summary"] == PERCENT.format(97)
    assert PERCENT.format(97) in rig.parents()[0].words


def test_the_list_names_a_firing_alert_that_is_not_in_the_payload(rig: Rig) -> None:
    """The payload has only the resolved alert: the worker, which has all alerts, saves the summary."""
    first = worded(rig.alert("First", at=rig.clock() - 60), "First is bad")
    second = worded(rig.alert("Second"), "Second is bad")
    (incident,) = rig.posts(first, second, group=GROUP)["incidents"]
    rig.works()
    rig.passes("1m")
    ended = {"status": "resolved", "endsAt": rig.alert("x", ended=True)["endsAt"]}
    rig.posts({**first, **ended}, group=GROUP)
    rig.works()
    row = listed(rig, incident)
    assert (row["alertname"], row["summary"]) == ("Second", "Second is bad")
    assert rig.works(()) is None


def test_a_joined_reply_names_the_joined_alerts(rig: Rig) -> None:
    rig.posts(rig.alert("First", at=rig.clock() - 60), group=GROUP)
    rig.works()
    rig.posts(rig.alert("First", at=rig.clock() - 60), rig.alert("Second"), group=GROUP)
    rig.works()
    assert "1 alert joined · Second" in rig.replies()[-1]


# --- alerts that Alertmanager truncated ---


def test_truncated_alerts_are_in_the_totals_of_message_and_page(rig: Rig) -> None:
    alerts = [worded(rig.alert("HostDown", instance=f"h{n}"), f"h{n} is down") for n in range(2)]
    (incident,) = rig.posts(*alerts, truncatedAlerts=498)["incidents"]
    rig.works()
    assert "2 of 500" in rig.parents()[0].words.splitlines()[0]
    assert "498 more left out by Alertmanager" in rig.parents()[0].words
    payload = rig.pagerduty.triggers()[0].body["payload"]
    assert "2 of 500" in payload["summary"]
    assert (payload["custom_details"]["total"], payload["custom_details"]["truncated"]) == (500, 498)
    row = rig.shows(incident)
    assert (row["firing"], row["total"], row["truncated"]) == (2, 500, 498)
    assert listed(rig, incident)["total"] == 500


def test_truncated_alerts_that_are_known_already_are_not_counted_again(rig: Rig) -> None:
    alerts = [rig.alert("HostDown", instance=f"h{n}") for n in range(5)]
    (incident,) = rig.posts(*alerts)["incidents"]
    rig.posts(*alerts[:2], truncatedAlerts=3)
    assert rig.shows(incident)["total"] == 5
    rig.clock.moment += 61
    rig.posts(*alerts[:2], truncatedAlerts=10)
    assert (rig.shows(incident)["total"], rig.shows(incident)["truncated"]) == (12, 7)
    rig.clock.moment += 61
    rig.posts(*alerts)
    assert (rig.shows(incident)["total"], rig.shows(incident)["truncated"]) == (5, 0)


@pytest.mark.parametrize("odd", ["498", 1e300, 10**40, 0.5, "many", -3, None, True])
def test_an_invalid_number_of_truncated_alerts_causes_no_error(rig: Rig, odd: object) -> None:
    (incident,) = rig.posts(rig.alert("HostDown"), truncatedAlerts=odd)["incidents"]
    rig.works()
    assert 1 <= rig.shows(incident)["total"] <= 1_000_001
    assert rig.paged() == ["on-call"]


def test_a_resolve_without_annotations_keeps_the_summary(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    summary = rig.shows(incident)["summary"]
    rig.posts({**rig.alert("DiskFull", ended=True), "annotations": {}})
    rig.passes("10s")
    assert rig.state(incident) == "resolved"
    (row,) = rig.client.get("/api/v1/history").json["incidents"]
    assert row["summary"] == rig.shows(incident)["summary"] == summary != ""
    assert summary in rig.parents()[0].words
