"""A reply that its thread refuses is posted once in the channel: the channel itself works."""

from __future__ import annotations

import pytest

from tests.mocks.slack_workspace import SlackMessage
from tests.rig import Rig
from tests.story.outage import NOTICES, with_fallback

CODES = [
    "cannot_reply_to_message",
    "invalid_thread_ts",
    "message_not_found",
    "restricted_action_non_threadable_channel",
    "restricted_action_thread_locked",
    "thread_not_found",
]
CRITICAL = "#alerts-critical"


def root_of(rig: Rig) -> SlackMessage:
    """Return the incident's message: the first in its channel."""
    return rig.parents()[0]


def list_replacements(rig: Rig) -> list[SlackMessage]:
    """Return the messages that were posted in the channel instead of replies."""
    return [message for message in rig.parents() if "In place of a reply" in message.words]


@pytest.mark.parametrize("code", CODES)
def test_a_step_is_posted_once_in_the_channel_with_mention_and_link(rig: Rig, code: str) -> None:
    rig.configure(NOTICES + with_fallback("#ops"))
    rig.slack.workspace.add_channel("#ops")
    rig.slack.refuse_replies(CRITICAL, code)
    incident = rig.fires("DiskFull")
    rig.passes("8m")
    first, second = list_replacements(rig)
    assert "Paging On-call" in first.text
    assert "Paging Team Lead @team-lead: not acknowledged for 5m" in second.text
    assert second.pings == ["@team-lead"]
    assert f"<https://example.slack.com/archives/{root_of(rig).channel_id}/p" in second.text
    assert root_of(rig).ts.replace(".", "") in second.text
    assert (second.channel, second.thread_ts) == (CRITICAL, "")
    assert rig.slack.replies() == []
    details = rig.shows(incident)
    assert [d["id"] for d in details["deliveries"] if d["state"] == "failed"] == []
    assert any(
        event["text"].startswith(f"Notified Team Lead in {CRITICAL} (The thread takes no reply")
        for event in details["timeline"]
    )
    # Nothing is posted to the fallback channel or to that of notices.
    assert {message.channel for message in rig.parents()} == {CRITICAL}


def test_every_reply_is_posted_once(rig: Rig) -> None:
    incident = rig.fires("DiskFull", host="a")
    rig.slack.refuse_replies(root_of(rig), "restricted_action_thread_locked")
    rig.posts(rig.alert("DiskFull", host="a"), rig.alert("DiskFull", host="@here<!channel>"))
    rig.passes("1m")
    rig.answers(incident, "acknowledge")
    rig.ends("DiskFull", host="a")
    rig.ends("DiskFull", host="@here<!channel>")
    rig.passes("1h")
    texts = [message.text.split("\n")[0] for message in list_replacements(rig)]
    assert texts == ["➕ 1 alert joined · DiskFull", "✅ Resolved after 1m"]
    assert [message.pings for message in list_replacements(rig)] == [[], []]
    assert "Resolved" in root_of(rig).text


def test_after_a_thread_was_unlocked_replies_are_posted_there_again(rig: Rig) -> None:
    rig.slack.refuse_replies(CRITICAL, "restricted_action_thread_locked")
    rig.fires("DiskFull")
    rig.slack.workspace.threads_refused.clear()
    rig.passes("6m")
    assert len(list_replacements(rig)) == 1
    assert [reply.split(":")[0] for reply in rig.replies()] == ["📟 Paging Team Lead @team-lead"]


def test_a_reply_in_the_channel_is_found_after_its_response_was_lost(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.slack.refuse_replies(CRITICAL, "restricted_action_thread_locked")
    rig.clock.moment += 300
    # The first call is the reply, which is refused; the response to the second, in the channel, is lost.
    rig.slack.fail_next("chat.postMessage", error="restricted_action_thread_locked")
    rig.slack.drop_answer("chat.postMessage")
    rig.passes("2m")
    (aside,) = list_replacements(rig)
    assert "Team Lead" in aside.text
    assert aside.metadata is not None
    assert aside.metadata["event_payload"]["key"] == "step:team-lead"


def test_it_is_found_also_if_the_thread_itself_can_not_be_read(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.slack.refuse_replies(CRITICAL, "thread_not_found")
    rig.clock.moment += 300
    rig.slack.fail_next("chat.postMessage", error="thread_not_found")
    rig.slack.drop_answer("chat.postMessage")
    rig.slack.fail_next("conversations.replies", error="thread_not_found")
    rig.passes("2m")
    assert len(list_replacements(rig)) == 1


def test_if_the_channel_refuses_it_too_the_fallback_is_used(rig: Rig) -> None:
    rig.configure(with_fallback("manager"))
    rig.fires("DiskFull")
    rig.clock.moment += 300
    rig.slack.fail_next("chat.postMessage", error="cannot_reply_to_message")
    rig.slack.fail_next("chat.postMessage", error="restricted_action")
    rig.passes("1m")
    assert rig.paged() == ["on-call", "team-lead", "manager"]


def test_the_mention_for_a_step_of_a_storm_is_posted_in_the_channel(rig: Rig) -> None:
    rig.storms_after_s = 0.0
    rig.configure(
        "limits: {slack_posts: 1/m, slack_updates: 1000/s, pagerduty: 1000/s}\n" + with_fallback("manager")
    )
    for n in range(4):
        rig.posts(rig.alert(f"Disk{n}"))
    rig.passes("2m")
    rig.slack.refuse_replies(CRITICAL, "restricted_action_thread_locked")
    rig.passes("10m")
    texts = [
        message for message in list_replacements(rig) if "in this storm not acknowledged" in message.text
    ]
    assert texts
    assert texts[0].pings == ["@team-lead"]
    assert "|this message>" in texts[0].text
