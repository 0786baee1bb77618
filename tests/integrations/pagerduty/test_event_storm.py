"""The events of a storm's page: whole events, and events with hostile names."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from receiver.integrations.pagerduty.channel import PagerDutyChannel
from receiver.integrations.pagerduty.event import MAX_EVENT, MAX_SUMMARY, json_size, render_event
from receiver.integrations.pagerduty.routing_keys import RoutingKeys
from receiver.model.actions import Page, ResolvePage
from receiver.model.routing import PAGERDUTY, Step, Target
from receiver.storms.model import Member, MemberState, Storm, StormNotification, summarize_storm
from tests.builders import OPENED_AT, a_responder, an_incident

STORM = Storm("storm-0123456789abcde", "responder:on-call", OPENED_AT)
KEY = "receiver-storm-0123456789abcde-1"
TARGET = Target(PAGERDUTY, "on-call")
PAGE = Page(key="page:1", target=TARGET, dedup_key=KEY, step=Step("on-call", a_responder()))


def a_page_of(*names: str, action: Any = PAGE, public_url: str = "") -> StormNotification:
    members = [
        MemberState(
            f"i{n}", Member(OPENED_AT), replace(an_incident(), id=f"i{n}", alertname=name, channel="#a")
        )
        for n, name in enumerate(names)
    ]
    return StormNotification(action, STORM, summarize_storm(members), OPENED_AT, public_url)


def test_the_page_counts_the_members_of_its_batch() -> None:
    names = ["HighCPU"] * 3 + ["DiskFull"] * 2 + ["A", "B", "C"]
    event = render_event(a_page_of(*names, public_url="https://r.example"))
    assert event["dedup_key"] == KEY
    assert event["payload"]["summary"] == "8 incidents in #a: 3 HighCPU, 2 DiskFull, 1 A, 2 others"
    assert event["payload"]["severity"] == "critical"
    assert event["payload"]["custom_details"]["incidents"] == 8
    assert event["payload"]["custom_details"]["by_alertname"]["HighCPU"] == 3
    assert event["client_url"] == f"https://r.example/storms/{STORM.id}"


def test_one_further_alert_name_is_counted_as_one_other() -> None:
    event = render_event(a_page_of("A", "A", "B", "C", "D"))
    assert event["payload"]["summary"] == "5 incidents in #a: 2 A, 1 B, 1 C, 1 other"


def test_the_resolve_event_has_only_the_keys() -> None:
    action = ResolvePage(key="resolve:1", target=TARGET, dedup_key=KEY)
    assert render_event(a_page_of("A", action=action)) == {"event_action": "resolve", "dedup_key": KEY}


def test_without_a_key_it_is_simulated() -> None:
    recorded: list[Any] = []
    channel = PagerDutyChannel(RoutingKeys(), "http://127.0.0.1:1", record=recorded.append)
    receipt = channel.send(a_page_of("A"))
    assert receipt.is_simulated
    assert recorded[0]["text"] == "1 incident in #a: 1 A"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.one_of(st.text(max_size=80), st.just("x" * 5000), st.just("\ud800")), min_size=1, max_size=80)
)
def test_pagerduty_accepts_a_storm_page_with_hostile_names(names: list[str]) -> None:
    event = render_event(a_page_of(*names))
    assert 0 < len(event["payload"]["summary"]) <= MAX_SUMMARY
    assert json_size(event) < MAX_EVENT
