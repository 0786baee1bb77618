"""Permanent failures are listed, counted, shown, and sent again on request."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.incidents.failures import delivery_id, retry_by_request
from receiver.model.incident import Person
from tests.rig import ROUTING, Rig
from tests.story.outage import NOTICES, in_channel, with_fallback

CRITICAL = "#alerts-critical"


def failed(rig: Rig, **query: str) -> list[dict[str, Any]]:
    answer = rig.client.get("/api/v1/deliveries", query_string={"state": "failed", **query})
    assert answer.status_code == 200, answer.text
    return list(answer.json["deliveries"])


def retry(rig: Rig, failure_id: str, by: str = "alice") -> dict[str, Any]:
    answer = rig.client.post(f"/api/v1/deliveries/{failure_id}/retry", json={"by": by})
    assert answer.status_code == 200, answer.text
    rig.works()
    return dict(answer.json)


def retry_all(rig: Rig) -> None:
    for row in failed(rig, limit="200"):
        retry(rig, row["id"])


def unarchive(rig: Rig, channel: str = CRITICAL) -> None:
    rig.slack.workspace.archived.discard(channel.lstrip("#"))


def test_a_permanent_failure_is_listed_counted_and_shown(rig: Rig) -> None:
    rig.slack.archive(CRITICAL)
    incident = rig.fires("DiskFull")
    (row,) = failed(rig)
    assert row["failed_at"].startswith("2026-11-23T12:00:00")
    assert {name: row[name] for name in row if name != "failed_at"} == {
        "id": delivery_id(incident, "message"),
        "incident": incident,
        "alertname": "DiskFull",
        "severity": "critical",
        "target": f"slack:{CRITICAL}",
        "what": "message",
        "state": "failed",
        "reason": "is_archived",
        "detail": None,
        "attempts": 1,
    }
    assert "receiver_failed_deliveries 1.0" in rig.client.get("/metrics").text
    assert "is_archived" in rig.client.get(f"/incidents/{incident}").text
    assert f'/incidents/{incident}#deliveries">DiskFull: the message</a>' in rig.client.get("/").text


def test_a_retried_delivery_arrives_and_leaves_the_list(rig: Rig) -> None:
    rig.slack.archive(CRITICAL)
    incident = rig.fires("DiskFull")
    unarchive(rig)
    assert retry(rig, failed(rig)[0]["id"])["state"] == "pending"
    assert len(rig.parents()) == 1
    assert failed(rig) == []
    assert "receiver_failed_deliveries 0.0" in rig.client.get("/metrics").text
    event = next(e for e in rig.shows(incident)["timeline"] if e["what"] == "retried")
    assert event["by"] == "alice"


def test_when_the_channel_is_restored_everything_is_delivered(rig: Rig) -> None:
    rig.slack.archive(CRITICAL)
    rig.refuses("on-call")
    for n in range(7):
        rig.fires(f"DiskFull{n}")
    assert len(failed(rig)) == 14
    unarchive(rig)
    rig.pagerduty.routing_keys = None
    retry_all(rig)
    rig.passes("1m")
    assert failed(rig) == []
    assert len(in_channel(rig, CRITICAL)) == 7
    assert rig.paged() == ["on-call"] * 7


def test_two_retry_requests_send_once(rig: Rig) -> None:
    rig.slack.archive(CRITICAL)
    rig.posts(rig.alert("DiskFull"))
    rig.works()
    (row,) = failed(rig)
    unarchive(rig)
    failure = rig.services.failures.get_failure(row["id"])
    retry(rig, row["id"])
    retry(rig, row["id"])
    assert len(rig.parents()) == 1
    # A process that loaded the failure before it was sent, and saves only now.
    again, event = retry_by_request(failure, Person("bob"), rig.clock())
    assert not rig.services.failures.retry_delivery(failure, again, event, rig.clock())
    rig.works()
    assert len(rig.parents()) == 1


def test_a_retry_that_fails_is_listed_again_and_reported_once(rig: Rig) -> None:
    rig.configure(NOTICES + ROUTING)
    rig.slack.archive(CRITICAL)
    rig.fires("DiskFull")
    rig.passes("1m")
    retry_all(rig)
    rig.passes("1h")
    (row,) = failed(rig)
    assert row["attempts"] == 2
    assert len(in_channel(rig, "#monitoring")) == 1


def test_a_page_that_is_no_longer_needed_only_leaves_the_list(rig: Rig) -> None:
    rig.refuses("on-call")
    rig.fires("DiskFull")
    rig.ends("DiskFull")
    rig.pagerduty.routing_keys = None
    retry_all(rig)
    rig.passes("1m")
    assert failed(rig) == []
    assert rig.paged() == []


def test_a_delivery_that_was_perhaps_sent_is_searched_before_the_retry(rig: Rig) -> None:
    rig.slack.drop_answer("chat.postMessage")
    rig.slack.fail_next("chat.postMessage", error="is_archived")
    rig.slack.fail_next(
        "conversations.list", status=503, times=20
    )  # Slack is searched for 15 s, then posted to
    rig.posts(rig.alert("DiskFull"))
    rig.passes("30s")
    assert len(failed(rig)) == 1
    rig.slack.heal()
    retry_all(rig)
    rig.passes("1m")
    assert len(rig.parents()) == 1
    assert failed(rig) == []


def test_the_incidents_own_message_replaces_the_fallback_message(rig: Rig) -> None:
    rig.slack.workspace.add_channel("#ops")
    rig.configure(with_fallback("#ops"))
    rig.slack.archive(CRITICAL)
    incident = rig.fires("DiskFull")
    rig.passes("10s")
    unarchive(rig)
    retry_all(rig)
    rig.passes("10s")
    rig.answers(incident, "acknowledge", "alice")
    rig.passes("10s")
    (own,), (stood_in,) = in_channel(rig, CRITICAL), in_channel(rig, "#ops")
    assert "Acknowledged by alice" in own.text
    assert f"|{CRITICAL}>" in stood_in.words
    assert "goes on in" in stood_in.words
    assert stood_in.buttons == {}
    assert own.buttons


def test_the_list_has_pages(rig: Rig) -> None:
    rig.slack.archive(CRITICAL)
    for n in range(5):
        rig.fires(f"DiskFull{n}")
    seen, cursor = [], ""
    for _ in range(5):
        answer = rig.client.get("/api/v1/deliveries", query_string={"limit": "2", "cursor": cursor}).json
        seen += [row["alertname"] for row in answer["deliveries"]]
        cursor = answer["next_cursor"] or ""
        if not cursor:
            break
    assert sorted(seen) == [f"DiskFull{n}" for n in range(5)]


@pytest.mark.parametrize("failure_id", ["nobody-knows.00000000", "x", "a.b.c"])
def test_an_unknown_delivery_is_not_found(rig: Rig, failure_id: str) -> None:
    answer = rig.client.post(f"/api/v1/deliveries/{failure_id}/retry", json={})
    assert (answer.status_code, answer.json["error"]["type"]) == (404, "not_found")


def test_only_failed_deliveries_can_be_listed(rig: Rig) -> None:
    answer = rig.client.get("/api/v1/deliveries?state=pending")
    assert answer.status_code == 400
    assert "expected failed" in answer.json["error"]["message"]
