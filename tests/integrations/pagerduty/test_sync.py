"""Actions of people in PagerDuty are applied to our incidents once, and PagerDuty gets no echo of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest

from receiver.engine.jobs import PeriodicTasks
from receiver.errors import PermanentDeliveryError, TemporaryDeliveryError
from receiver.integrations.pagerduty.rest_api import PagerDutyRestClient
from receiver.integrations.pagerduty.sync import PagerDutySync, PagerDutyWebhookHandler
from receiver.integrations.pagerduty.webhook import parse_event
from receiver.model.incident import Person
from receiver.text import Secret
from tests.mocks.pagerduty_account import PagedIncident
from tests.rig import KEYS, ROUTING, Rig

SECRET = "pagerduty-secret"


def build_rest(rig: Rig) -> PagerDutyRestClient:
    return PagerDutyRestClient(rig.pagerduty.url, Secret("rest-token"), clock=rig.clock)


class Bridge:
    """The receiver and PagerDuty; the test decides when the webhooks between them are delivered."""

    def __init__(self, rig: Rig, *, has_token: bool = True) -> None:
        self.rig = rig
        rig.environ["PAGERDUTY_WEBHOOK_SECRET"] = SECRET
        rig.configure(ROUTING)
        self.pager = build_rest(rig) if has_token else None
        services = rig.services
        sync = PagerDutySync(services.incident_service, services.incidents, rig.clock)
        self.use_handler(
            PagerDutyWebhookHandler(
                sync, services.incidents, self.pager, services.routing, services.storms, rig.clock
            )
        )

    def use_handler(self, handler: PagerDutyWebhookHandler) -> None:
        """Let the worker handle PagerDuty's webhooks with *handler*."""
        self.handler, rig = handler, self.rig
        jobs = {"pagerduty": handler.handle_event}
        periodic_tasks = PeriodicTasks({}, rig.services.job_queue, jobs, rig.clock)
        rig.reconcilers = replace(rig.reconcilers, periodic_tasks=periodic_tasks)

    def deliver(self) -> list[int]:
        """Let PagerDuty deliver the waiting webhooks and the worker process them."""
        answers = self.rig.pagerduty.webhooks.deliver(self.post)
        self.rig.works()
        return answers

    def post(self, body: bytes, headers: dict[str, str]) -> int:
        return self.rig.client.post("/webhooks/pagerduty", data=body, headers=headers).status_code

    def page(self, responder: str = "on-call") -> PagedIncident:
        """Return the PagerDuty incident of the responder's last page."""
        names = ("on-call", "team-lead", "manager")
        return self.rig.pagerduty.opened(list(KEYS.values())[names.index(responder)])[-1]

    def timeline_texts(self, incident_id: str, *whats: str) -> list[str]:
        """Return the texts of some kinds of timeline events, with their actors."""
        timeline = self.rig.shows(incident_id)["timeline"]
        return [f"{e['text']} ({e['by']})" for e in timeline if e["what"] in whats]


@pytest.fixture
def bridge(rig: Rig) -> Bridge:
    return Bridge(rig)


def change_bodies(bridge: Bridge, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the body of each waiting webhook with *change* and sign it again."""
    webhooks = bridge.rig.pagerduty.webhooks
    for n, webhook in enumerate(webhooks.waiting):
        body = json.loads(webhook.body)
        change(body["event"])
        webhooks.waiting[n] = webhooks.seal(webhook.event_type, json.dumps(body).encode())


# --- acknowledged in PagerDuty ---


def test_an_acknowledgement_in_pagerduty_acknowledges_our_incident(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.acknowledges(bridge.page(), by="Alice Doe")

    assert set(bridge.deliver()) == {202}

    assert rig.state(incident_id) == "acknowledged"
    assert rig.shows(incident_id)["acknowledged_by"] == "Alice Doe"
    assert bridge.timeline_texts(incident_id, "acknowledged") == ["Acknowledged (Alice Doe)"]
    rig.passes("30m")
    assert rig.paged() == ["on-call"]


def test_pagerduty_gets_no_echo_of_its_own_acknowledgement(rig: Rig, bridge: Bridge) -> None:
    rig.fires("DiskFull")
    rig.pagerduty.acknowledges(bridge.page())
    bridge.deliver()
    rig.passes("1h")
    assert rig.events("on-call") == ["trigger"]


def test_the_other_pages_are_acknowledged_too(rig: Rig, bridge: Bridge) -> None:
    rig.fires("DiskFull")
    rig.passes("6m")
    rig.pagerduty.acknowledges(bridge.page("team-lead"))
    bridge.deliver()
    assert rig.events("team-lead") == ["trigger"]
    assert rig.events("on-call") == ["trigger", "acknowledge"]


def test_an_event_for_our_own_acknowledgement_changes_nothing(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.answers(incident_id, "acknowledge", by="bob")
    bridge.deliver()
    assert [webhook.event_type for webhook in rig.pagerduty.webhooks.done][-1] == "incident.acknowledged"
    assert bridge.timeline_texts(incident_id, "acknowledged") == ["Acknowledged (bob)"]


def test_an_event_for_our_own_acknowledgement_does_not_end_a_snooze(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.services.incident_service.snooze(incident_id, Person("bob"), 3600.0, rig.clock())
    rig.works()
    bridge.deliver()
    assert rig.services.incidents.load_incident(incident_id).snoozed_until == rig.clock() + 3600


def test_a_repeated_webhook_changes_nothing(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.acknowledges(bridge.page())
    bridge.deliver()
    acknowledged = rig.pagerduty.webhooks.done[-1]
    rig.answers(incident_id, "unacknowledge")

    assert bridge.post(acknowledged.body, acknowledged.headers) == 202

    rig.works()
    assert rig.state(incident_id) == "open"


def test_a_late_acknowledgement_is_ignored(rig: Rig, bridge: Bridge) -> None:
    """The incident was unacknowledged here before PagerDuty's acknowledgement arrived."""
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.acknowledges(bridge.page())
    rig.clock.moment += 60
    rig.services.incident_service.acknowledge(incident_id, Person("bob"), rig.clock())
    rig.services.incident_service.unacknowledge(incident_id, Person("bob"), rig.clock())
    bridge.deliver()
    assert rig.state(incident_id) == "open"


def test_an_outdated_acknowledgement_is_ignored(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.acknowledges(bridge.page())
    rig.clock.moment += 60
    rig.pagerduty.unacknowledges(bridge.page())
    bridge.deliver()
    assert rig.state(incident_id) == "open"
    assert bridge.timeline_texts(incident_id, "acknowledged", "unacknowledged") == []


def test_a_status_older_than_its_event_is_ignored(rig: Rig, bridge: Bridge) -> None:
    """The REST API may return a state that is some seconds old."""
    incident_id = rig.fires("DiskFull")
    rig.clock.moment += 60
    rig.pagerduty.acknowledges(bridge.page())
    page = bridge.page()
    page.state, page.changed_at = "triggered", page.opened_at
    bridge.deliver()
    assert rig.state(incident_id) == "acknowledged"


def test_an_acknowledgement_that_is_processed_twice_counts_once(rig: Rig, bridge: Bridge) -> None:
    """A worker may be killed before it removes the processed event from its queue."""
    incident_id = rig.fires("DiskFull")
    rig.answers(incident_id, "acknowledge", by="bob")
    rig.clock.moment += 600
    rig.pagerduty.webhooks.waiting.clear()
    rig.pagerduty.acknowledges(bridge.page(), by="Alice Doe")
    change_bodies(bridge, lambda event: event.update(occurred_at="2026-11-23T12:10:04.500Z"))
    bridge.deliver()
    details = rig.shows(incident_id)
    assert details["acknowledged_by"] == "Alice Doe"
    rig.clock.moment += 30
    bridge.handler.handle_event(_fields(rig.pagerduty.webhooks.done[-1].body))
    assert rig.shows(incident_id)["acknowledged_at"] == details["acknowledged_at"]
    assert rig.events("on-call") == ["trigger", "acknowledge"]


# --- unacknowledged in PagerDuty ---


def test_after_an_unacknowledge_in_pagerduty_escalation_goes_on_without_a_second_page(
    rig: Rig, bridge: Bridge
) -> None:
    """PagerDuty notifies its people again by itself, so the page is neither resolved nor triggered again."""
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.acknowledges(bridge.page())
    bridge.deliver()
    rig.passes("30m")
    rig.pagerduty.unacknowledges(bridge.page())

    bridge.deliver()

    assert rig.state(incident_id) == "open"
    assert bridge.timeline_texts(incident_id, "unacknowledged") == ["Un-acknowledged (PagerDuty)"]
    assert rig.events("on-call") == ["trigger", "trigger"]
    assert rig.paged() == ["on-call"]
    rig.passes("5m")
    assert rig.paged() == ["on-call", "team-lead"]


def test_an_unacknowledged_incident_can_be_acknowledged_again(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.acknowledges(bridge.page())
    bridge.deliver()
    rig.passes("30m")
    rig.pagerduty.unacknowledges(bridge.page())
    bridge.deliver()
    rig.passes("1m")
    rig.pagerduty.acknowledges(bridge.page(), by="Bob")
    bridge.deliver()
    assert rig.shows(incident_id)["acknowledged_by"] == "Bob"
    assert rig.events("on-call") == ["trigger", "trigger"]


# --- resolved in PagerDuty ---


def test_a_resolve_in_pagerduty_resolves_our_incident_manually(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.passes("6m")
    rig.pagerduty.resolves(bridge.page(), by="Alice Doe")

    bridge.deliver()

    assert rig.state(incident_id) == "resolved"
    assert bridge.timeline_texts(incident_id, "resolved") == ["Resolved by hand (Alice Doe)"]
    assert rig.events("on-call") == ["trigger"]
    assert rig.events("team-lead") == ["trigger", "resolve"]
    assert rig.pagerduty.still_open() == []


def test_an_event_for_our_own_resolve_changes_nothing(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.passes("1m")
    rig.ends("DiskFull")
    bridge.deliver()
    assert rig.state(incident_id) == "resolved"
    assert bridge.timeline_texts(incident_id, "resolved") == ["All alerts resolved (None)"]
    assert rig.events("on-call") == ["trigger", "resolve"]


def test_an_event_of_a_former_page_leaves_the_reopened_incident_open(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.passes("1m")
    rig.ends("DiskFull")
    rig.passes("1m")
    assert rig.fires("DiskFull") == incident_id
    assert rig.paged() == ["on-call", "on-call"]

    bridge.deliver()

    assert rig.state(incident_id) == "open"


def test_an_event_of_a_former_page_does_not_resolve_the_next_incident(rig: Rig, bridge: Bridge) -> None:
    rig.fires("DiskFull")
    rig.passes("1m")
    rig.ends("DiskFull")
    rig.passes("20m")
    second = rig.fires("DiskFull")
    bridge.deliver()
    assert rig.state(second) == "open"


def test_an_event_of_a_former_page_is_ignored_while_the_next_page_is_not_yet_in_pagerduty(
    rig: Rig, bridge: Bridge
) -> None:
    """PagerDuty accepts events before it creates incidents of them, so it may return no open incident."""
    rig.fires("DiskFull")
    rig.passes("1m")
    rig.ends("DiskFull")
    rig.passes("20m")
    second = rig.fires("DiskFull")
    rig.pagerduty.opened()[-1].dedup_key = "not known yet"
    bridge.deliver()
    assert rig.state(second) == "open"


def test_a_page_that_we_resolved_in_order_to_page_again_does_not_resolve_our_incident(
    rig: Rig, bridge: Bridge
) -> None:
    incident_id = rig.fires("DiskFull")
    rig.answers(incident_id, "acknowledge")
    rig.passes("1m")
    rig.answers(incident_id, "unacknowledge")
    assert rig.events("on-call") == ["trigger", "acknowledge", "resolve", "trigger"]
    bridge.deliver()
    assert rig.state(incident_id) == "open"


def test_a_worker_killed_between_two_steps_of_resolving_loses_nothing(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.passes("1m")
    rig.pagerduty.resolves(bridge.page())
    [event] = [w for w in rig.pagerduty.webhooks.waiting if w.event_type == "incident.resolved"]
    killed: Any = None
    sync = replace(bridge.handler.pagerduty_sync, incident_service=killed)
    with pytest.raises(AttributeError):
        replace(bridge.handler, pagerduty_sync=sync).handle_event(_fields(event.body))

    bridge.handler.handle_event(_fields(event.body))

    assert rig.state(incident_id) == "resolved"
    rig.works()
    assert rig.events("on-call") == ["trigger"]


def test_after_a_merge_in_pagerduty_our_incident_follows_the_merged_incident(
    rig: Rig, bridge: Bridge
) -> None:
    first, second = rig.fires("DiskFull"), rig.fires("DiskSlow")
    one, other = rig.pagerduty.opened()
    rig.clock.moment += 60
    rig.pagerduty.merges(one, into=other)
    bridge.deliver()
    assert (rig.state(first), rig.state(second)) == ("open", "open")

    rig.pagerduty.acknowledges(other)
    bridge.deliver()
    assert (rig.state(first), rig.state(second)) == ("acknowledged", "acknowledged")


def test_a_merge_that_names_our_key_is_recorded_and_closes_nothing(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.fires("DiskSlow")
    one, other = rig.pagerduty.opened()
    rig.pagerduty.merges(one, into=other)
    change_bodies(bridge, lambda event: event["data"].update(incident_key=one.dedup_key))
    bridge.deliver()
    assert rig.state(incident_id) == "open"
    assert bridge.timeline_texts(incident_id, "noted") == [
        "PagerDuty: merged into another incident, where the page goes on (Alice Doe)"
    ]


# --- events that are only recorded ---


def test_a_reassignment_is_in_the_timeline(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.assigns(bridge.page(), "Bob", how="escalated")
    bridge.deliver()
    rig.pagerduty.assigns(bridge.page(), "Carol", by="Bob", how="reassigned")
    bridge.deliver()
    rig.pagerduty.requests_responder(bridge.page(), of="Maeve")
    bridge.deliver()
    assert bridge.timeline_texts(incident_id, "noted") == [
        "PagerDuty: escalated to Bob (None)",
        "PagerDuty: reassigned to Carol (Bob)",
        "PagerDuty: Maeve was asked to help (Alice Doe)",
    ]
    assert rig.state(incident_id) == "open"


def test_a_repeated_event_is_recorded_once(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.assigns(bridge.page(), "Bob", how="delegated")
    event = _fields(rig.pagerduty.webhooks.waiting[-1].body)
    bridge.handler.handle_event(event)
    bridge.handler.handle_event(event)
    assert bridge.timeline_texts(incident_id, "noted") == ["PagerDuty: delegated to Bob (None)"]


def test_an_incident_reopened_in_pagerduty_stays_resolved_here_and_the_timeline_says_why(
    rig: Rig, bridge: Bridge
) -> None:
    incident_id = rig.fires("DiskFull")
    rig.passes("1m")
    rig.pagerduty.resolves(bridge.page(), by="Alice Doe")
    bridge.deliver()
    rig.pagerduty.reopens(bridge.page(), by="Bob")
    bridge.deliver()
    assert rig.state(incident_id) == "resolved"
    assert bridge.timeline_texts(incident_id, "noted") == [
        "PagerDuty: reopened; it stays closed here, as Alice Doe closed it (Bob)"
    ]


# --- finding our incident ---


def test_an_incident_of_another_integration_changes_nothing(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    event = {"routing_key": "f" * 32, "event_action": "trigger", "dedup_key": "theirs"}
    rig.pagerduty.process_event({**event, "payload": {"summary": "s", "source": "h", "severity": "error"}})
    rig.pagerduty.acknowledges(rig.pagerduty.opened()[-1])
    bridge.deliver()
    assert rig.state(incident_id) == "open"


@pytest.mark.parametrize("key", ["receiver-000000000000-0000000000000000", "receiver-x", "", "../"])
def test_an_unknown_dedup_key_changes_nothing(rig: Rig, bridge: Bridge, key: str) -> None:
    bridge.handler.handle_event(
        {"event_id": "1", "event_type": "incident.resolved", "incident_id": "P1", "incident_key": key}
    )


def test_without_a_token_an_event_with_our_dedup_key_is_applied(rig: Rig) -> None:
    bridge = Bridge(rig, has_token=False)
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.acknowledges(bridge.page())
    change_bodies(bridge, lambda event: event["data"].update(incident_key=bridge.page().dedup_key))
    bridge.deliver()
    assert rig.state(incident_id) == "acknowledged"
    rig.clock.moment += 60
    rig.pagerduty.resolves(bridge.page())
    change_bodies(bridge, lambda event: event["data"].update(incident_key=bridge.page().dedup_key))
    bridge.deliver()
    assert rig.state(incident_id) == "resolved"
    assert rig.pagerduty.rest.asked == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize(("first", "state"), [("acknowledges", "open"), ("unacknowledges", "acknowledged")])
def test_without_a_token_the_latest_event_counts_in_any_order(
    rig: Rig, order: tuple[int, int], first: str, state: str
) -> None:
    bridge = Bridge(rig, has_token=False)
    incident_id = rig.fires("DiskFull")
    rig.clock.moment += 60
    second = {"acknowledges": "unacknowledges", "unacknowledges": "acknowledges"}[first]
    if first == "unacknowledges":
        rig.answers(incident_id, "acknowledge")
    rig.pagerduty.webhooks.waiting.clear()
    for does in (first, second):
        rig.clock.moment += 1
        getattr(rig.pagerduty, does)(bridge.page())
    change_bodies(bridge, lambda event: event["data"].update(incident_key=bridge.page().dedup_key))
    event = [_fields(webhook.body) for webhook in rig.pagerduty.webhooks.waiting]

    for n in order:
        bridge.handler.handle_event(event[n])

    assert rig.state(incident_id) == state


def test_without_a_token_an_event_without_a_key_changes_nothing(rig: Rig) -> None:
    bridge = Bridge(rig, has_token=False)
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.acknowledges(bridge.page())
    assert set(bridge.deliver()) == {202}
    assert rig.state(incident_id) == "open"


# --- while PagerDuty's API is unavailable ---


def test_an_event_waits_until_pagerduty_returns_its_alert_keys(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.acknowledges(bridge.page())
    rig.pagerduty.fail_next(503, times=2)
    bridge.deliver()
    assert rig.state(incident_id) == "open"
    rig.passes("30s")
    assert rig.state(incident_id) == "acknowledged"


def test_an_event_is_applied_if_pagerduty_returns_no_status_for_long(rig: Rig) -> None:
    bridge = Bridge(rig)
    incident_id = rig.fires("DiskFull")
    rest: Any = _WithoutStatus(TemporaryDeliveryError("no_answer"), bridge.page().dedup_key)
    bridge.use_handler(replace(bridge.handler, rest=rest))
    rig.pagerduty.acknowledges(bridge.page())
    bridge.deliver()
    rig.passes("20s")
    assert rig.state(incident_id) == "open"
    rig.passes("20s")
    assert rig.state(incident_id) == "acknowledged"


def test_a_clock_that_was_set_back_does_not_delay_an_event_without_a_status(rig: Rig) -> None:
    bridge = Bridge(rig)
    incident_id = rig.fires("DiskFull")
    rest: Any = _WithoutStatus(TemporaryDeliveryError("no_answer"), bridge.page().dedup_key)
    bridge.use_handler(replace(bridge.handler, rest=rest))
    rig.pagerduty.acknowledges(bridge.page())
    change_bodies(bridge, lambda event: event.update(occurred_at="2026-11-23T13:30:00.000Z"))
    bridge.deliver()
    rig.passes("5s")
    assert rig.state(incident_id) == "acknowledged"


def test_an_event_is_applied_if_pagerduty_refuses_to_return_the_status(rig: Rig) -> None:
    bridge = Bridge(rig)
    incident_id = rig.fires("DiskFull")
    rest: Any = _WithoutStatus(PermanentDeliveryError("not_found"), bridge.page().dedup_key)
    bridge.use_handler(replace(bridge.handler, rest=rest))
    rig.clock.moment += 60
    rig.pagerduty.resolves(bridge.page())
    bridge.deliver()
    assert rig.state(incident_id) == "resolved"


def test_an_unreadable_event_is_ignored(rig: Rig, bridge: Bridge) -> None:
    bridge.handler.handle_event({"event_id": 5})
    bridge.handler.handle_event({})


class _WithoutStatus:
    """A REST API that returns the alert keys of an incident and no status."""

    def __init__(self, error: Exception, key: str) -> None:
        self._error, self._key = error, key

    def find_alert_keys(self, incident_id: str) -> tuple[str, ...]:
        return (self._key,)

    def find_status(self, incident_id: str) -> Any:
        raise self._error

    def find_open(self, dedup_key: str) -> Any:
        raise self._error


def _fields(body: bytes) -> dict[str, Any]:
    event = parse_event(body)
    assert event is not None
    return asdict(event)
