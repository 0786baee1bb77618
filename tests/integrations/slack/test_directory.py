"""Who is who in Slack: a step's reply mentions people and groups that Slack knows."""

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
    """Return the reply of a step whose responder has that address in Slack."""
    message = "C0ALERTSCRITICAL:1795435380.000100"
    reply = a_reply("step", step=a_step(a_responder("team-lead", slack=slack)), message=message)
    return replace(a_notification(action=reply, policy=a_policy()), on_call=on_call)


def said(slack: MockSlack) -> str:
    return slack.messages[-1].text.partition(":")[0].removeprefix("📟 Paging ")


def test_a_user_groups_handle_becomes_the_group(slack: MockSlack, channel: SlackChannel) -> None:
    slack.add_usergroup("S0LEADS", "Team-Lead")
    channel.send(a_step_reply())
    assert said(slack) == "Team Lead <!subteam^S0LEADS>"


def test_a_users_name_becomes_the_user(slack: MockSlack, channel: SlackChannel) -> None:
    slack.add_user("U0LEAD", "team-lead", "lead@example.com")
    channel.send(a_step_reply())
    assert said(slack) == "Team Lead <@U0LEAD>"


def test_a_group_goes_before_a_user_of_the_same_name(slack: MockSlack, channel: SlackChannel) -> None:
    slack.add_user("U0LEAD", "team-lead", "lead@example.com")
    slack.add_usergroup("S0LEADS", "team-lead")
    channel.send(a_step_reply())
    assert said(slack) == "Team Lead <!subteam^S0LEADS>"


def test_a_display_name_counts_unless_several_have_it(slack: MockSlack, channel: SlackChannel) -> None:
    for n, shown in enumerate(("boss", "twin", "twin")):
        slack.add_user(f"U0USER{n}", f"user{n}", f"{n}@example.com")
        slack.workspace.users[-1]["profile"]["display_name"] = shown
    channel.send(a_step_reply("@boss"))
    assert said(slack) == "Team Lead <@U0USER0>"
    channel.send(a_step_reply("@twin"))
    assert said(slack) == "Team Lead @twin"


def test_a_user_who_left_is_nobody(slack: MockSlack, channel: SlackChannel) -> None:
    slack.add_user("U0LEAD", "team-lead", "lead@example.com")
    slack.workspace.users[-1]["deleted"] = True
    channel.send(a_step_reply())
    assert said(slack) == "Team Lead @team-lead"


def test_everybody_is_looked_up_once_in_ten_minutes(
    slack: MockSlack, channel: SlackChannel, clock: Clock
) -> None:
    for _ in range(3):
        channel.send(a_step_reply("@team-lead", ALICE))
    counts = [len(slack.calls_of(name)) for name in ("usergroups.list", "users.list", "users.lookupByEmail")]
    assert counts == [1, 1, 1]
    slack.add_usergroup("S0LEADS", "team-lead")
    clock.moment += 600
    channel.send(a_step_reply())
    assert said(slack) == "Team Lead <!subteam^S0LEADS>"


def test_without_the_scope_a_handle_stays_a_name_that_slack_may_link(
    slack: MockSlack, channel: SlackChannel
) -> None:
    slack.fail_next("usergroups.list", error="missing_scope")
    slack.fail_next("users.list", error="missing_scope")
    channel.send(a_step_reply())
    assert said(slack) == "Team Lead @team-lead"
    assert slack.messages[-1].pings == ["@team-lead"]


def test_without_the_scope_for_groups_users_are_found_all_the_same(
    slack: MockSlack, channel: SlackChannel
) -> None:
    slack.add_user("U0LEAD", "team-lead", "lead@example.com")
    slack.fail_next("usergroups.list", error="missing_scope")
    channel.send(a_step_reply())
    assert said(slack) == "Team Lead <@U0LEAD>"


def test_whoever_is_on_call_is_mentioned_by_their_e_mail(slack: MockSlack, channel: SlackChannel) -> None:
    slack.add_user("U0ALICE", "alice", "alice@example.com")
    channel.send(a_step_reply("", ALICE, OnCallPerson("Bob <!here>", "bob@example.com")))
    assert said(slack) == "Team Lead <@U0ALICE>, Bob &lt;!here&gt;"
    assert set(slack.messages[-1].pings) == {"@U0ALICE"}


def test_somebody_without_an_e_mail_or_unknown_to_slack_is_a_name(
    slack: MockSlack, channel: SlackChannel
) -> None:
    channel.send(a_step_reply("", OnCallPerson("@channel"), ALICE))
    assert said(slack) == "Team Lead @\u200bchannel, Alice Doe"
    assert slack.messages[-1].pings == []
    assert [call.arguments["email"] for call in slack.calls_of("users.lookupByEmail")] == [
        "alice@example.com"
    ]


def test_who_was_known_last_is_marked_so(slack: MockSlack, channel: SlackChannel) -> None:
    slack.add_user("U0ALICE", "alice", "alice@example.com")
    person = OnCallPerson("Alice Doe", "alice@example.com", as_of=OPENED_AT - 600)
    channel.send(a_step_reply("", person))
    assert "<@U0ALICE> (on call as of <!date^1795434780^" in slack.messages[-1].text


def test_a_look_up_that_hangs_delays_the_reply_by_two_seconds_at_most(
    slack: MockSlack, channel: SlackChannel
) -> None:
    slack.hang("usergroups.list", 30.0)
    slack.hang("users.list", 30.0)
    slack.hang("users.lookupByEmail", 30.0)
    begun = time.monotonic()
    channel.send(a_step_reply("@team-lead", ALICE))
    assert 1.5 < time.monotonic() - begun < 3.0
    assert said(slack) == "Team Lead @team-lead Alice Doe"


@pytest.mark.parametrize("fault", ["internal_error", "ratelimited", "invalid_auth"])
def test_a_failing_look_up_fails_no_reply(slack: MockSlack, channel: SlackChannel, fault: str) -> None:
    for method in ("usergroups.list", "users.list", "users.lookupByEmail"):
        slack.fail_next(method, error=fault)
    receipt = channel.send(a_step_reply("@team-lead", ALICE))
    assert receipt.reference
    assert said(slack) == "Team Lead @team-lead Alice Doe"


def test_nobody_is_looked_up_for_other_messages(slack: MockSlack, channel: SlackChannel) -> None:
    channel.send(a_notification(action=a_post("#alerts-critical")))
    channel.send(a_step_reply("U0123ABCD"))
    assert slack.calls_of("usergroups.list") == slack.calls_of("users.list") == []
