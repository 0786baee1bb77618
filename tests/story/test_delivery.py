"""Each kind of delivery error: retried, searched first, or failed permanently at once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rig import Rig
from tests.story.test_clock_steps import sets_back

# Nothing listens at this port, and this host name does not exist:
# https://www.rfc-editor.org/rfc/rfc6761#section-6.4
NO_NAME = "http://slack.invalid/api/"
PERMANENT = ["invalid_auth", "token_revoked", "channel_not_found", "is_archived", "not_in_channel"]


def delivery(rig: Rig, incident: str, key: str) -> dict[str, Any]:
    return next(d for d in rig.shows(incident)["deliveries"] if d["id"] == key)


def attempts(rig: Rig) -> list[float]:
    return [call.at for call in rig.slack.calls_of("chat.postMessage")]


def test_the_retry_after_of_a_429_is_respected(rig: Rig) -> None:
    rig.slack.fail_next("chat.postMessage", status=429, retry_after=30)
    rig.fires("DiskFull")
    rig.passes("29s")
    assert rig.parents() == []
    rig.passes("1s")
    assert len(rig.parents()) == 1


def test_a_429_without_a_retry_after_waits_five_seconds(rig: Rig) -> None:
    rig.slack.fail_next("chat.postMessage", status=429)
    rig.fires("DiskFull")
    rig.passes("4s")
    assert rig.parents() == []
    rig.passes("2s")
    assert len(rig.parents()) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_5xx_is_retried_soon(rig: Rig, status: int) -> None:
    rig.slack.fail_next("chat.postMessage", status=status, body=b"<html>")
    incident = rig.fires("DiskFull")
    assert delivery(rig, incident, "message")["state"] == "pending"
    rig.passes("1s")
    assert len(rig.parents()) == 1


def test_the_retry_after_of_a_5xx_is_respected(rig: Rig) -> None:
    rig.pagerduty.fail_next(503, retry_after=20)
    rig.fires("DiskFull")
    rig.passes("19s")
    assert rig.paged() == []
    rig.passes("1s")
    assert rig.paged() == ["on-call"]


def test_a_200_with_ok_false_is_no_delivery(rig: Rig) -> None:
    rig.slack.fail_next("chat.postMessage", status=200, error="ekm_access_denied")
    incident = rig.fires("DiskFull")
    parent = delivery(rig, incident, "message")
    assert (parent["state"], parent["reason"]) == ("failed", "ekm_access_denied")
    assert 'outcome="permanent"' in rig.client.get("/metrics").text


def test_a_200_with_an_unknown_error_is_retried(rig: Rig) -> None:
    rig.slack.fail_next("chat.postMessage", status=200, error="a_new_error_of_slacks")
    rig.fires("DiskFull")
    rig.passes("1s")
    assert len(rig.parents()) == 1


@pytest.mark.parametrize("reason", PERMANENT)
def test_a_permanent_error_is_attempted_once(rig: Rig, reason: str) -> None:
    rig.slack.fail_next("chat.postMessage", error=reason, times=100)
    incident = rig.fires("DiskFull")
    rig.passes("10m")
    assert len(attempts(rig)) == 1
    assert delivery(rig, incident, "message")["reason"] == reason


def test_a_message_whose_response_was_lost_is_not_posted_again(rig: Rig) -> None:
    rig.slack.drop_answer("chat.postMessage", times=1)
    incident = rig.fires("DiskFull")
    rig.passes("1m")
    assert len(rig.parents()) == 1
    assert delivery(rig, incident, "message")["state"] == "delivered"
    assert rig.slack.calls_of("conversations.history")[0].arguments["include_all_metadata"] in (
        True,
        "1",
        "true",
    )


@pytest.mark.parametrize(
    "failure",
    [{"status": 503, "body": b""}, {"status": 429, "retry_after": 3}, {"error": "internal_error"}],
    ids=["no answer of slack", "limited", "internal error"],
)
def test_a_message_whose_search_got_no_answer_is_searched_again_before_it_is_posted_again(
    rig: Rig, failure: dict[str, Any]
) -> None:
    rig.slack.drop_answer("chat.postMessage", times=1)
    rig.slack.fail_next("conversations.history", times=2, **failure)
    incident = rig.fires("DiskFull")
    rig.passes("1m")
    assert len(rig.parents()) == 1
    assert delivery(rig, incident, "message")["state"] == "delivered"
    assert len(rig.slack.calls_of("conversations.history")) == 3


@pytest.mark.parametrize("set_back_s", [0, 3600])
def test_a_message_that_can_not_be_searched_for_is_posted_again_after_some_seconds(
    rig: Rig, set_back_s: int
) -> None:
    rig.slack.drop_answer("chat.postMessage", times=1)
    rig.slack.fail_next("conversations.history", status=503, body=b"", times=1000)
    rig.fires("DiskFull")
    rig.passes("5s")
    assert len(rig.slack.calls_of("conversations.history")) > 1
    assert len(rig.parents()) == 1
    sets_back(rig, set_back_s)
    rig.passes("25s")
    assert len(rig.parents()) == 2
    rig.passes("10m")
    assert len(rig.parents()) == 2


def test_each_post_without_an_answer_is_searched_for_anew(rig: Rig) -> None:
    rig.slack.drop_answer("chat.postMessage", times=2)
    rig.slack.fail_next("conversations.history", status=503, body=b"", times=1000)
    rig.fires("DiskFull")
    rig.passes("25s")
    assert len(rig.parents()) == 2
    before = len(rig.slack.calls_of("conversations.history"))
    rig.slack.heal()
    rig.passes("1m")
    assert len(rig.parents()) == 2
    assert len(rig.slack.calls_of("conversations.history")) > before


def test_a_message_is_posted_again_at_once_where_the_bot_may_not_search(rig: Rig) -> None:
    rig.slack.drop_answer("chat.postMessage", times=1)
    rig.slack.fail_next("conversations.history", error="missing_scope", times=1000)
    rig.fires("DiskFull")
    rig.passes("2s")
    assert len(rig.parents()) == 2


def test_a_reply_whose_response_was_lost_is_not_posted_again(rig: Rig) -> None:
    rig.fires("DiskFull", host="a")
    rig.passes("5s")
    rig.slack.drop_answer("chat.postMessage", times=1)
    rig.posts(rig.alert("DiskFull", host="a"), rig.alert("DiskFull", host="b"))
    rig.passes("1m")
    assert len([reply for reply in rig.replies() if "joined" in reply]) == 1


def test_a_page_whose_response_was_lost_pages_once(rig: Rig) -> None:
    """It is sent again: with the same dedup key it joins the open incident."""
    rig.pagerduty.drop_answer()
    incident = rig.fires("DiskFull")
    rig.passes("1m")
    assert rig.triggered() == ["on-call", "on-call"]
    assert rig.paged() == ["on-call"]
    assert delivery(rig, incident, "page:on-call")["state"] == "delivered"


def test_an_unknown_host_name_is_retried(rig: Rig) -> None:
    address = rig.environ["SLACK_API_URL"]
    rig.environ["SLACK_API_URL"] = NO_NAME
    rig.configure((rig.folder / "routing.yaml").read_text())
    incident = rig.fires("DiskFull")
    parent = delivery(rig, incident, "message")
    assert (parent["state"], parent["reason"]) == ("pending", "no_answer")
    assert rig.paged() == ["on-call"]
    rig.environ["SLACK_API_URL"] = address
    rig.configure((rig.folder / "routing.yaml").read_text())
    rig.passes("10s")
    assert len(rig.parents()) == 1
    assert (
        rig.slack.calls_of("conversations.history") == []
    )  # there was no connection, so nothing is searched


def test_a_pagerduty_that_refuses_connections_is_retried(rig: Rig) -> None:
    rig.pagerduty.stop()
    rig.fires("DiskFull")
    rig.pagerduty.start()
    rig.passes("2s")
    assert rig.paged() == ["on-call"]


def test_a_failed_step_is_retried_also_after_later_steps(rig: Rig) -> None:
    """Its page arrives when PagerDuty is available again."""
    rig.pagerduty.fail_next(503, times=60)
    incident = rig.fires("DiskFull")
    rig.passes("6m")
    assert delivery(rig, incident, "page:on-call")["state"] == "pending"
    rig.pagerduty._faults.clear()
    rig.passes("1m")
    assert "on-call" in rig.paged()


def test_a_retry_waits_in_the_work_queue_and_blocks_no_thread(rig: Rig) -> None:
    """After a failed attempt the incident is released at once, due at the time of the retry."""
    rig.slack.fail_next("chat.postMessage", status=429, retry_after=600)
    incident = rig.fires("DiskFull")
    keys = rig.services.incidents.keys_of(incident.partition("-")[0])
    redis = rig.services.incidents._redis
    assert redis.zcard(keys.leases("slack")) == 0
    assert redis.zscore(keys.queue("slack"), incident) <= rig.clock() + 600
