"""The directory of users and groups in Slack: the reply of a step mentions those whom Slack knows."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from receiver.engine.notification import IncidentNotification
from receiver.integrations.slack.channel import SlackChannel
from receiver.model.incident import OnCallPerson
from receiver.text import Secret
from tests.builders import OPENED_AT, a_notification, a_policy, a_post, a_reply, a_responder, a_step
from tests.mocks.slack import MockSlack
from tests.rig import Clock

ALICE = OnCallPerson("Alice Doe", "alice@example.com")


@pytest.fixture
def clock() -> Clock:
    return Clock(OPENED_AT)


@pytest.fixture
def channel(slack: MockSlack, clock: Clock) -> SlackChannel:
    return SlackChannel(Secret("xoxb-1"), slack.url, clock=clock)


def a_step_reply(slack: str = "@team-lead", *on_call: OnCallPerson) -> IncidentNotification:
    """Return the reply of a step whose responder has the given Slack address."""
    message = "C0ALERTSCRITICAL:1795435380.000100"
    reply = a_reply("step", step=a_step(a_responder("team-lead", slack=slack)), message=message)
    return replace(a_notification(action=reply, policy=a_policy()), on_call=on_call)


def reply_text(slack: MockSlack) -> str:
    return slack.messages[-1].text.partition(":")[0].removeprefix("📟 Paging ")


def test_the_handle_of_a_user_group_mentions_the_group(slack: MockSlack, channel: SlackChannel) -> None:
    slack.add_usergroup("S0LEADS", "Team-Lead")
    channel.send(a_step_reply())
    assert reply_text(slack) == "Team Lead <!subteam^S0LEADS>"


def test_the_name_of_a_user_mentions_the_user(slack: MockSlack, channel: SlackChannel) -> None:
    slack.add_user("U0LEAD", "team-lead", "lead@example.com")
    channel.send(a_step_reply())
    assert reply_text(slack) == "Team Lead <@U0LEAD>"


def test_a_group_is_preferred_to_a_user_of_the_same_name(slack: MockSlack, channel: SlackChannel) -> None:
    slack.add_user("U0LEAD", "team-lead", "lead@example.com")
    slack.add_usergroup("S0LEADS", "team-lead")
    channel.send(a_step_reply())
    assert reply_text(slack) == "Team Lead <!subteam^S0LEADS>"


def test_a_display_name_is_used_unless_several_users_have_it(slack: MockSlack, channel: SlackChannel) -> None:
    for n, display_name in enumerate(("boss", "twin", "twin")):
        slack.add_user(f"U0USER{n}", f"user{n}", f"{n}@example.com")
        slack.workspace.users[-1]["profile"]["display_name"] = display_name
    channel.send(a_step_reply("@boss"))
    assert reply_text(slack) == "Team Lead <@U0USER0>"
    channel.send(a_step_reply("@twin"))
    assert reply_text(slack) == "Team Lead @twin"


def test_a_deactivated_user_is_not_mentioned(slack: MockSlack, channel: SlackChannel) -> None:
    slack.add_user("U0LEAD", "team-lead", "lead@example.com")
    slack.workspace.users[-1]["deleted"] = True
    channel.send(a_step_reply())
    assert reply_text(slack) == "Team Lead @team-lead"


def test_the_directory_is_loaded_once_in_ten_minutes(
    slack: MockSlack, channel: SlackChannel, clock: Clock
) -> None:
    for _ in range(3):
        channel.send(a_step_reply("@team-lead", ALICE))
    counts = [len(slack.calls_of(name)) for name in ("usergroups.list", "users.list", "users.lookupByEmail")]
    assert counts == [1, 1, 1]
    slack.add_usergroup("S0LEADS", "team-lead")
    clock.moment += 600
    channel.send(a_step_reply())
    assert reply_text(slack) == "Team Lead <!subteam^S0LEADS>"


def test_without_the_scope_a_handle_is_sent_as_a_name_that_slack_may_link(
    slack: MockSlack, channel: SlackChannel
) -> None:
    slack.fail_next("usergroups.list", error="missing_scope")
    slack.fail_next("users.list", error="missing_scope")
    channel.send(a_step_reply())
    assert reply_text(slack) == "Team Lead @team-lead"
    assert slack.messages[-1].pings == ["@team-lead"]


def test_without_the_scope_for_groups_users_are_still_found(slack: MockSlack, channel: SlackChannel) -> None:
    slack.add_user("U0LEAD", "team-lead", "lead@example.com")
    slack.fail_next("usergroups.list", error="missing_scope")
    channel.send(a_step_reply())
    assert reply_text(slack) == "Team Lead <@U0LEAD>"


def test_the_person_on_call_is_found_by_email_and_mentioned(slack: MockSlack, channel: SlackChannel) -> None:
    slack.add_user("U0ALICE", "alice", "alice@example.com")
    channel.send(a_step_reply("", ALICE, OnCallPerson("Bob <!here>", "bob@example.com")))
    assert reply_text(slack) == "Team Lead <@U0ALICE>, Bob &lt;!here&gt;"
    assert set(slack.messages[-1].pings) == {"@U0ALICE"}


def test_a_person_without_an_email_or_unknown_to_slack_is_named_without_a_mention(
    slack: MockSlack, channel: SlackChannel
) -> None:
    channel.send(a_step_reply("", OnCallPerson("@channel"), ALICE))
    assert reply_text(slack) == "Team Lead @\u200bchannel, Alice Doe"
    assert slack.messages[-1].pings == []
    assert [call.arguments["email"] for call in slack.calls_of("users.lookupByEmail")] == [
        "alice@example.com"
    ]


def test_a_stale_person_on_call_is_marked_as_stale(slack: MockSlack, channel: SlackChannel) -> None:
    slack.add_user("U0ALICE", "alice", "alice@example.com")
    person = OnCallPerson("Alice Doe", "alice@example.com", as_of=OPENED_AT - 600)
    channel.send(a_step_reply("", person))
    assert "<@U0ALICE> (on call as of <!date^1795434780^" in slack.messages[-1].text


def test_a_hanging_lookup_delays_the_reply_by_two_seconds_at_most(
    slack: MockSlack, channel: SlackChannel
) -> None:
    slack.hang("usergroups.list", 30.0)
    slack.hang("users.list", 30.0)
    slack.hang("users.lookupByEmail", 30.0)
    started = time.monotonic()
    channel.send(a_step_reply("@team-lead", ALICE))
    assert 1.5 < time.monotonic() - started < 3.0
    assert reply_text(slack) == "Team Lead @team-lead Alice Doe"


@pytest.mark.parametrize("fault", ["internal_error", "ratelimited", "invalid_auth"])
def test_a_failing_lookup_does_not_fail_the_reply(
    slack: MockSlack, channel: SlackChannel, fault: str
) -> None:
    for method in ("usergroups.list", "users.list", "users.lookupByEmail"):
        slack.fail_next(method, error=fault)
    receipt = channel.send(a_step_reply("@team-lead", ALICE))
    assert receipt.reference
    assert reply_text(slack) == "Team Lead @team-lead Alice Doe"


def test_other_messages_need_no_lookup(slack: MockSlack, channel: SlackChannel) -> None:
    channel.send(a_notification(action=a_post("#alerts-critical")))
    channel.send(a_step_reply("U0123ABCD"))
    assert slack.calls_of("usergroups.list") == slack.calls_of("users.list") == []
