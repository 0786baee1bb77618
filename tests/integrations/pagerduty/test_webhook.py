"""The signature of PagerDuty's webhooks, and how their events are parsed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from receiver.integrations.pagerduty.webhook import parse_event, verify_signature
from receiver.model.page_confirmation import PagerDutyEvent
from receiver.text import Secret
from tests.mocks.pagerduty_webhooks import sign

SECRET = Secret("wXfZ-secret")
BODY = b'{"event": {}}'
# Computed with `openssl dgst -sha256 -hmac wXfZ-secret`.
DIGEST = "4b566772e688cef51a7c42a62fba9fcac45245b8ea5c89e136ec46c5710666a6"


def an_event(event_type: str = "incident.acknowledged", data: Any = None, **changes: Any) -> bytes:
    """Return an event in the form of PagerDuty's own examples."""
    data = {"id": "PGR0VU2", "type": "incident", "status": "acknowledged"} if data is None else data
    event = {
        "id": "01BZYK8N47N5JG55J1EEEHPEJI",
        "event_type": event_type,
        "resource_type": "incident",
        "occurred_at": "2026-11-23T12:03:30.394Z",
        "agent": {"id": "PLH1HKV", "summary": "Alice Doe", "type": "user_reference"},
        "client": None,
        "data": data,
        **changes,
    }
    return json.dumps({"event": event}).encode()


# --- signature ---


def test_a_signature_is_the_hmac_of_the_raw_body() -> None:
    assert sign(SECRET.reveal(), BODY) == f"v1={DIGEST}"
    assert verify_signature([SECRET], f"v1={DIGEST}", BODY)


@pytest.mark.parametrize(
    "header",
    [
        f"v1={'0' * 64},v1={DIGEST}",
        f"v1={DIGEST}, v1={'0' * 64}",
        f"  v1={DIGEST}  ",
        f"v2=whatever , v1={DIGEST}",
        f"v1={DIGEST.upper()}",
    ],
)
def test_one_valid_signature_among_several_is_enough(header: str) -> None:
    assert verify_signature([SECRET], header, BODY)


@pytest.mark.parametrize(
    "header",
    ["", "v1=", "v1", DIGEST, f"v0={DIGEST}", f"v1={DIGEST[:-1]}", f"v1={DIGEST}0", "v1=ü", "," * 5000],
)
def test_any_other_header_is_no_valid_signature(header: str) -> None:
    assert not verify_signature([SECRET], header, BODY)


def test_a_signature_is_valid_for_its_body_and_secret_only() -> None:
    assert not verify_signature([SECRET], f"v1={DIGEST}", BODY + b" ")
    assert not verify_signature([Secret("another")], f"v1={DIGEST}", BODY)
    assert verify_signature([Secret("another"), SECRET], f"v1={DIGEST}", BODY)


def test_without_a_secret_no_signature_is_valid() -> None:
    assert not verify_signature([], f"v1={DIGEST}", BODY)
    assert not verify_signature([Secret()], sign("", BODY), BODY)


# --- events ---


def test_an_acknowledgement_has_actor_incident_and_time() -> None:
    data = {
        "id": "PGR0VU2",
        "type": "incident",
        "status": "acknowledged",
        "incident_key": "receiver-abc",
        "assignees": [{"summary": "Alice Doe"}, {"summary": "Bob"}, {"summary": "Bob"}],
        "resolve_reason": None,
    }
    assert parse_event(an_event(data=data)) == PagerDutyEvent(
        event_id="01BZYK8N47N5JG55J1EEEHPEJI",
        event_type="incident.acknowledged",
        incident_id="PGR0VU2",
        incident_key="receiver-abc",
        status="acknowledged",
        by="Alice Doe",
        occurred_at=1_795_435_410.394,
        to=("Alice Doe", "Bob"),
        is_person=True,
    )


@pytest.mark.parametrize(
    "agent",
    [
        None,
        {"type": "service_reference"},
        {"type": "inbound_integration_reference"},
        {"type": 7},
        {"type": []},
        "x",
    ],
)
def test_only_a_user_is_parsed_as_a_person(agent: object) -> None:
    event = parse_event(an_event(agent=agent))
    assert event is not None
    assert not event.is_person


def test_an_integration_is_named_if_no_person_is() -> None:
    event = parse_event(an_event(agent=None, client={"name": "Terraform"}))
    assert event is not None
    assert event.by == "Terraform"
    assert parse_event(an_event(agent=None)).by == ""


def test_a_responder_request_names_the_incident_and_the_responder() -> None:
    data = {
        "type": "incident_responder",
        "incident": {"id": "PGR0VU2", "type": "incident_reference"},
        "user": {"summary": "Maeve"},
        "escalation_policy": {"summary": "The Policy"},
        "state": "pending",
    }
    event = parse_event(an_event("incident.responder.added", data))
    assert (event.incident_id, event.to, event.status) == ("PGR0VU2", ("Maeve",), "pending")


def test_a_delegation_names_the_escalation_policy() -> None:
    data = {"id": "PGR0VU2", "type": "incident", "assignees": [], "escalation_policy": {"summary": "Core"}}
    assert parse_event(an_event("incident.delegated", data)).to == ("Core",)


def test_a_merge_names_the_incident_that_got_the_alerts() -> None:
    reason = {"type": "merge_resolve_reason", "incident": {"id": "PTARGET", "type": "incident_reference"}}
    data = {"id": "PGR0VU2", "type": "incident", "status": "resolved", "resolve_reason": reason}
    assert parse_event(an_event("incident.resolved", data)).merged_into == "PTARGET"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"{}",
        b'{"event": []}',
        b'{"event": {"event_type": 5}}',
        b'{"event": {"event_type": "pagey.ping", "data": {"message": "Hello"}}}',
        an_event("service.updated", {"id": "PF9KMXH", "type": "service"}),
        an_event(data=[]),
        an_event(data={}),
        an_event(data={"id": None, "type": "incident"}),
        an_event(data={"id": "../users", "type": "incident"}),
        an_event(data={"id": "P" * 100, "type": "incident"}),
    ],
)
def test_an_event_of_no_incident_is_none(body: bytes) -> None:
    assert parse_event(body) is None


def test_invalid_fields_are_empty_and_long_ones_are_cut() -> None:
    data = {
        "id": "PGR0VU2",
        "type": "incident",
        "status": 5,
        "incident_key": None,
        "assignees": [None, {"summary": {}}, {"summary": "B\u202eob\n" + "b" * 500}],
        "resolve_reason": "none",
    }
    event = parse_event(an_event(data=data, id=None, occurred_at="soon", agent="Alice"))
    assert (event.event_id, event.status, event.incident_key, event.by, event.occurred_at) == (
        "",
        "",
        "",
        "",
        0.0,
    )
    assert event.to == ("Bob " + "b" * 250 + "…",)
    assert event.merged_into == ""
