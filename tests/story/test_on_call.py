"""The person on call is mentioned by name, as far as PagerDuty and Slack know them."""

from __future__ import annotations

import pytest

from tests.rig import ROUTING, Rig

SCHEDULED = ROUTING.replace(
    'on-call:   {pagerduty: {routing_key: "${PAGERDUTY_ONCALL_KEY}"}}',
    'on-call:   {pagerduty: {routing_key: "${PAGERDUTY_ONCALL_KEY}", schedule: PSCHED1}}',
)


@pytest.fixture
def scheduled(rig: Rig) -> Rig:
    rig.environ |= {"PAGERDUTY_API_URL": rig.pagerduty.url, "PAGERDUTY_API_TOKEN": "rest-token"}
    rig.configure(SCHEDULED)
    return rig


def test_the_person_on_call_is_mentioned_in_the_thread(scheduled: Rig) -> None:
    scheduled.pagerduty.rest.puts_on_call("PSCHED1", "Alice Doe", "alice@example.org")
    scheduled.slack.add_user("U0ALICE1", "alice", "alice@example.org")
    scheduled.fires("DiskFull")
    assert "<@U0ALICE1>" in scheduled.replies()[0]


def test_a_person_unknown_to_slack_is_named(scheduled: Rig) -> None:
    scheduled.pagerduty.rest.puts_on_call("PSCHED1", "Alice Doe", "alice.doe@example.org")
    scheduled.fires("DiskFull")
    assert "Alice Doe" in scheduled.replies()[0]
    assert scheduled.slack.replies()[0].pings == []


def test_a_hanging_pagerduty_delays_no_step(scheduled: Rig) -> None:
    scheduled.environ["PAGERDUTY_API_URL"] = "http://127.0.0.1:1"
    scheduled.configure(SCHEDULED)
    scheduled.fires("DiskFull")
    assert len(scheduled.replies()) == 1
    assert scheduled.paged() == ["on-call"]


def test_a_handle_mentions_its_user_group(rig: Rig) -> None:
    rig.slack.add_usergroup("S0LEADS", "team-lead")
    rig.fires("DiskFull")
    rig.passes("5m")
    assert "<!subteam^S0LEADS>" in rig.replies()[1]
