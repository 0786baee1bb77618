"""Each kind of failure, and what it means: tried again, looked for first, or given up at once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rig import Rig

# Nothing listens there, and no such name exists: https://www.rfc-editor.org/rfc/rfc6761#section-6.4
NO_NAME = "http://slack.invalid/api/"
PERMANENT = ["invalid_auth", "token_revoked", "channel_not_found", "is_archived", "not_in_channel"]


def delivery(rig: Rig, incident: str, key: str) -> dict[str, Any]:
    return next(d for d in rig.shows(incident)["deliveries"] if d["id"] == key)


def attempts(rig: Rig) -> list[float]:
    return [call.at for call in rig.slack.calls_of("chat.postMessage")]


def test_a_429_waits_as_long_as_slack_asks(rig: Rig) -> None:
    rig.slack.fail_next("chat.postMessage", status=429, retry_after=30)
    rig.fires("DiskFull")
    rig.passes("29s")
    assert rig.roots() == []
    rig.passes("1s")
    assert len(rig.roots()) == 1


def test_a_429_that_names_no_wait_waits_five_seconds(rig: Rig) -> None:
    rig.slack.fail_next("chat.postMessage", status=429)
    rig.fires("DiskFull")
    rig.passes("4s")
    assert rig.roots() == []
    rig.passes("2s")
    assert len(rig.roots()) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_5xx_is_tried_again_soon(rig: Rig, status: int) -> None:
    rig.slack.fail_next("chat.postMessage", status=status, body=b"<html>")
    incident = rig.fires("DiskFull")
    assert delivery(rig, incident, "root")["state"] == "pending"
    rig.passes("1s")
    assert len(rig.roots()) == 1


def test_a_5xx_names_a_wait_that_is_kept(rig: Rig) -> None:
    rig.pagerduty.fail_next(503, retry_after=20)
    rig.fires("DiskFull")
    rig.passes("19s")
    assert rig.paged() == []
    rig.passes("1s")
    assert rig.paged() == ["on-call"]


def test_a_200_that_says_ok_false_counts_as_no_delivery(rig: Rig) -> None:
    rig.slack.fail_next("chat.postMessage", status=200, error="ekm_access_denied")
    incident = rig.fires("DiskFull")
    root = delivery(rig, incident, "root")
    assert (root["state"], root["reason"]) == ("failed", "ekm_access_denied")
    assert 'outcome="permanent"' in rig.client.get("/metrics").text


def test_a_200_that_says_something_unknown_is_tried_again(rig: Rig) -> None:
    rig.slack.fail_next("chat.postMessage", status=200, error="a_new_error_of_slacks")
    rig.fires("DiskFull")
    rig.passes("1s")
    assert len(rig.roots()) == 1


@pytest.mark.parametrize("reason", PERMANENT)
def test_what_is_refused_for_good_is_tried_once(rig: Rig, reason: str) -> None:
    rig.slack.fail_next("chat.postMessage", error=reason, times=100)
    incident = rig.fires("DiskFull")
    rig.passes("10m")
    assert len(attempts(rig)) == 1
    assert delivery(rig, incident, "root")["reason"] == reason


def test_a_message_whose_answer_was_lost_is_not_posted_again(rig: Rig) -> None:
    rig.slack.drop_answer("chat.postMessage", times=1)
    incident = rig.fires("DiskFull")
    rig.passes("1m")
    assert len(rig.roots()) == 1
    assert delivery(rig, incident, "root")["state"] == "delivered"
    assert rig.slack.calls_of("conversations.history")[0].arguments["include_all_metadata"] in (
        True,
        "1",
        "true",
    )


def test_a_reply_whose_answer_was_lost_is_not_said_again(rig: Rig) -> None:
    rig.fires("DiskFull", host="a")
    rig.passes("5s")
    rig.slack.drop_answer("chat.postMessage", times=1)
    rig.posts(rig.alert("DiskFull", host="a"), rig.alert("DiskFull", host="b"))
    rig.passes("1m")
    assert len([reply for reply in rig.replies() if "joined" in reply]) == 1


def test_a_page_whose_answer_was_lost_wakes_once(rig: Rig) -> None:
    """The dedup key has it join what is open, so it is simply sent again."""
    rig.pagerduty.drop_answer()
    incident = rig.fires("DiskFull")
    rig.passes("1m")
    assert rig.triggered() == ["on-call", "on-call"]
    assert rig.paged() == ["on-call"]
    assert delivery(rig, incident, "page:on-call")["state"] == "delivered"


def test_a_name_that_is_not_found_is_tried_again(rig: Rig) -> None:
    address = rig.environ["SLACK_API_URL"]
    rig.environ["SLACK_API_URL"] = NO_NAME
    rig.configure((rig.folder / "routing.yaml").read_text())
    incident = rig.fires("DiskFull")
    root = delivery(rig, incident, "root")
    assert (root["state"], root["reason"]) == ("pending", "no_answer")
    assert rig.paged() == ["on-call"]
    rig.environ["SLACK_API_URL"] = address
    rig.configure((rig.folder / "routing.yaml").read_text())
    rig.passes("10s")
    assert len(rig.roots()) == 1
    assert rig.slack.calls_of("conversations.history") == []  # nothing can have arrived


def test_a_pager_that_refuses_connections_is_tried_again(rig: Rig) -> None:
    rig.pagerduty.stop()
    rig.fires("DiskFull")
    rig.pagerduty.start()
    rig.passes("2s")
    assert rig.paged() == ["on-call"]


def test_a_failed_step_is_not_skipped_as_done(rig: Rig) -> None:
    """Its own page goes on being tried, and arrives when PagerDuty is back, also after later steps."""
    rig.pagerduty.fail_next(503, times=60)
    incident = rig.fires("DiskFull")
    rig.passes("6m")
    assert delivery(rig, incident, "page:on-call")["state"] == "pending"
    rig.pagerduty._faults.clear()
    rig.passes("1m")
    assert "on-call" in rig.paged()


def test_a_wait_is_in_the_work_queue_and_holds_no_thread(rig: Rig) -> None:
    """After a failed attempt the incident is given back at once, due at the retry's moment."""
    rig.slack.fail_next("chat.postMessage", status=429, retry_after=600)
    incident = rig.fires("DiskFull")
    keys = rig.services.incidents.keys_of(incident.partition("-")[0])
    redis = rig.services.incidents._redis
    assert redis.zcard(keys.leases("slack")) == 0
    assert redis.zscore(keys.queue("slack"), incident) <= rig.clock() + 600
