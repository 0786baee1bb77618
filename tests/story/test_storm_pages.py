"""A storm's page is what PagerDuty has, too: it is checked once for all that it counts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mocks.pagerduty_account import PagedIncident
from tests.rig import KEYS, ROUTING, Rig
from tests.story.test_storms import LIMITS, breaks_out, ends

ONCALL = KEYS["PAGERDUTY_ONCALL_KEY"]
NOTICES = '\nnotices: {channel: "#monitoring"}\n'
WARNINGS = {"severity": "warning"}  # whose second step is far away


@pytest.fixture(autouse=True)
def rest(rig: Rig) -> None:
    rig.environ |= {
        "PAGERDUTY_API_TOKEN": "rest-token",
        "PAGERDUTY_API_URL": rig.pagerduty.url,
        "PAGERDUTY_WEBHOOK_SECRET": "pagerduty-secret",
    }
    rig.configure(ROUTING + NOTICES + LIMITS)
    rig.worker_services.periodic_tasks.enqueue_all(rig.services.work_queue)


def storm_page(rig: Rig) -> PagedIncident:
    """Return the last PagerDuty incident of a storm's page."""
    return [one for one in rig.pagerduty.opened() if "receiver-storm-" in one.dedup_key][-1]


def triggers(rig: Rig) -> list[Any]:
    return [event for event in rig.pagerduty.triggers() if "receiver-storm-" in event.dedup_key]


def count_queries(rig: Rig) -> int:
    return sum("receiver-storm-" in str(query.get("incident_key")) for _, query in rig.pagerduty.rest.asked)


def notices(rig: Rig) -> list[str]:
    return [message.words for message in rig.roots() if message.channel == "#monitoring"]


def delivers(rig: Rig) -> None:
    def post(body: bytes, headers: dict[str, str]) -> int:
        return rig.client.post("/webhooks/pagerduty", data=body, headers=headers).status_code

    rig.pagerduty.webhooks.deliver(post)
    rig.works()


def test_a_storms_page_is_checked_once_for_all_its_members(rig: Rig) -> None:
    breaks_out(rig, **WARNINGS)
    rig.passes("10s")
    assert len(triggers(rig)) == 1
    rig.passes("1m")
    assert count_queries(rig) == 1
    rig.passes("15m")
    assert count_queries(rig) == 2
    assert len(triggers(rig)) == 1


def test_a_storms_page_in_a_maintenance_window_is_reported_and_sent_again(rig: Rig) -> None:
    rig.pagerduty.deaf.add(ONCALL)
    breaks_out(rig, **WARNINGS)
    rig.passes("2m")
    assert len(triggers(rig)) > 2
    assert (
        sum("accepted the storm's page to On-call and has no incident" in said for said in notices(rig)) == 1
    )
    rig.pagerduty.deaf.clear()
    rig.passes("10m")
    assert storm_page(rig).state == "triggered"
    count = len(triggers(rig))
    rig.passes("10m")
    assert len(triggers(rig)) == count


def test_auto_resolve_of_a_storms_page_closes_none_that_it_counts(rig: Rig) -> None:
    ids = breaks_out(rig, **WARNINGS)
    rig.passes("1m")
    rig.pagerduty.auto_resolves(storm_page(rig))
    delivers(rig)
    rig.passes("5s")
    assert {rig.state(one) for one in ids} == {"open"}
    assert len(triggers(rig)) == 2
    assert storm_page(rig).state == "triggered"


def test_a_persons_resolve_of_a_storms_page_closes_all_that_it_counts(rig: Rig) -> None:
    ids = breaks_out(rig, **WARNINGS)
    rig.passes("1m")
    rig.pagerduty.resolves(storm_page(rig))
    delivers(rig)
    rig.passes("5s")
    assert rig.state(ids[-1]) == "resolved"


def test_a_storms_page_is_resolved_under_the_key_it_went_out_under(rig: Rig) -> None:
    breaks_out(rig, **WARNINGS)
    rig.passes("1m")
    rig.environ["PAGERDUTY_ONCALL_KEY"] = "0" * 31 + "d"
    rig.configure(ROUTING + NOTICES + LIMITS)
    ends(rig, severity="warning")
    rig.passes("2m")
    assert storm_page(rig).state == "resolved"
    assert {event.routing_key for event in rig.pagerduty.events} == {ONCALL}


def test_a_resolve_of_a_storms_page_that_pagerduty_dropped_is_sent_again(rig: Rig) -> None:
    breaks_out(rig, **WARNINGS)
    rig.passes("1m")
    rig.pagerduty.deaf.add(ONCALL)
    ends(rig, severity="warning")
    rig.passes("15s")
    assert storm_page(rig).state == "triggered"
    rig.pagerduty.deaf.clear()
    rig.passes("1m")
    assert storm_page(rig).state == "resolved"
