"""Which token bucket a delivery uses, and the priorities of deliveries."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from receiver.config.routing_fields import LimitSettings
from receiver.engine.rate_limit import TokenBucket, find_bucket, is_initial, priority_at
from receiver.model.actions import AddTimelineEntry, DeliveryAction
from receiver.model.alert import Severity
from receiver.model.routing import SLACK, RateLimit, Target
from tests.builders import (
    OPENED_AT,
    ROUTING_KEY,
    a_page,
    a_post,
    a_reply,
    a_resolve_page,
    a_responder,
    a_step,
    an_acknowledge_page,
    an_alert,
    an_incident,
    an_update,
)

LIMITS = LimitSettings()
NOW = OPENED_AT + 3600
MENTIONED = a_step(a_responder("team-lead", slack="@team-lead"), 300.0)
INCIDENT = an_incident()
WARNING = an_incident(an_alert("Warned", severity="warning"))
RESOLVED = replace(INCIDENT, resolved_at=OPENED_AT)
ACKNOWLEDGED = replace(INCIDENT, acknowledged_at=OPENED_AT)


def test_slacks_posts_and_replies_share_a_bucket_by_channel() -> None:
    expected = TokenBucket("slack:post:#a", 3, 1.0)
    assert find_bucket(a_post("#a"), LIMITS) == expected
    assert find_bucket(a_reply("joined", channel="#a"), LIMITS) == expected
    assert find_bucket(a_post("#b"), LIMITS) != expected


def test_edits_of_all_channels_share_one_bucket() -> None:
    assert find_bucket(an_update("#a"), LIMITS) == find_bucket(an_update("#b"), LIMITS)
    assert find_bucket(an_update("#a"), LIMITS) == TokenBucket("slack:update", 10, 40 / 60)


def test_events_of_one_routing_key_share_a_bucket_whose_name_hides_the_key() -> None:
    bucket = find_bucket(a_page(), LIMITS)
    assert bucket is not None
    assert bucket == find_bucket(an_acknowledge_page(), LIMITS) == find_bucket(a_resolve_page(), LIMITS)
    assert (bucket.burst, bucket.rate) == (12, 108 / 60)
    assert ROUTING_KEY[:8] not in bucket.name
    other = a_step(a_responder("manager", pagerduty="f" * 32))
    assert find_bucket(a_page(step=other), LIMITS) != bucket


def test_actions_without_a_vendor_request_have_no_rate_limit() -> None:
    here = Target(SLACK, "#a")
    assert find_bucket(AddTimelineEntry(key="note", target=here, text="words"), LIMITS) is None
    assert find_bucket(a_page(step=a_step(_without_key())), LIMITS) is None


def _without_key():
    responder = a_responder()
    return type(responder)(responder.name, tuple(Target(t.kind, t.address) for t in responder.targets))


@pytest.mark.parametrize(("count", "per_s"), [(1, 1.0), (1, 60.0), (2, 60.0), (120, 60.0), (1000, 3600.0)])
def test_burst_and_rate_of_a_bucket_stay_within_the_limit(count: int, per_s: float) -> None:
    bucket = find_bucket(an_update(), LimitSettings(slack_updates=RateLimit(count, per_s)))
    assert bucket is not None
    assert count == 1 or bucket.burst + bucket.rate * per_s <= count + 1e-9


@pytest.mark.parametrize(
    ("former", "latter"),
    [
        pytest.param((a_page(step=MENTIONED), INCIDENT), (a_page(), INCIDENT), id="due steps first"),
        pytest.param((a_page(), INCIDENT), (a_page(), WARNING), id="criticals first"),
        pytest.param((a_post(), INCIDENT), (a_post(), WARNING), id="criticals first in a channel"),
        pytest.param((a_page(), INCIDENT), (a_post(), INCIDENT), id="pages before posts"),
        pytest.param((a_page(), INCIDENT), (an_acknowledge_page(), ACKNOWLEDGED), id="pages before answers"),
        pytest.param((an_acknowledge_page(), ACKNOWLEDGED), (a_page(), WARNING), id="answers in between"),
        pytest.param((a_resolve_page(), RESOLVED), (a_page(), WARNING), id="resolves in between"),
        pytest.param((a_resolve_page(), INCIDENT), (a_page(), INCIDENT), id="closing for a page anew"),
        pytest.param(
            (a_post(), WARNING), (a_reply("resolved"), RESOLVED), id="first messages before replies"
        ),
        pytest.param((a_reply("resolved"), RESOLVED), (a_reply("joined"), INCIDENT), id="ends before news"),
        pytest.param((a_reply("joined"), INCIDENT), (an_update(), INCIDENT), id="replies before edits"),
        pytest.param((a_reply("step", step=MENTIONED), INCIDENT), (a_post(), INCIDENT), id="mentions due"),
        pytest.param((a_post(), WARNING), (a_reply("step"), INCIDENT), id="words about a page"),
    ],
)
def test_priorities_of_actions_that_are_due_together(
    former: tuple[DeliveryAction, object], latter: tuple[DeliveryAction, object]
) -> None:
    assert priority_at(*former, NOW) < priority_at(*latter, NOW)


def test_an_old_action_has_priority_over_a_new_incident() -> None:
    old = priority_at(an_update(), WARNING, NOW)
    fresh = an_incident(opened_at=OPENED_AT + 200)
    assert old < priority_at(a_page(), fresh, NOW)


def test_a_due_step_has_priority_over_incidents_that_opened_later() -> None:
    fresh = an_incident(opened_at=OPENED_AT + 1)
    assert priority_at(a_page(step=MENTIONED), WARNING, NOW) < priority_at(a_page(), fresh, NOW)


def test_the_priority_of_an_action_does_not_change_with_time() -> None:
    for action in (a_page(), a_post(), an_update(), a_reply("joined")):
        assert priority_at(action, INCIDENT, NOW) == priority_at(action, INCIDENT, NOW + 100)


def test_an_incident_from_a_clock_ahead_has_the_priority_of_now() -> None:
    ahead = an_incident(opened_at=NOW + 3600)
    assert priority_at(a_page(), ahead, NOW) == NOW


def test_priorities_follow_the_severity() -> None:
    priorities = [priority_at(a_post(), replace(INCIDENT, severity=one), NOW) for one in Severity]
    assert priorities == sorted(priorities)


def test_only_the_first_message_and_the_first_page_of_an_incident_are_initial() -> None:
    assert is_initial(a_post())
    assert is_initial(a_page())
    assert not is_initial(a_page(step=MENTIONED))
    assert not is_initial(a_page(instance="2"))
    assert not is_initial(a_post(key="message_replacement", replaces="C1:1.0"))
    assert not is_initial(an_update())
    assert not is_initial(a_reply("resolved"))
