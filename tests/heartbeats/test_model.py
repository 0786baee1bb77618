"""The values of heartbeats: when one is missing, its policy, and the alert that reports it."""

from __future__ import annotations

import pytest

from receiver.heartbeats.model import ALERTNAME, Heartbeat, HeartbeatSignal, find_heartbeat_policy
from receiver.model.routing import PAGERDUTY, Responder, Target, parse_matcher

TEAM_LEAD = Responder("team-lead", (Target(PAGERDUTY, "team-lead"),))
WATCHDOG = Heartbeat((parse_matcher('alertname="Watchdog"'),), 300.0, 120.0, TEAM_LEAD)
SIGNAL = HeartbeatSignal(WATCHDOG.name, "prod", 1000.0, "http://alertmanager:9093")


@pytest.mark.parametrize(
    ("signal_at", "up_since", "expected"), [(1000.0, 0.0, 1420.0), (1000.0, 2000.0, 2420.0)]
)
def test_it_is_missing_after_every_and_grace_and_a_downtime_starts_the_time_again(
    signal_at: float, up_since: float, expected: float
) -> None:
    assert WATCHDOG.missing_at(signal_at, up_since) == expected


def test_all_matchers_must_match() -> None:
    both = Heartbeat((*WATCHDOG.matchers, parse_matcher('job="prod"')), 300.0, 0.0, TEAM_LEAD)
    assert both.matches({"alertname": "Watchdog", "job": "prod"})
    assert not both.matches({"alertname": "Watchdog"})


def test_its_policy_notifies_its_responder_in_one_step() -> None:
    policy = find_heartbeat_policy([WATCHDOG], WATCHDOG.policy.name)
    assert policy is not None
    assert [step.responder for step in policy.steps] == [TEAM_LEAD]
    assert find_heartbeat_policy([WATCHDOG], WATCHDOG.name) is None
    assert find_heartbeat_policy([], WATCHDOG.policy.name) is None


def test_the_alert_of_a_missing_signal_is_the_same_each_time_and_one_for_each_source() -> None:
    group = SIGNAL.build_group(WATCHDOG, 1420.0)
    assert [alert.name for alert in group.alerts] == [ALERTNAME]
    assert group.alerts[0].fingerprint == SIGNAL.build_group(WATCHDOG, 9000.0).alerts[0].fingerprint
    other = HeartbeatSignal(WATCHDOG.name, "test", 1000.0)
    assert other.group_id != SIGNAL.group_id
    assert other.build_group(WATCHDOG, 1420.0).alerts[0].fingerprint != group.alerts[0].fingerprint


def test_the_alert_of_a_removed_heartbeat_has_the_reason() -> None:
    alert = SIGNAL.build_group(None, 1420.0, 2000.0).alerts[0]
    assert alert.ends_at == 2000.0
    assert "no longer in the configuration" in alert.summary
