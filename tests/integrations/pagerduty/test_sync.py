"""What people do in PagerDuty is done here, once, and PagerDuty hears no echo of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest

from receiver.engine.jobs import PeriodicTasks
from receiver.errors import PermanentDeliveryError, TemporaryDeliveryError
from receiver.integrations.pagerduty.rest_api import PagerDutyRestClient
from receiver.integrations.pagerduty.sync import PagerDutyWebhookHandler
from receiver.integrations.pagerduty.webhook import parse_event
from receiver.model.incident import Person
from receiver.text import Secret
from tests.mocks.pagerduty_account import PagedIncident
from tests.rig import KEYS, ROUTING, Rig

SECRET = "pagerduty-secret"


def build_rest(rig: Rig) -> PagerDutyRestClient:
    return PagerDutyRestClient(rig.pagerduty.url, Secret("rest-token"), clock=rig.clock)


class Bridge:
    """The receiver and PagerDuty, with the webhooks between them in the test's hand."""

    def __init__(self, rig: Rig, *, has_token: bool = True) -> None:
        self.rig = rig
        rig.environ["PAGERDUTY_WEBHOOK_SECRET"] = SECRET
        rig.configure(ROUTING)
        self.pager = build_rest(rig) if has_token else None
        services = rig.services
        self.handler = PagerDutyWebhookHandler(
            services.incident_service, services.incidents, self.pager, services.routing, rig.clock
        )
        periodic_tasks = PeriodicTasks(
            {}, services.job_queue, {"pagerduty": self.handler.handle_event}, rig.clock
        )
        rig.worker_services = replace(rig.worker_services, periodic_tasks=periodic_tasks)

    def delivers(self) -> list[int]:
        """Have PagerDuty deliver what waits, and everybody work it off."""
        answers = self.rig.pagerduty.webhooks.deliver(self.post)
        self.rig.works()
        return answers

    def post(self, body: bytes, headers: dict[str, str]) -> int:
        return self.rig.client.post("/webhooks/pagerduty", data=body, headers=headers).status_code

    def page(self, responder: str = "on-call") -> PagedIncident:
        """Return the PagerDuty incident that the responder was paged by last."""
        names = ("on-call", "team-lead", "manager")
        return self.rig.pagerduty.opened(list(KEYS.values())[names.index(responder)])[-1]

    def story(self, incident_id: str, *whats: str) -> list[str]:
        """Return the timeline's lines of some kinds, with who did it."""
        timeline = self.rig.shows(incident_id)["timeline"]
        return [f"{e['text']} ({e['by']})" for e in timeline if e["what"] in whats]


@pytest.fixture
def bridge(rig: Rig) -> Bridge:
    return Bridge(rig)


def by_key(bridge: Bridge, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the body of each webhook that waits, and seal it anew."""
    webhooks = bridge.rig.pagerduty.webhooks
    for n, webhook in enumerate(webhooks.waiting):
        body = json.loads(webhook.body)
        change(body["event"])
        webhooks.waiting[n] = webhooks.seal(webhook.event_type, json.dumps(body).encode())


# --- acknowledged there ---


def test_an_acknowledgement_there_is_one_here(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.acknowledges(bridge.page(), by="Alice Doe")

    assert set(bridge.delivers()) == {202}

    assert rig.state(incident_id) == "acknowledged"
    assert rig.shows(incident_id)["acknowledged_by"] == "Alice Doe"
    assert bridge.story(incident_id, "acknowledged") == ["Acknowledged (Alice Doe)"]
    rig.passes("30m")
    assert rig.paged() == ["on-call"]


def test_pagerduty_gets_no_echo_of_its_own_acknowledgement(rig: Rig, bridge: Bridge) -> None:
    rig.fires("DiskFull")
    rig.pagerduty.acknowledges(bridge.page())
    bridge.delivers()
    rig.passes("1h")
    assert rig.events("on-call") == ["trigger"]


def test_the_other_pages_are_acknowledged_too(rig: Rig, bridge: Bridge) -> None:
    rig.fires("DiskFull")
    rig.passes("6m")
    rig.pagerduty.acknowledges(bridge.page("team-lead"))
    bridge.delivers()
    assert rig.events("team-lead") == ["trigger"]
    assert rig.events("on-call") == ["trigger", "acknowledge"]


def test_an_event_for_our_own_acknowledgement_changes_nothing(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.answers(incident_id, "acknowledge", by="bob")
    bridge.delivers()
    assert [webhook.event_type for webhook in rig.pagerduty.webhooks.done][-1] == "incident.acknowledged"
    assert bridge.story(incident_id, "acknowledged") == ["Acknowledged (bob)"]


def test_nor_does_it_end_a_snooze(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.services.incident_service.snooze(incident_id, Person("bob"), 3600.0, rig.clock())
    rig.works()
    bridge.delivers()
    assert rig.services.incidents.load(incident_id).snoozed_until == rig.clock() + 3600


def test_the_same_webhook_again_is_known(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.acknowledges(bridge.page())
    bridge.delivers()
    acknowledged = rig.pagerduty.webhooks.done[-1]
    rig.answers(incident_id, "unacknowledge")

    assert bridge.post(acknowledged.body, acknowledged.headers) == 202

    rig.works()
    assert rig.state(incident_id) == "open"


def test_a_late_acknowledgement_is_ignored(rig: Rig, bridge: Bridge) -> None:
    """It was un-acknowledged here before PagerDuty's word of the acknowledgement arrived."""
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.acknowledges(bridge.page())
    rig.clock.moment += 60
    rig.services.incident_service.acknowledge(incident_id, Person("bob"), rig.clock())
    rig.services.incident_service.unacknowledge(incident_id, Person("bob"), rig.clock())
    bridge.delivers()
    assert rig.state(incident_id) == "open"


def test_an_outdated_acknowledgement_is_ignored(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.acknowledges(bridge.page())
    rig.clock.moment += 60
    rig.pagerduty.unacknowledges(bridge.page())
    bridge.delivers()
    assert rig.state(incident_id) == "open"
    assert bridge.story(incident_id, "acknowledged", "unacknowledged") == []


def test_a_status_older_than_its_event_is_not_believed(rig: Rig, bridge: Bridge) -> None:
    """Its REST API may answer from a copy that is some seconds old."""
    incident_id = rig.fires("DiskFull")
    rig.clock.moment += 60
    rig.pagerduty.acknowledges(bridge.page())
    page = bridge.page()
    page.state, page.changed_at = "triggered", page.opened_at
    bridge.delivers()
    assert rig.state(incident_id) == "acknowledged"


def test_worked_off_twice_an_acknowledgement_given_again_counts_once(rig: Rig, bridge: Bridge) -> None:
    """A worker may die when it is done and before it is crossed off; PagerDuty's clock may be ahead, too."""
    incident_id = rig.fires("DiskFull")
    rig.answers(incident_id, "acknowledge", by="bob")
    rig.clock.moment += 600
    rig.pagerduty.webhooks.waiting.clear()
    rig.pagerduty.acknowledges(bridge.page(), by="Alice Doe")
    by_key(bridge, lambda event: event.update(occurred_at="2026-11-23T12:10:04.500Z"))
    bridge.delivers()
    shown = rig.shows(incident_id)
    assert shown["acknowledged_by"] == "Alice Doe"
    rig.clock.moment += 30
    bridge.handler.handle_event(_fields(rig.pagerduty.webhooks.done[-1].body))
    assert rig.shows(incident_id)["acknowledged_at"] == shown["acknowledged_at"]
    assert rig.events("on-call") == ["trigger", "acknowledge"]


# --- taken back there ---


def test_taken_back_there_pages_go_on_without_waking_twice(rig: Rig, bridge: Bridge) -> None:
    """PagerDuty tells its people again by itself, so the page is neither closed nor opened anew."""
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.acknowledges(bridge.page())
    bridge.delivers()
    rig.passes("30m")
    rig.pagerduty.unacknowledges(bridge.page())

    bridge.delivers()

    assert rig.state(incident_id) == "open"
    assert bridge.story(incident_id, "unacknowledged") == ["Un-acknowledged (PagerDuty)"]
    assert rig.events("on-call") == ["trigger", "trigger"]
    assert rig.paged() == ["on-call"]
    rig.passes("5m")
    assert rig.paged() == ["on-call", "team-lead"]


def test_what_was_taken_back_can_be_acknowledged_again(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.acknowledges(bridge.page())
    bridge.delivers()
    rig.passes("30m")
    rig.pagerduty.unacknowledges(bridge.page())
    bridge.delivers()
    rig.passes("1m")
    rig.pagerduty.acknowledges(bridge.page(), by="Bob")
    bridge.delivers()
    assert rig.shows(incident_id)["acknowledged_by"] == "Bob"
    assert rig.events("on-call") == ["trigger", "trigger"]


# --- resolved there ---


def test_resolved_there_is_closed_by_hand_here(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.passes("6m")
    rig.pagerduty.resolves(bridge.page(), by="Alice Doe")

    bridge.delivers()

    assert rig.state(incident_id) == "resolved"
    assert bridge.story(incident_id, "resolved") == ["Resolved by hand (Alice Doe)"]
    assert rig.events("on-call") == ["trigger"]
    assert rig.events("team-lead") == ["trigger", "resolve"]
    assert rig.pagerduty.still_open() == []


def test_an_event_for_our_own_resolve_changes_nothing(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.passes("1m")
    rig.ends("DiskFull")
    bridge.delivers()
    assert rig.state(incident_id) == "resolved"
    assert bridge.story(incident_id, "resolved") == ["All alerts resolved (None)"]
    assert rig.events("on-call") == ["trigger", "resolve"]


def test_an_event_of_a_former_page_leaves_the_reopened_incident_open(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.passes("1m")
    rig.ends("DiskFull")
    rig.passes("1m")
    assert rig.fires("DiskFull") == incident_id
    assert rig.paged() == ["on-call", "on-call"]

    bridge.delivers()

    assert rig.state(incident_id) == "open"


def test_nor_does_it_close_the_next_incident(rig: Rig, bridge: Bridge) -> None:
    rig.fires("DiskFull")
    rig.passes("1m")
    rig.ends("DiskFull")
    rig.passes("20m")
    second = rig.fires("DiskFull")
    bridge.delivers()
    assert rig.state(second) == "open"


def test_nor_while_the_next_page_is_not_yet_in_pagerduty(rig: Rig, bridge: Bridge) -> None:
    """PagerDuty takes events before it makes incidents of them, so it may name none as open."""
    rig.fires("DiskFull")
    rig.passes("1m")
    rig.ends("DiskFull")
    rig.passes("20m")
    second = rig.fires("DiskFull")
    rig.pagerduty.opened()[-1].dedup_key = "not known yet"
    bridge.delivers()
    assert rig.state(second) == "open"


def test_the_end_of_a_page_that_was_closed_to_page_anew_is_ours(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.answers(incident_id, "acknowledge")
    rig.passes("1m")
    rig.answers(incident_id, "unacknowledge")
    assert rig.events("on-call") == ["trigger", "acknowledge", "resolve", "trigger"]
    bridge.delivers()
    assert rig.state(incident_id) == "open"


def test_a_worker_that_dies_between_two_steps_of_closing_loses_nothing(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.passes("1m")
    rig.pagerduty.resolves(bridge.page())
    [event] = [w for w in rig.pagerduty.webhooks.waiting if w.event_type == "incident.resolved"]
    answers = bridge.handler._pagerduty_sync
    incident_service, answers._incident_service = answers._incident_service, None
    with pytest.raises(AttributeError):
        bridge.handler.handle_event(_fields(event.body))
    answers._incident_service = incident_service

    bridge.handler.handle_event(_fields(event.body))

    assert rig.state(incident_id) == "resolved"
    rig.works()
    assert rig.events("on-call") == ["trigger"]


def test_merged_there_goes_on_here_and_answers_in_the_other_count(rig: Rig, bridge: Bridge) -> None:
    first, second = rig.fires("DiskFull"), rig.fires("DiskSlow")
    one, other = rig.pagerduty.opened()
    rig.clock.moment += 60
    rig.pagerduty.merges(one, into=other)
    bridge.delivers()
    assert (rig.state(first), rig.state(second)) == ("open", "open")

    rig.pagerduty.acknowledges(other)
    bridge.delivers()
    assert (rig.state(first), rig.state(second)) == ("acknowledged", "acknowledged")


def test_a_merge_that_names_our_key_is_recorded_and_closes_nothing(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.fires("DiskSlow")
    one, other = rig.pagerduty.opened()
    rig.pagerduty.merges(one, into=other)
    by_key(bridge, lambda event: event["data"].update(incident_key=one.dedup_key))
    bridge.delivers()
    assert rig.state(incident_id) == "open"
    assert bridge.story(incident_id, "noted") == [
        "PagerDuty: merged into another incident, where the page goes on (Alice Doe)"
    ]


# --- what is only told ---


def test_who_it_was_handed_to_is_in_the_timeline(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.assigns(bridge.page(), "Bob", how="escalated")
    bridge.delivers()
    rig.pagerduty.assigns(bridge.page(), "Carol", by="Bob", how="reassigned")
    bridge.delivers()
    rig.pagerduty.requests_responder(bridge.page(), of="Maeve")
    bridge.delivers()
    assert bridge.story(incident_id, "noted") == [
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
    assert bridge.story(incident_id, "noted") == ["PagerDuty: delegated to Bob (None)"]


def test_reopened_there_stays_closed_here_with_the_reason(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.passes("1m")
    rig.pagerduty.resolves(bridge.page(), by="Alice Doe")
    bridge.delivers()
    rig.pagerduty.reopens(bridge.page(), by="Bob")
    bridge.delivers()
    assert rig.state(incident_id) == "resolved"
    assert bridge.story(incident_id, "noted") == [
        "PagerDuty: reopened; it stays closed here, as Alice Doe closed it (Bob)"
    ]


# --- finding ours ---


def test_an_incident_of_somebody_elses_changes_nothing(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    event = {"routing_key": "f" * 32, "event_action": "trigger", "dedup_key": "theirs"}
    rig.pagerduty.process_event({**event, "payload": {"summary": "s", "source": "h", "severity": "error"}})
    rig.pagerduty.acknowledges(rig.pagerduty.opened()[-1])
    bridge.delivers()
    assert rig.state(incident_id) == "open"


@pytest.mark.parametrize("key", ["receiver-000000000000-0000000000000000", "receiver-x", "", "../"])
def test_a_key_of_no_incident_of_ours_changes_nothing(rig: Rig, bridge: Bridge, key: str) -> None:
    bridge.handler.handle_event(
        {"event_id": "1", "event_type": "incident.resolved", "incident_id": "P1", "incident_key": key}
    )


def test_without_a_token_an_event_that_names_our_key_is_believed(rig: Rig) -> None:
    bridge = Bridge(rig, has_token=False)
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.acknowledges(bridge.page())
    by_key(bridge, lambda event: event["data"].update(incident_key=bridge.page().dedup_key))
    bridge.delivers()
    assert rig.state(incident_id) == "acknowledged"
    rig.clock.moment += 60
    rig.pagerduty.resolves(bridge.page())
    by_key(bridge, lambda event: event["data"].update(incident_key=bridge.page().dedup_key))
    bridge.delivers()
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
    by_key(bridge, lambda event: event["data"].update(incident_key=bridge.page().dedup_key))
    event = [_fields(webhook.body) for webhook in rig.pagerduty.webhooks.waiting]

    for n in order:
        bridge.handler.handle_event(event[n])

    assert rig.state(incident_id) == state


def test_without_a_token_an_event_that_names_no_key_changes_nothing(rig: Rig) -> None:
    bridge = Bridge(rig, has_token=False)
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.acknowledges(bridge.page())
    assert set(bridge.delivers()) == {202}
    assert rig.state(incident_id) == "open"


# --- while PagerDuty's API is away ---


def test_an_event_waits_until_pagerduty_can_be_asked_for_its_keys(rig: Rig, bridge: Bridge) -> None:
    incident_id = rig.fires("DiskFull")
    rig.pagerduty.acknowledges(bridge.page())
    rig.pagerduty.fail_next(503, times=2)
    bridge.delivers()
    assert rig.state(incident_id) == "open"
    rig.passes("30s")
    assert rig.state(incident_id) == "acknowledged"


def test_an_event_is_believed_when_pagerduty_gives_no_status_for_long(rig: Rig) -> None:
    bridge = Bridge(rig)
    incident_id = rig.fires("DiskFull")
    bridge.handler._api = _Away(TemporaryDeliveryError("no_answer"), bridge.page().dedup_key)
    rig.pagerduty.acknowledges(bridge.page())
    bridge.delivers()
    rig.passes("20s")
    assert rig.state(incident_id) == "open"
    rig.passes("20s")
    assert rig.state(incident_id) == "acknowledged"


def test_an_event_is_believed_where_pagerduty_refuses_the_status(rig: Rig) -> None:
    bridge = Bridge(rig)
    incident_id = rig.fires("DiskFull")
    bridge.handler._api = _Away(PermanentDeliveryError("not_found"), bridge.page().dedup_key)
    rig.clock.moment += 60
    rig.pagerduty.resolves(bridge.page())
    bridge.delivers()
    assert rig.state(incident_id) == "resolved"


def test_an_unreadable_event_is_ignored(rig: Rig, bridge: Bridge) -> None:
    bridge.handler.handle_event({"event_id": 5})
    bridge.handler.handle_event({})


class _Away:
    """A PagerDuty that tells whose page it is, and no more."""

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
