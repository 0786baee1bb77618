"""Rate limits of the vendors: the order of deliveries, nothing is lost or starves, and the effect of a 429.

The mocks respond with 429 as the vendors do; the clock advances to each due time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from receiver.app.services import build_services
from receiver.app.worker import build_reconcilers
from receiver.model.routing import PAGERDUTY, SLACK
from receiver.reviews.model import review_group_id
from tests.rig import ROUTING, Rig
from tests.script_clocks import SHARED_CLOCK
from tests.slack_people import SECRET, SlackPeople

LIMITED = ROUTING + "limits: {}\n"
ONE_CHANNEL = """
version: 1
slack: {token: "${SLACK_BOT_TOKEN}"}
limits: {}
routes:
  - {match: [], channel: "#alerts-critical"}
"""
REVIEWED = LIMITED.replace('channel: "#alerts-info"}', 'channel: "#alerts-info", review: next-business-day}')
MONITORED = ONE_CHANNEL + 'notices: {channel: "#alerts-critical"}\n'
SEVERITIES = ("info", "warning", "critical")


@pytest.fixture
def limited(rig: Rig) -> Iterator[Rig]:
    """A rig whose mock vendors enforce their rate limits.

    Storms are switched off, so that all deliveries are sent one by one: these tests are about the token
    buckets.
    """
    rig.storms_after_s = math.inf
    rig.slack.enforce_limits()
    rig.pagerduty.enforce_limits()
    rig.configure(LIMITED)
    return rig


def fire_many(rig: Rig, count: int, severities: tuple[str, ...] = ("critical",), name: str = "Storm") -> None:
    """Post alerts, each as its own group, without running the worker."""
    for n in range(count):
        rig.posts(rig.alert(f"{name}{n}", severities[n % len(severities)]))


def severity_of(words: str) -> str:
    return next(severity for severity in SEVERITIES if severity in words.lower())


def pages_for(rig: Rig, seconds: float) -> None:
    """Let only the PagerDuty queue work for *seconds*."""
    for _ in range(int(seconds * 2)):
        rig.clock.moment += 0.5
        rig.works((PAGERDUTY,))


def test_two_hundred_new_incidents_are_all_posted_ordered_by_severity(limited: Rig) -> None:
    limited.configure(ONE_CHANNEL)
    start = limited.clock()
    fire_many(limited, 200, SEVERITIES)
    limited.passes("3m19s")
    assert len(limited.parents()) == 200
    severities = [severity_of(parent.words) for parent in limited.parents()]
    assert severities == ["critical"] * 66 + ["warning"] * 67 + ["info"] * 67
    assert limited.slack.limited == []
    assert limited.clock() - start < 200


def test_two_workers_share_one_rate_limit(limited: Rig) -> None:
    limited.configure(ONE_CHANNEL)
    fire_many(limited, 40)
    machines = [
        build_reconcilers(
            build_services(
                limited.services.settings,
                limited.services.routing,
                limited.clock,
                script_clock=SHARED_CLOCK,
                storms_after_s=math.inf,
            )
        )
        for _ in "ab"
    ]
    for second in range(41):
        for _ in range(40):
            for name, reconcilers in zip("ab", machines, strict=True):
                for incident in limited.services.work_queue.claim(SLACK, name, limited.clock(), 1).entries:
                    dues = reconcilers.reconcile(incident, SLACK, name)
                    limited.services.work_queue.release(SLACK, name, incident, dues)
        assert len(limited.parents()) <= 3 + second
        limited.clock.moment += 1
    assert len(limited.parents()) == 40
    assert limited.slack.limited == []


def test_a_restart_loses_neither_used_tokens_nor_waiters(limited: Rig) -> None:
    limited.configure(ONE_CHANNEL)
    fire_many(limited, 20, ("warning",))
    limited.passes("2s")
    assert len(limited.parents()) == 5
    limited.configure(ONE_CHANNEL)
    fire_many(limited, 1, name="Worse")
    limited.works()
    assert len(limited.parents()) == 5
    limited.passes("16s")
    assert len(limited.parents()) == 21
    assert "Worse0" in limited.parents()[5].words
    assert limited.slack.limited == []


def test_a_429_pauses_all_deliveries_to_that_channel(limited: Rig) -> None:
    limited.slack.fail_next("chat.postMessage", status=429, retry_after=30)
    fire_many(limited, 5)
    limited.works()
    limited.fires("Other", "info")
    limited.passes("29s")
    assert [parent.channel for parent in limited.parents()] == ["#alerts-info"]
    assert len(limited.slack.calls_of("chat.postMessage")) == 2
    limited.passes("10s")
    assert len(limited.parents()) == 6
    assert 'receiver_rate_limited_total{channel="slack"}' in limited.client.get("/metrics").text


def test_a_429_of_pagerduty_pauses_all_pages_of_that_key(limited: Rig) -> None:
    limited.pagerduty.fail_next(429, retry_after=30)
    fire_many(limited, 5)
    limited.passes("29s")
    assert len(limited.pagerduty.requests) == 1
    limited.passes("10s")
    assert len(limited.paged()) == 5


def test_pages_stay_within_pagerdutys_limit_and_all_arrive_ordered_by_severity(limited: Rig) -> None:
    fire_many(limited, 180, ("warning", "critical"))
    pages_for(limited, 60)
    assert 110 < len(limited.paged()) <= 121
    pages_for(limited, 40)
    assert len(limited.paged()) == 180
    severities = [incident.history[0].body["payload"]["severity"] for incident in limited.pagerduty.opened()]
    assert severities == ["critical"] * 90 + ["warning"] * 90
    assert limited.pagerduty.limited == []


def test_a_due_step_is_sent_before_five_hundred_new_alerts(limited: Rig) -> None:
    old = limited.fires("Old")
    limited.passes("4m50s")
    fire_many(limited, 500)
    limited.clock.moment += 10
    taken = limited.services.work_queue.claim(PAGERDUTY, "rig", limited.clock(), 1).entries
    assert taken == (old,)
    dues = limited.reconcilers.reconcile(old, PAGERDUTY, "rig")
    limited.services.work_queue.release(PAGERDUTY, "rig", old, dues)
    assert limited.triggered() == ["on-call", "team-lead"]


def test_a_due_step_is_sent_before_pages_that_wait_for_the_same_key(limited: Rig) -> None:
    """Both steps page on-call; only the priority in the token bucket decides."""
    limited.configure(
        LIMITED.replace(
            "{notify: team-lead, after: 5m}, {notify: manager",
            "{notify: on-call, after: 1m}, {notify: manager",
        )
    )
    limited.fires("Old")
    limited.passes("30s")
    fire_many(limited, 150)
    pages_for(limited, 29)
    assert 60 < len(limited.paged()) < 80
    before = len(limited.pagerduty.triggers())
    pages_for(limited, 2)
    again = [event.body["payload"]["summary"] for event in limited.pagerduty.triggers()[before:]]
    assert "Old" in again[1] or "Old" in again[2]


def test_an_alert_that_fired_and_resolved_behind_a_backlog_is_posted_once_as_resolved(limited: Rig) -> None:
    fire_many(limited, 30)
    limited.clock.moment += 0.01  # at the same time, the ID would decide the order
    brief = limited.posts(limited.alert("Brief"))["incidents"][0]
    limited.works((SLACK,))
    limited.clock.moment += 0.1
    limited.posts(limited.alert("Brief", ended=True, at=limited.clock() - 1))
    limited.works()
    assert limited.state(brief) == "resolved"
    limited.passes("2m")
    parents = [parent for parent in limited.parents() if "Brief" in parent.words]
    assert [parent.edits for parent in parents] == [0]
    assert "resolved" in parents[0].words.lower()
    assert limited.slack.replies(parents[0]) == []
    assert not any("Brief" in str(event.body) for event in limited.pagerduty.events)


def test_resolves_do_not_starve_behind_a_stream_of_new_criticals(limited: Rig) -> None:
    limited.fires("Old")
    limited.passes("10s")
    posted = 0
    for second in range(90):
        for _ in range(2):
            limited.posts(limited.alert(f"Stream{posted}"))
            posted += 1
        if second == 5:
            limited.posts(limited.alert("Old", ended=True, at=limited.clock() - 1))
        limited.works((SLACK, PAGERDUTY))
        limited.clock.moment += 1
    assert len(limited.pagerduty.opened()) < posted
    assert [event.action for event in limited.pagerduty.events].count("resolve") == 1
    limited.passes("70s")
    assert len(limited.parents()) < posted
    assert [words for words in limited.replies() if "Resolved" in words]


def test_an_edit_permitted_late_shows_the_state_of_then(limited: Rig) -> None:
    limited.configure(LIMITED.replace("limits: {}", "limits: {slack_updates: 1/m}"))
    incident = limited.fires("Edited", "info", host="0")
    limited.passes("5s")
    limited.answers(incident, "acknowledge")
    limited.passes("5s")
    before = limited.parents()[0].edits
    for host in range(1, 6):
        limited.posts(*(limited.alert("Edited", "info", host=str(n)) for n in range(host + 1)))
        limited.passes("5s")
    limited.answers(incident, "resolve", "bob")
    assert limited.parents()[0].edits == before
    limited.passes("1m")
    assert limited.parents()[0].edits == before + 1
    assert "bob" in limited.parents()[0].words


def test_first_messages_are_posted_before_replies(limited: Rig) -> None:
    limited.fires("Joined", host="a")
    limited.passes("20s")
    fire_many(limited, 3, name="First")
    limited.works()
    count = len(limited.slack.messages)
    limited.posts(limited.alert("Joined", host="a"), limited.alert("Joined", host="b"))
    fire_many(limited, 10)
    limited.passes("1m")
    is_reply = [message.is_reply for message in limited.slack.messages[count:]]
    assert is_reply == sorted(is_reply)
    assert len(limited.parents()) == 14
    assert any("joined" in words for words in limited.replies())


def test_a_review_waits_for_a_token_behind_first_messages_and_is_posted(limited: Rig) -> None:
    limited.configure(REVIEWED)
    limited.reconcilers.periodic_tasks.enqueue_all(limited.services.work_queue)
    limited.fires("Reviewed", "info")
    limited.passes("20h59m59s", every="1h")
    fire_many(limited, 150, ("info",))
    limited.passes("2m")
    parents = [parent.text for parent in limited.parents() if parent.channel == "#alerts-info"]
    assert len(parents) > 120
    assert not any("eview" in text.partition("\n")[0].replace("Reviewed", "") for text in parents)
    (waiting,) = limited.services.reviews.load_reviews(review_group_id("#alerts-info")).state.records
    assert waiting.delivery.attempts == 0
    limited.passes("1m")
    texts = [parent.text for parent in limited.parents()]
    assert len(texts) == 152
    assert "eview" in texts[-1]
    assert limited.slack.limited == []


def test_a_mark_on_a_review_is_shown_when_its_edit_gets_a_token(limited: Rig) -> None:
    limited.environ["SLACK_SIGNING_SECRET"] = SECRET
    limited.configure(REVIEWED.replace("limits: {}", "limits: {slack_updates: 1/m}"))
    limited.reconcilers.periodic_tasks.enqueue_all(limited.services.work_queue)
    limited.fires("Info", "info")
    limited.passes("21h1m", every="1h")
    (review,) = [parent for parent in limited.parents() if "reviewed" in parent.buttons]
    limited.answers(limited.fires("Edited", "warning"), "acknowledge")
    limited.passes("5s")
    SlackPeople(limited.client, limited.clock, limited.slack).clicks("reviewed", review.buttons["reviewed"])
    limited.passes("30s")
    assert review.edits == 0
    limited.passes("2m")
    assert review.edits == 1
    assert "reviewed" not in review.buttons


def save_notices(rig: Rig, count: int, name: str = "problem") -> None:
    for n in range(count):
        rig.services.notices.save_notice(f"{name} {n}", f"{name} {n}", rig.clock(), about="problems")


def notices(rig: Rig) -> list[str]:
    return [parent.text for parent in rig.parents() if parent.text.startswith("🛠")]


def test_notices_stay_within_the_limit_of_their_channel(limited: Rig) -> None:
    """Notices of the same time are one message; later ones are one message a minute."""
    limited.configure(MONITORED.replace("limits: {}", "limits: {slack_posts: 12/h}"))
    save_notices(limited, 40)
    limited.passes("50s")
    assert len(notices(limited)) == 1
    for minute in range(1, 31):
        save_notices(limited, 1, f"problem of minute {minute}")
        limited.passes("1m")
        assert len(notices(limited)) <= 3 + minute / 5
    limited.passes("10m")
    assert len(notices(limited)) in (8, 9)
    assert "problem of minute 30 0" in notices(limited)[-1]


def test_a_first_critical_message_is_posted_before_notices_that_waited_longer(limited: Rig) -> None:
    limited.configure(MONITORED)
    fire_many(limited, 5, ("info",))
    save_notices(limited, 20)
    limited.passes("1500ms")
    assert notices(limited) == []
    fire_many(limited, 10, name="Worse")
    limited.passes("30s")
    texts = [parent.text for parent in limited.parents()]
    assert len(texts) == 16
    assert ["🛠" in text for text in texts] == [False] * 15 + [True]
    assert sum("Worse" in text for text in texts[4:14]) == 10
    assert limited.slack.limited == []


def test_notices_do_not_starve_behind_a_stream_of_new_criticals(limited: Rig) -> None:
    limited.configure(MONITORED)
    fire_many(limited, 5)
    save_notices(limited, 1)
    for second in range(180):
        fire_many(limited, 2, name=f"Stream{second}of")
        limited.works()
        limited.clock.moment += 1
    (notice,) = notices(limited)
    assert len(limited.parents()) < 200
    texts = [parent.text for parent in limited.parents()]
    # A delivery that is first due more than 70 s later has a worse priority.
    assert 60 < texts.index(notice) < 180
    assert limited.slack.limited == []


def test_a_waiting_notice_is_no_attempt_and_includes_later_notices(limited: Rig) -> None:
    limited.configure(MONITORED)
    fire_many(limited, 10)
    save_notices(limited, 1)
    limited.passes("3s")
    assert limited.services.notices.load_message().delivery.attempts == 0
    save_notices(limited, 1, "another")
    limited.passes("10s")
    (notice,) = notices(limited)
    assert "problem 0" in notice
    assert "another 0" in notice


def test_a_429_for_a_notice_pauses_all_deliveries_to_that_channel(limited: Rig) -> None:
    limited.configure(MONITORED)
    limited.slack.fail_next("chat.postMessage", status=429, retry_after=30)
    save_notices(limited, 1)
    limited.passes("2s")
    fire_many(limited, 1)
    limited.passes("28s")
    assert len(limited.slack.calls_of("chat.postMessage")) == 1
    limited.passes("5s")
    assert len(limited.parents()) == 2


def test_a_429_pauses_notices_to_that_channel(limited: Rig) -> None:
    limited.configure(MONITORED)
    limited.slack.fail_next("chat.postMessage", status=429, retry_after=30)
    fire_many(limited, 1)
    save_notices(limited, 1)
    limited.passes("29s")
    assert len(limited.slack.calls_of("chat.postMessage")) == 1
    limited.passes("5s")
    assert len(notices(limited)) == 1


def test_a_simulated_slack_has_no_rate_limit(limited: Rig) -> None:
    limited.environ["SLACK_BOT_TOKEN"] = ""
    limited.configure(ONE_CHANNEL)
    fire_many(limited, 20)
    limited.works()
    assert len(limited.services.simulated.list_newest(50)) == 20


def test_waiting_pages_that_are_no_longer_planned_delay_no_other(limited: Rig) -> None:
    fire_many(limited, 100)
    pages_for(limited, 1)
    for n in range(100):
        limited.posts(limited.alert(f"Storm{n}", ended=True, at=limited.clock() - 1))
    pages_for(limited, 10)
    limited.posts(limited.alert("After"))
    pages_for(limited, 10)
    assert "After" in limited.pagerduty.opened()[-1].summary
