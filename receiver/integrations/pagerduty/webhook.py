"""PagerDuty's v3 webhooks: verifying the signature and parsing the event.

https://developer.pagerduty.com/docs/webhooks-overview
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from collections.abc import Iterable

from receiver.http_client import as_object
from receiver.integrations import payload
from receiver.integrations.payload import Object, parse_timestamp
from receiver.model.page_confirmation import PagerDutyEvent
from receiver.text import Secret, one_line, replace_surrogates

# PagerDuty itself sends nothing longer than 256 KB.
MAX_BODY = 1024 * 1024
# The reference types of a person; services, integrations and event rules have other types.
USER_TYPES = frozenset({"user", "user_reference"})
_VERSION = "v1="
_MAX_HEADER = 4096
_MAX_TEXT = 255
_MAX_NAMES = 5
_ID = re.compile(r"[A-Za-z0-9]{1,40}", re.ASCII)


def verify_signature(secrets: Iterable[Secret], header: str, body: bytes) -> bool:
    """Return whether one of the signatures in *header* is that of *body* by one of *secrets*.

    There are several secrets during a rotation; empty ones are ignored. Timing reveals nothing.
    """
    signatures = [part.strip() for part in header[:_MAX_HEADER].split(",")]
    presented = [part.removeprefix(_VERSION) for part in signatures if part.startswith(_VERSION)]
    digests = [hmac.new(one.reveal().encode(), body, hashlib.sha256).hexdigest() for one in secrets if one]
    matches = [
        hmac.compare_digest(digest.encode(), signature.lower().encode("utf-8", "replace"))
        for digest in digests
        for signature in presented
    ]
    return any(matches)


def parse_event(body: bytes) -> PagerDutyEvent | None:
    """Return the incident event in *body*; None for any other event and for an invalid body."""
    try:
        content = payload.parse_json(body)
    except ValueError:
        return None
    event = as_object(as_object(content).get("event"))
    event_type, data = parse_text(event.get("event_type")), as_object(event.get("data"))
    agent = as_object(event.get("agent"))
    if not event_type.startswith("incident."):
        return None
    # A responder, a note or an update refers to its incident; else the data is the incident.
    incident = as_object(data.get("incident")) or data
    incident_id = parse_id(incident.get("id"))
    if not incident_id:
        return None
    return PagerDutyEvent(
        event_id=parse_text(event.get("id")),
        event_type=event_type,
        incident_id=incident_id,
        incident_key=parse_text(incident.get("incident_key")),
        status=parse_text(incident.get("status")) or parse_text(data.get("state")),
        # The name of its client program where it has no agent.
        by=_name(agent) or parse_text(as_object(event.get("client")).get("name")),
        occurred_at=parse_timestamp(event.get("occurred_at"), math.inf),
        to=_list_receivers(event_type, data),
        merged_into=parse_id(as_object(as_object(incident.get("resolve_reason")).get("incident")).get("id")),
        is_person=parse_text(agent.get("type")) in USER_TYPES,
    )


def _list_receivers(event_type: str, data: Object) -> tuple[str, ...]:
    """Return the names of the users or escalation policy that an event of *event_type* assigns or asks."""
    found: list[object] = [data.get("user") or data.get("escalation_policy")]
    if event_type == "incident.delegated":
        found = [data.get("escalation_policy")]
    elif isinstance(assignees := data.get("assignees"), list):
        found = assignees
    names = [_name(as_object(each)) for each in found[:_MAX_NAMES]]
    return tuple(dict.fromkeys(filter(None, names)))


def _name(reference: Object) -> str:
    return parse_text(reference.get("summary")) or parse_text(reference.get("name"))


def parse_text(value: object) -> str:
    """Return *value* on one line, truncated; empty if it is no string."""
    return one_line(replace_surrogates(value), _MAX_TEXT) if isinstance(value, str) else ""


def parse_id(value: object) -> str:
    """Return *value* if it is a PagerDuty ID, else an empty string: it becomes part of a URL."""
    return value if isinstance(value, str) and _ID.fullmatch(value) else ""
