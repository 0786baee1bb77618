"""The page of a storm is confirmed by PagerDuty's state, too, with one check for all its incidents."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mocks.pagerduty_account import PagedIncident
from tests.rig import KEYS, ROUTING, Rig
from tests.story.test_storms import LIMITS, fire_groups, resolve_groups

ONCALL = KEYS["PAGERDUTY_ONCALL_KEY"]
NOTICES = '\nnotices: {channel: "#monitoring"}\n'
WARNINGS = {"severity": "warning"}  # their second step is due much later


@pytest.fixture(autouse=True)
def rest(rig: Rig) -> None:
    rig.environ |= {
        "PAGERDUTY_API_TOKEN": "rest-token",
        "PAGERDUTY_API_URL": rig.pagerduty.url,
        "PAGERDUTY_WEBHOOK_SECRET": "pagerduty-secret",
    }
    rig.configure(ROUTING + NOTICES + LIMITS)
    rig.reconcilers.periodic_tasks.enqueue_all(rig.services.work_queue)


def storm_page(rig: Rig) -> PagedIncident:
    """Return the last PagerDuty incident that is the page of a storm."""
    return [one for one in rig.pagerduty.opened() if "receiver-storm-" in one.dedup_key][-1]


def triggers(rig: Rig) -> list[Any]:
    return [event for event in rig.pagerduty.triggers() if "receiver-storm-" in event.dedup_key]


def count_queries(rig: Rig) -> int:
    return sum("receiver-storm-" in str(query.get("incident_key")) for _, query in rig.pagerduty.rest.asked)


def notices(rig: Rig) -> list[str]:
    return [message.words for message in rig.parents() if message.channel == "#monitoring"]


def deliver(rig: Rig) -> None:
    def post(body: bytes, headers: dict[str, str]) -> int:
        return rig.client.post("/webhooks/pagerduty", data=body, headers=headers).status_code

    rig.pagerduty.webhooks.deliver(post)
    rig.works()


def test_a_storms_page_is_checked_once_for_all_its_members(rig: Rig) -> None:
    fire_groups(rig, **WARNINGS)
    rig.passes("10s")
    assert len(triggers(rig)) == 1
    rig.passes("1m")
    assert count_queries(rig) == 1
    rig.passes("15m", every="10s")
    assert count_queries(rig) == 2
    assert len(triggers(rig)) == 1


def test_a_storms_page_in_a_maintenance_window_is_reported_and_sent_again(rig: Rig) -> None:
    rig.pagerduty.deaf.add(ONCALL)
    fire_groups(rig, **WARNINGS)
    rig.passes("2m")
    assert len(triggers(rig)) > 2
    assert (
        sum("accepted the storm's page to On-call and has no incident" in text for text in notices(rig)) == 1
    )
    rig.pagerduty.deaf.clear()
    rig.passes("10m", every="5s")
    assert storm_page(rig).state == "triggered"
    count = len(triggers(rig))
    rig.passes("10m", every="5s")
    assert len(triggers(rig)) == count


def test_an_auto_resolve_of_a_storms_page_resolves_none_of_its_incidents(rig: Rig) -> None:
    ids = fire_groups(rig, **WARNINGS)
    rig.passes("1m")
    rig.pagerduty.auto_resolves(storm_page(rig))
    deliver(rig)
    rig.passes("5s")
    assert {rig.state(one) for one in ids} == {"open"}
    assert len(triggers(rig)) == 2
    assert storm_page(rig).state == "triggered"


def test_the_resolve_of_a_storms_page_by_a_person_resolves_all_its_incidents(rig: Rig) -> None:
    ids = fire_groups(rig, **WARNINGS)
    rig.passes("1m")
    rig.pagerduty.resolves(storm_page(rig))
    deliver(rig)
    rig.passes("5s")
    assert rig.state(ids[-1]) == "resolved"


def test_a_storms_page_is_resolved_under_the_routing_key_it_was_sent_under(rig: Rig) -> None:
    fire_groups(rig, **WARNINGS)
    rig.passes("1m")
    rig.environ["PAGERDUTY_ONCALL_KEY"] = "0" * 31 + "d"
    rig.configure(ROUTING + NOTICES + LIMITS)
    resolve_groups(rig, severity="warning")
    rig.passes("2m")
    assert storm_page(rig).state == "resolved"
    assert {event.routing_key for event in rig.pagerduty.events} == {ONCALL}


def test_a_resolve_of_a_storms_page_that_pagerduty_dropped_is_sent_again(rig: Rig) -> None:
    fire_groups(rig, **WARNINGS)
    rig.passes("1m")
    rig.pagerduty.deaf.add(ONCALL)
    resolve_groups(rig, severity="warning")
    rig.passes("15s")
    assert storm_page(rig).state == "triggered"
    rig.pagerduty.deaf.clear()
    rig.passes("1m")
    assert storm_page(rig).state == "resolved"
