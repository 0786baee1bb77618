"""Reading PagerDuty's REST API, on a mock that keeps its state."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from receiver.errors import DeliveryError, PermanentDeliveryError, TemporaryDeliveryError
from receiver.integrations.pagerduty.acknowledgement_check import PagerDutyStatusClient
from receiver.integrations.pagerduty.rest_api import PagerDutyRestClient
from receiver.model.escalation import CHECK_AHEAD_S
from receiver.model.incident import OnCallPerson
from receiver.text import Secret
from tests.builders import OPENED_AT, ROUTING_KEY
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.pagerduty_account import PagedIncident

TOKEN = "u+rest-token-1234"


@pytest.fixture
def pagerduty() -> Iterator[MockPagerDuty]:
    with MockPagerDuty(clock=lambda: OPENED_AT) as mock:
        mock.rest.token = TOKEN
        yield mock


@pytest.fixture
def rest(pagerduty: MockPagerDuty) -> PagerDutyRestClient:
    return PagerDutyRestClient(pagerduty.url, Secret(TOKEN), clock=pagerduty.now)


def open_incident(pagerduty: MockPagerDuty, dedup_key: str = "k") -> PagedIncident:
    event = {"routing_key": ROUTING_KEY, "event_action": "trigger", "dedup_key": dedup_key}
    pagerduty.process_event({**event, "payload": {"summary": "s", "source": "h", "severity": "error"}})
    return pagerduty.opened()[-1]


def test_the_alerts_of_an_incident_have_our_dedup_key(
    pagerduty: MockPagerDuty, rest: PagerDutyRestClient
) -> None:
    assert rest.find_alert_keys(open_incident(pagerduty).id) == ("k",)


def test_a_long_list_is_loaded_page_by_page(pagerduty: MockPagerDuty, rest: PagerDutyRestClient) -> None:
    target = open_incident(pagerduty, "k0")
    for n in range(1, 130):
        pagerduty.merges(open_incident(pagerduty, f"k{n}"), into=target)
    assert len(rest.find_alert_keys(target.id)) == 130


def test_the_status_has_the_person_and_time_of_the_acknowledgement(
    pagerduty: MockPagerDuty, rest: PagerDutyRestClient
) -> None:
    incident = open_incident(pagerduty)
    assert rest.find_status(incident.id).status == "triggered"

    pagerduty.acknowledges(incident, by="Alice Doe")

    status = rest.find_status(incident.id)
    assert (status.status, status.by, status.changed_at) == ("acknowledged", "Alice Doe", OPENED_AT)


def test_a_merged_incident_is_merged_not_resolved(
    pagerduty: MockPagerDuty, rest: PagerDutyRestClient
) -> None:
    first, second = open_incident(pagerduty, "a"), open_incident(pagerduty, "b")
    pagerduty.merges(first, into=second)
    assert rest.find_status(first.id).status == "merged"
    assert rest.find_alert_keys(first.id) == ()
    assert rest.find_alert_keys(second.id) == ("b", "a")


def test_only_open_incidents_are_found_as_open(pagerduty: MockPagerDuty, rest: PagerDutyRestClient) -> None:
    first = open_incident(pagerduty)
    pagerduty.resolves(first)
    second = open_incident(pagerduty)
    pagerduty.acknowledges(second)
    open_incident(pagerduty, "another key")
    assert rest.find_open("k") == (second.id,)
    assert rest.find_open("no such key") == ()


def test_statuses_of_pages_are_listed_by_key_newest_first(
    pagerduty: MockPagerDuty, rest: PagerDutyRestClient
) -> None:
    pagerduty.resolves(open_incident(pagerduty), by="Alice Doe")
    pagerduty.acknowledges(latest := open_incident(pagerduty), by="Bob")
    pagerduty.merges(open_incident(pagerduty, "merged"), into=latest)
    found = rest.find_statuses(["k", "merged", "no such key"])
    assert [(one.status, one.by) for one in found["k"]] == [
        ("acknowledged", "Bob"),
        ("resolved", "Alice Doe"),
    ]
    assert [one.status for one in found["merged"]] == ["acknowledged"]
    assert found["no such key"] == ()


def test_statuses_of_pages_are_returned_in_time_or_not_at_all(
    pagerduty: MockPagerDuty, rest: PagerDutyRestClient
) -> None:
    pagerduty.hang(30.0, times=2)
    started = time.monotonic()
    with pytest.raises(TemporaryDeliveryError):
        rest.find_statuses(["a", "b"])
    assert time.monotonic() - started < CHECK_AHEAD_S


def test_people_on_call_are_ordered_by_level_and_each_listed_once(
    pagerduty: MockPagerDuty, rest: PagerDutyRestClient
) -> None:
    pagerduty.rest.puts_on_call("PSCHED1", "Bob", "bob@example.com", escalation_level=2, end=None)
    pagerduty.rest.puts_on_call("PSCHED1", "Alice", "alice@example.com")
    pagerduty.rest.on_call["PSCHED1"].append({**pagerduty.rest.on_call["PSCHED1"][0], "escalation_level": 3})
    pagerduty.rest.puts_on_call("PSCHED2", "Carol")
    assert rest.find_on_call("PSCHED1") == (
        OnCallPerson("Alice", "alice@example.com", 1, OPENED_AT - 3 * 3600 - 180 + 4 * 86400),
        OnCallPerson("Bob", "bob@example.com", 2, 0.0),
    )


def test_only_the_people_on_call_now_are_requested(
    pagerduty: MockPagerDuty, rest: PagerDutyRestClient
) -> None:
    rest.find_on_call("PSCHED1")
    [(path, query)] = pagerduty.rest.asked
    assert path == "/oncalls"
    assert query["schedule_ids[]"] == ["PSCHED1"]
    assert query["include[]"] == ["users"]
    # Since and until default to now; a time of our own would be a guess at PagerDuty's clock.
    assert not {"since", "until"} & set(query)


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (400, "refused", PermanentDeliveryError),
        (401, "invalid_token", PermanentDeliveryError),
        (402, "refused", PermanentDeliveryError),
        (403, "invalid_token", PermanentDeliveryError),
        (404, "not_found", PermanentDeliveryError),
        (302, "unexpected_answer", TemporaryDeliveryError),
        (408, "server_error", TemporaryDeliveryError),
        (429, "rate_limited", TemporaryDeliveryError),
        (500, "server_error", TemporaryDeliveryError),
        (503, "server_error", TemporaryDeliveryError),
    ],
)
def test_a_refusal_is_a_delivery_error_at_once(
    pagerduty: MockPagerDuty, rest: PagerDutyRestClient, status: int, reason: str, kind: type[DeliveryError]
) -> None:
    pagerduty.fail_next(status)
    started = time.monotonic()
    with pytest.raises(kind) as raised:
        rest.find_open("k")
    assert raised.value.reason == reason
    assert time.monotonic() - started < 1
    assert pagerduty.rest.asked == []


def test_a_429_has_its_retry_after(pagerduty: MockPagerDuty, rest: PagerDutyRestClient) -> None:
    pagerduty.fail_next(429, retry_after=17)
    with pytest.raises(TemporaryDeliveryError) as raised:
        rest.find_open("k")
    assert raised.value.retry_after == 17


def test_an_unknown_incident_or_an_invalid_id_is_not_found(
    rest: PagerDutyRestClient, pagerduty: MockPagerDuty
) -> None:
    for incident_id in ("PNOSUCH", "../users", "", "P?x=y"):
        with pytest.raises(PermanentDeliveryError, match="not_found"):
            rest.find_status(incident_id)
    assert len(pagerduty.rest.asked) == 1


def test_an_unavailable_pagerduty_is_no_answer(pagerduty: MockPagerDuty, rest: PagerDutyRestClient) -> None:
    pagerduty.stop()
    with pytest.raises(TemporaryDeliveryError, match="no_answer") as raised:
        rest.find_open("a-secret-key")
    assert "a-secret-key" not in str(raised.value)


def test_a_hanging_pagerduty_times_out(pagerduty: MockPagerDuty) -> None:
    pagerduty.is_silent = True
    with pytest.raises(TemporaryDeliveryError, match="no_answer"):
        PagerDutyRestClient(pagerduty.url, Secret(TOKEN), timeout_s=0.1).find_open("k")


def test_no_error_shows_the_token(pagerduty: MockPagerDuty, caplog: pytest.LogCaptureFixture) -> None:
    rest = PagerDutyRestClient(pagerduty.url, Secret("bad-token-5678"))
    with pytest.raises(PermanentDeliveryError) as raised:
        rest.find_open("k")
    assert "5678" not in f"{raised.value!r} {raised.value.__cause__!r} {caplog.text}"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"[" * 50_000])
def test_a_response_that_is_no_json_object_is_an_error(
    pagerduty: MockPagerDuty, rest: PagerDutyRestClient, body: bytes
) -> None:
    pagerduty.rest.odd_body = body
    with pytest.raises(TemporaryDeliveryError, match="not_json"):
        rest.find_open("k")


@pytest.mark.parametrize(
    "body", [b"{}", b'{"incidents": {}, "incident": [], "oncalls": null}', b'{"error": "sign in"}']
)
def test_an_object_of_another_kind_does_not_mean_that_there_is_nothing(
    pagerduty: MockPagerDuty, rest: PagerDutyRestClient, body: bytes
) -> None:
    pagerduty.rest.odd_body = body
    for ask in (
        lambda: rest.find_open("k"),
        lambda: rest.find_statuses(["k"]),
        lambda: rest.find_status("P1"),
        lambda: rest.find_alert_keys("P1"),
        lambda: rest.find_on_call("PSCHED1"),
    ):
        with pytest.raises(TemporaryDeliveryError, match="unexpected_answer"):
            ask()


@pytest.mark.parametrize(
    "body",
    [
        b'{"oncalls": [1, {}, {"user": []}, {"user": {"id": 1, "name": null}}]}',
    ],
)
def test_invalid_on_call_entries_are_skipped(
    pagerduty: MockPagerDuty, rest: PagerDutyRestClient, body: bytes
) -> None:
    pagerduty.rest.odd_body = body
    assert rest.find_on_call("PSCHED1") == ()


def test_an_on_call_entry_with_invalid_fields_has_only_a_name(
    pagerduty: MockPagerDuty, rest: PagerDutyRestClient
) -> None:
    entry = b'{"user": {"summary": "Al\\u202eice"}, "escalation_level": "x", "end": "soon"}'
    pagerduty.rest.odd_body = b'{"oncalls": [' + entry + b"]}"
    [person] = rest.find_on_call("PSCHED1")
    assert (person.name, person.email, person.until) == ("Alice", "", 0.0)


def test_a_clock_that_was_set_back_does_not_stretch_the_back_off(
    pagerduty: MockPagerDuty, rest: PagerDutyRestClient
) -> None:
    now = OPENED_AT
    client = PagerDutyStatusClient(rest, lambda: now)
    pagerduty.fail_next(429)
    for _ in range(2):
        with pytest.raises(TemporaryDeliveryError) as raised:
            client.find_statuses(["k"])
    assert raised.value.detail == "it gave none a moment ago"
    now -= 3600.0
    assert client.find_statuses(["k"]) == {"k": ()}
