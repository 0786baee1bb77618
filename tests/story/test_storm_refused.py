"""A storm page that failed permanently: its incidents get the same fallback as single ones, sent once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from receiver.app.worker import build_reconcilers
from tests.mocks.slack_workspace import SlackMessage
from tests.rig import ROUTING, Rig
from tests.story.outage import NOTICES, in_channel, with_fallback
from tests.story.test_storms import (
    EVENTS_A_MINUTE,
    LIMITS,
    MANY,
    fire_groups,
    pages,
    resolve_groups,
    storm,
    summaries,
)

CRITICAL = "#alerts-critical"
OPS = "#ops"


@pytest.fixture(autouse=True)
def vendor_limits(rig: Rig) -> Iterator[None]:
    rig.slack.workspace.add_channel(OPS)
    rig.slack.workspace.add_channel("#monitoring")
    rig.slack.enforce_limits()
    rig.pagerduty.enforce_limits(EVENTS_A_MINUTE)
    configure(rig, NOTICES + ROUTING)
    yield
    assert rig.slack.limited == []
    assert rig.pagerduty.limited == []


def configure(rig: Rig, text: str) -> None:
    rig.configure(text + LIMITS)
    rig.reconcilers = build_reconcilers(rig.services)


def refused_after_the_first(rig: Rig) -> list[str]:
    """Fire many groups, the first of which are paged one by one, and refuse the routing key from then on."""
    ids = fire_groups(rig)
    rig.passes("1s")
    rig.refuses("on-call")
    rig.passes("20s")
    return ids


def in_the_storms_thread(rig: Rig) -> list[SlackMessage]:
    (summary,) = summaries(rig)
    return [reply for reply in rig.slack.replies() if reply.thread_ts == summary.ts]


def failed(rig: Rig) -> list[dict[str, Any]]:
    return list(rig.client.get("/api/v1/deliveries?state=failed&limit=200").json["deliveries"])


def test_the_failed_delivery_names_its_responder(rig: Rig) -> None:
    ids = refused_after_the_first(rig)
    rows = failed(rig)
    singles = rig.paged().count("on-call")
    assert len(rows) == MANY - singles
    assert {row["target"] for row in rows} == {"pagerduty:on-call"}
    assert {row["reason"] for row in rows} == {"invalid_routing_key"}
    details = rig.shows(next(one for one in ids if one == rows[0]["incident"]))
    texts = [event["text"] for event in details["timeline"]]
    assert "Page to pagerduty:on-call failed permanently: invalid_routing_key" in texts


def test_the_failure_is_shown_by_status_metrics_and_one_notice(rig: Rig) -> None:
    refused_after_the_first(rig)
    rig.passes("2m")
    assert rig.client.get("/api/v1/status").json["channels"]["pagerduty"]["state"] == "failing"
    count = len(failed(rig))
    assert f"receiver_failed_deliveries {count}.0" in rig.client.get("/metrics").text
    (notice,) = in_channel(rig, "#monitoring")
    assert notice.words.count("Page to pagerduty:on-call failed permanently: invalid_routing_key") == 1
    assert f"{count} incidents" in notice.words


def test_the_thread_of_the_storm_has_one_mention(rig: Rig) -> None:
    refused_after_the_first(rig)
    rig.passes("1m")
    (said,) = [reply for reply in in_the_storms_thread(rig) if "PagerDuty can't be reached" in reply.words]
    assert said.pings == ["!here"]
    assert "On-call" in said.words


def test_the_mention_notifies_the_step_of_each_incident_and_the_next_is_due_on_time(rig: Rig) -> None:
    ids = refused_after_the_first(rig)
    rig.passes("1m")
    for one in ids:
        first, second, _ = rig.shows(one)["escalation"]["steps"]
        assert (first["state"], second["state"]) == ("notified", "waiting")
    rig.passes("6m", every="3s")
    assert len(pages(rig, "team-lead")) == 1


def test_the_fallback_responder_is_paged_once_for_all_incidents(rig: Rig) -> None:
    configure(rig, NOTICES + with_fallback("manager"))
    refused_after_the_first(rig)
    rig.passes("1m")
    (page,) = pages(rig, "manager")
    count = len(failed(rig))
    assert f"{count} incidents" in page["payload"]["summary"]
    assert rig.paged().count("manager") == 1


def test_a_fallback_responder_without_a_routing_key_is_mentioned_once(rig: Rig) -> None:
    text = with_fallback("manager").replace(', pagerduty: {routing_key: "${PAGERDUTY_MANAGER_KEY}"}', "")
    configure(rig, NOTICES + text)
    refused_after_the_first(rig)
    rig.passes("1m")
    assert len([one for one in in_the_storms_thread(rig) if "@manager" in one.words]) == 1


def test_the_fallback_channel_gets_one_message(rig: Rig) -> None:
    configure(rig, NOTICES + with_fallback(OPS))
    refused_after_the_first(rig)
    rig.passes("1m")
    (message,) = in_channel(rig, OPS)
    count = len(failed(rig))
    assert f"{count} incidents in {OPS}" in message.text
    thread = [reply for reply in rig.slack.replies() if reply.thread_ts == message.ts]
    (call,) = [reply for reply in thread if "PagerDuty can't be reached" in reply.words]
    assert f"{count} incidents not paged" in call.words
    assert call.pings == ["!here"]


def test_incidents_that_join_later_are_notified_too(rig: Rig) -> None:
    configure(rig, NOTICES + with_fallback("manager"))
    refused_after_the_first(rig)
    later = fire_groups(rig, count=20, first=MANY)
    rig.passes("1m")
    for one in later:
        first = rig.shows(one)["escalation"]["steps"][0]
        assert first["state"] == "notified"
    assert set(later) <= {row["incident"] for row in failed(rig)}


def test_after_a_manual_retry_one_page_counts_the_incidents(rig: Rig) -> None:
    refused_after_the_first(rig)
    rows = failed(rig)
    rig.pagerduty.routing_keys = None
    for row in rows:
        rig.client.post(f"/api/v1/deliveries/{row['id']}/retry", json={})
    rig.passes("20s")
    assert failed(rig) == []
    (page,) = pages(rig)
    assert f"{len(rows)} incidents" in page["payload"]["summary"]


def test_a_retry_that_is_refused_is_listed_again(rig: Rig) -> None:
    refused_after_the_first(rig)
    rows = failed(rig)
    for row in rows:
        rig.client.post(f"/api/v1/deliveries/{row['id']}/retry", json={})
    rig.passes("20s")
    assert {row["id"] for row in failed(rig)} == {row["id"] for row in rows}


def test_an_outage_of_pagerduty_is_reported_once_in_the_thread_of_the_storm(rig: Rig) -> None:
    fire_groups(rig)
    rig.passes("1s")
    rig.pagerduty.fail_next(503, times=8)
    rig.passes("30s")
    (said,) = [reply for reply in in_the_storms_thread(rig) if "PagerDuty can't be reached" in reply.words]
    assert said.pings == ["!here"]
    rig.passes("1m")
    assert len(pages(rig)) == 1
    assert storm(rig, "responder:on-call")["total"] + rig.paged().count("on-call") - 1 == MANY


def test_a_refused_message_of_a_storm_is_posted_once_to_the_fallback_channel(rig: Rig) -> None:
    """Before, each incident that it counted was posted there separately, one a second."""
    configure(rig, NOTICES + with_fallback(OPS))
    ids = fire_groups(rig)
    rig.slack.archive(CRITICAL)
    rig.passes("1m")
    (summary,) = [parent for parent in in_channel(rig, OPS) if f"incidents in {OPS}" in parent.text]
    bundled = [
        row for row in failed(rig) if row["what"] == "message" and "refused for all" in str(row["detail"])
    ]
    assert len(bundled) > MANY / 2
    assert f"{len(bundled)} incidents" in summary.text
    assert {row["target"] for row in bundled} == {f"slack:{CRITICAL}"}
    assert len(in_channel(rig, OPS)) < 10
    for one in ids:
        assert rig.shows(one)["escalation"]["steps"][0]["state"] == "notified"


def test_steps_are_notified_in_the_thread_of_the_storm_in_the_fallback_channel(rig: Rig) -> None:
    configure(rig, NOTICES + with_fallback(OPS))
    fire_groups(rig)
    rig.slack.archive(CRITICAL)
    rig.passes("6m30s", every="3s")
    (summary,) = [parent for parent in in_channel(rig, OPS) if f"incidents in {OPS}" in parent.text]
    texts = [reply.words for reply in rig.slack.replies() if reply.thread_ts == summary.ts]
    assert len([words for words in texts if "@team-lead" in words]) == 1


def test_a_refused_message_of_a_storm_pages_the_fallback_responder_once(rig: Rig) -> None:
    configure(rig, NOTICES + with_fallback("manager"))
    fire_groups(rig)
    rig.slack.archive(CRITICAL)
    rig.passes("1m")
    assert len(pages(rig, "manager")) == 1
    assert rig.paged().count("manager") < 15


def test_a_refused_resolve_of_the_storms_page_is_reported_as_such(rig: Rig) -> None:
    fire_groups(rig)
    rig.passes("20s")
    rig.refuses("on-call")
    resolve_groups(rig)
    rig.passes("2m")
    text = " ".join(notice.words for notice in in_channel(rig, "#monitoring"))
    assert "Resolve to pagerduty:on-call failed permanently: invalid_routing_key" in text
    assert "Page to pagerduty:on-call failed permanently" not in text
