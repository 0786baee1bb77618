"""A clock that is set back by an hour during a storm holds up none of its messages, pages, edits and mentions."""

from __future__ import annotations

import pytest

from receiver.app.worker import build_reconcilers
from tests.rig import ROUTING, Rig
from tests.story.test_clock_steps import sets_back
from tests.story.test_storms import LIMITS, MANY, fire_groups, pages, storm, summaries

PAGERLESS = ROUTING.replace(
    '"@team-lead", pagerduty: {routing_key: "${PAGERDUTY_TEAM_LEAD_KEY}"}', '"@team-lead"'
)


@pytest.fixture(autouse=True)
def limits(rig: Rig) -> None:
    rig.configure(ROUTING + LIMITS)


def list_mentions(rig: Rig) -> list[str]:
    return [reply for reply in rig.replies() if "@team-lead" in reply and "incidents in this storm" in reply]


def test_a_page_that_waits_for_its_retry_is_sent_at_once(rig: Rig) -> None:
    fire_groups(rig)
    rig.pagerduty.stop()
    rig.passes("20s")
    assert pages(rig) == []
    sets_back(rig)
    rig.pagerduty.start()
    rig.passes("10s")
    assert len(pages(rig)) == 1


def test_a_message_that_waits_for_its_retry_is_sent_at_once(rig: Rig) -> None:
    rig.slack.fail_next("chat.postMessage", times=10_000)
    fire_groups(rig)
    rig.passes("1m", every="1s")
    assert summaries(rig) == []
    sets_back(rig)
    rig.slack.heal()
    rig.passes("40s", every="1s")
    assert len(summaries(rig)) == 1


def test_the_next_page_does_not_wait_for_the_pause_after_the_last_one(rig: Rig) -> None:
    fire_groups(rig)
    rig.passes("10s")
    one = storm(rig, "responder:on-call")["id"]
    rig.client.post(f"/api/v1/storms/{one}/acknowledge", json={"by": "alice"})
    rig.works()
    sets_back(rig)
    fire_groups(rig, first=MANY)
    rig.passes("30s", every="1s")
    assert len(pages(rig)) == 2


def test_the_message_is_edited(rig: Rig) -> None:
    fire_groups(rig)
    rig.passes("20s")
    one = storm(rig)["id"]
    sets_back(rig)
    rig.client.post(f"/api/v1/storms/{one}/acknowledge", json={"by": "alice"})
    rig.passes("20s", every="1s")
    assert "acknowledged" in summaries(rig)[0].text


def test_a_member_that_reaches_a_step_afterwards_is_mentioned_once(rig: Rig) -> None:
    """A mention from before covers it by the numbers of the clock, but not by the time that passed."""
    rig.configure(PAGERLESS + LIMITS)
    rig.reconcilers = build_reconcilers(rig.services)
    last = fire_groups(rig)[-1]
    rig.passes("5m30s", every="3s")
    assert len(list_mentions(rig)) == 1
    rig.answers(last, "acknowledge")
    rig.passes("3m", every="3s")
    sets_back(rig)
    rig.answers(last, "unacknowledge")
    rig.passes("1m", every="3s")
    assert len(list_mentions(rig)) == 2
    rig.passes("1h", every="10s")
    assert len(list_mentions(rig)) == 2
