"""The API's client and its answers, typed for display; fields that an older receiver lacks are empty."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from receiver.cli.http import JsonResponse, NoResponse, bearer_header, send_request, strip_login
from receiver.config.mistakes import find_mistake
from receiver.config.settings import Environment
from receiver.config.urls import find_url_mistake
from receiver.errors import NotFound, ReceiverError
from receiver.text import one_line

T = TypeVar("T", bound=Struct)


class Row(Struct, frozen=True):
    """One incident in the list. Timestamps are RFC 3339 texts in UTC."""

    id: str
    state: str = ""
    severity: str = ""
    alertname: str = ""
    summary: str = ""
    receiver: str = ""
    group_labels: dict[str, str] = {}
    route: str = ""
    channel: str = ""
    firing: int = 0
    total: int = 0
    opened_at: str | None = None
    updated_at: str | None = None
    acknowledged_by: str | None = None
    next_step: str | None = None
    next_step_at: str | None = None


class HistoryRow(Row, frozen=True):
    """One incident in the history."""

    resolved_at: str | None = None
    duration_s: float | None = None
    acknowledged_after_s: float | None = None


class AlertRow(Struct, frozen=True):
    status: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    starts_at: str | None = None
    ends_at: str | None = None
    generator_url: str = ""


class EventRow(Struct, frozen=True):
    """One line of the timeline."""

    at: str | None = None
    what: str = ""
    text: str = ""
    by: str | None = None
    via: str | None = None


class SuppressionRow(Struct, frozen=True):
    """Why escalation is suppressed although alerts fire."""

    reason: str = ""
    by: str | None = None
    until: str | None = None


class SilenceRow(Struct, frozen=True):
    """A requested silence."""

    number: int = 0
    silence_id: str | None = None
    by: str = ""
    comment: str = ""
    until: str | None = None
    ended_at: str | None = None


class StepRow(Struct, frozen=True):
    step: str = ""
    responder: str = ""
    state: str = ""
    due_at: str | None = None
    notified_at: str | None = None
    given_up_at: str | None = None


class EscalationRow(Struct, frozen=True):
    policy: str | None = None
    steps: list[StepRow] = []


class DeliveryRow(Struct, frozen=True):
    id: str = ""
    target: str = ""
    state: str = ""
    attempts: int = 0
    at: str | None = None
    retry_at: str | None = None
    reason: str | None = None
    detail: str | None = None
    simulated: bool = False
    link: str | None = None


class IncidentDetail(Row, frozen=True):
    """One incident with all its details."""

    acknowledged_at: str | None = None
    resolved_at: str | None = None
    resolved_by: str | None = None
    snoozed_until: str | None = None
    suppressed: SuppressionRow | None = None
    silences: list[SilenceRow] = []
    alerts: list[AlertRow] = []
    timeline: list[EventRow] = []
    escalation: EscalationRow = EscalationRow()
    deliveries: list[DeliveryRow] = []


class MaintenanceRow(Struct, frozen=True):
    """The maintenance in force; *until* is empty if there is none."""

    until: str | None = None
    by: str | None = None
    comment: str | None = None


def read_maintenance(raw: Any) -> MaintenanceRow:
    """Convert the maintenance in force; raises ReceiverApiError for another form."""
    return _convert_row(raw, MaintenanceRow)


class FailedRow(Struct, frozen=True):
    """A failed delivery."""

    id: str
    incident: str = ""
    alertname: str = ""
    severity: str = ""
    target: str = ""
    what: str = ""
    state: str = ""
    reason: str | None = None
    detail: str | None = None
    attempts: int = 0
    failed_at: str | None = None


def read_failed(raw: Any) -> FailedRow:
    """Convert a failed delivery; raises ReceiverApiError for another form."""
    return _convert_row(raw, FailedRow)


def read_row(raw: Any) -> Row:
    """Convert a row of the list; raises ReceiverApiError for another form."""
    return _convert_row(raw, Row)


def read_history_row(raw: Any) -> HistoryRow:
    """Convert a row of the history; raises ReceiverApiError for another form."""
    return _convert_row(raw, HistoryRow)


def read_incident(raw: Any) -> IncidentDetail:
    """Convert a whole incident; raises ReceiverApiError for another form."""
    return _convert_row(raw, IncidentDetail)


def _convert_row(raw: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise ReceiverApiError(
            f"the receiver's answer has an unknown form ({error}): is it of another version?"
        ) from None


Json = dict[str, Any]
DEFAULT_URL = "http://127.0.0.1:9080"
PAGE_SIZE = 200  # the API's maximum
MAX_PAGES = 100
# The origin of an action in the timeline.
VIA = "command line"
# A shorter prefix too easily matches another incident.
MIN_PREFIX = 3
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
_FAILURE_ID = re.compile(r"[A-Za-z0-9_-]{1,100}\.[0-9a-f]{8}", re.ASCII)


class ReceiverApiError(ReceiverError):
    """The receiver can't be reached, or refuses; the message is a sentence for the operator."""


class ReceiverApi:
    """A running receiver. Every method raises ReceiverApiError; those for one incident NotFound, too."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token

    def list_incidents(self, state: str = "") -> Json:
        """Return all incidents in *state* (`open` includes acknowledged), newest first, as one page.

        Its `next_cursor` is null unless MAX_PAGES is reached.
        """
        return self._list_all("incidents", {"state": state})

    def list_history(self, alertname: str = "", since: str = "") -> Json:
        """Return all incidents opened since *since*, newest first, as one page; see `list_incidents`.

        *since* is a duration before now, a day or a time.
        """
        return self._list_all("history", {"alertname": alertname, "since": since})

    def list_failed(self) -> Json:
        """Return all failed deliveries, newest first, as one page; see `list_incidents`."""
        return self._list_all("deliveries", {"state": "failed"})

    def retry_delivery(self, failure_id: str, by: str) -> Json:
        """Retry a failed delivery, and return its new state."""
        if not _FAILURE_ID.fullmatch(failure_id):
            raise NotFound("delivery", one_line(failure_id, 120))
        path = f"/api/v1/deliveries/{failure_id}/retry"
        return self._send_request("POST", path, body={"by": by, "via": VIA})

    def list_storms(self) -> list[Json]:
        """Return the storms that are not resolved; none if the receiver has no such endpoint."""
        try:
            found = self._send_request("GET", "/api/v1/storms", "storms").get("storms")
        except NotFound:  # a receiver older than this command
            return []
        return [storm for storm in found if isinstance(storm, dict)] if isinstance(found, list) else []

    def get_incident(self, incident_id: str) -> Json:
        """Return one incident with all details; for an open one a prefix of the ID suffices."""
        return self._with_id(
            incident_id, lambda known: self._send_request("GET", f"/api/v1/incidents/{known}", known)
        )

    def change_incident(self, incident_id: str, answer: str, by: str, **more: str) -> Json:
        """Post an action (`acknowledge`, `snooze`, …) on an incident, and return its new state.

        *more* goes into the body, as `for` and `comment`.
        """
        body = {"by": by, "via": VIA, **more}
        return self._with_id(
            incident_id,
            lambda known: self._send_request("POST", f"/api/v1/incidents/{known}/{answer}", known, body),
        )

    def get_maintenance(self) -> Json:
        """Return the maintenance in force; all fields null if there is none."""
        return self._send_request("GET", "/api/v1/maintenance")

    def start_maintenance(self, by: str, **more: str | None) -> Json:
        """Start a maintenance (no pages); *more* contains `for` or `until`, and `comment`."""
        body = {"by": by, "via": VIA, **{name: value for name, value in more.items() if value}}
        return self._send_request("POST", "/api/v1/maintenance", body=body)

    def end_maintenance(self, by: str) -> Json:
        """End the maintenance; the second time changes nothing."""
        return self._send_request("DELETE", "/api/v1/maintenance?" + urlencode({"by": by, "via": VIA}))

    def _list_all(self, what: str, wanted: Mapping[str, str]) -> Json:
        """Return all pages of a list as one."""
        name = "deliveries" if what == "deliveries" else "incidents"
        rows: list[Any] = []
        cursor = ""
        for _ in range(MAX_PAGES):
            asked = {**wanted, "limit": str(PAGE_SIZE), "cursor": cursor}
            query = urlencode({name: value for name, value in asked.items() if value})
            page = self._send_request("GET", f"/api/v1/{what}?{query}")
            found = page.get(name)
            if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
                raise self._build_unexpected_error()
            rows += found
            cursor = str(page.get("next_cursor") or "")
            if not cursor:
                break
        return {name: rows, "next_cursor": cursor or None}

    def _with_id(self, incident_id: str, ask: Callable[[str], Json]) -> Json:
        """Call *ask* with the ID, or else with that of the only open incident with this prefix."""
        if not _ID.fullmatch(incident_id):
            raise NotFound("incident", one_line(incident_id, 100))
        try:
            return ask(incident_id)
        except NotFound:
            return ask(self._complete_id(incident_id))

    def _complete_id(self, prefix: str) -> str:
        if len(prefix) < MIN_PREFIX:
            raise NotFound("incident", prefix)
        ids = [str(row.get("id", "")) for row in self.list_incidents("open")["incidents"]]
        found = [each for each in ids if each.startswith(prefix) and _ID.fullmatch(each)]
        if len(found) > 1:
            shown = ", ".join(found[:5]) + (", …" if len(found) > 5 else "")
            raise ReceiverApiError(f"several open incidents begin with {prefix}: {shown}")
        if not found:
            raise ReceiverApiError(f"no incident {prefix!r}, and no open one whose ID begins so")
        return found[0]

    def _send_request(self, method: str, path: str, incident_id: str = "", body: Json | None = None) -> Json:
        try:
            answer = send_request(
                method, self._url + path, authorization=bearer_header(self._token), body=body
            )
        except NoResponse as error:
            raise ReceiverApiError(describe_unreachable(self._url, error)) from None
        found = answer.parse_json()
        if answer.is_ok and isinstance(found, dict):
            return found
        kind, message = read_error(answer)
        if answer.status == 401:
            raise ReceiverApiError(
                describe_unauthorized(self._url, "RECEIVER_API_TOKEN", has_token=bool(self._token))
            )
        if kind == "not_found" and incident_id:
            raise NotFound("incident", incident_id)
        if message:
            raise ReceiverApiError(f"the receiver says: {message}")
        raise self._build_unexpected_error(answer.status)

    def _build_unexpected_error(self, status: int = 200) -> ReceiverApiError:
        return ReceiverApiError(
            f"what answers at {strip_login(self._url)} (status {status}) is no receiver: "
            "set RECEIVER_URL to where it listens"
        )


def build_api(environ: Mapping[str, str]) -> ReceiverApi:
    """Return a client for the receiver in *environ*; raises ReceiverApiError for an invalid URL."""
    return ReceiverApi(
        read_url(environ, "RECEIVER_URL", DEFAULT_URL), read_token(environ, "RECEIVER_API_TOKEN")
    )


def read_url(environ: Mapping[str, str], name: str, default: str = "") -> str:
    """Return the URL in a variable, without trailing `/`; raises ReceiverApiError if missing or invalid."""
    url = environ.get(name, "").strip() or default
    if not url:
        raise ReceiverApiError(f"{name} is not set")
    if mistake := find_mistake(url) or find_url_mistake(url, is_base=True):
        raise ReceiverApiError(f"{name} {mistake[0]}, expected {mistake[1]}")
    return url.rstrip("/")


def read_token(environ: Mapping[str, str], name: str) -> str:
    """Return the first token in a variable, empty if unset; raises ConfigError for a missing file."""
    tokens = (token.strip() for token in Environment(environ).get(name, "").split(","))
    return next((token for token in tokens if token), "")


def read_error(answer: JsonResponse) -> tuple[str, str]:
    """Return type and message of an error in the receiver's own form; empty for another form."""
    found = answer.parse_json()
    error = found.get("error") if isinstance(found, dict) else None
    if not isinstance(error, dict):
        return "", ""
    return one_line(str(error.get("type", "")), 50), one_line(str(error.get("message", "")), 500)


def describe_unreachable(url: str, error: NoResponse) -> str:
    """Return the sentence for a receiver that doesn't answer."""
    return (
        f"no receiver answers at {strip_login(url)}: {error}. "
        "Start it with `receiver run`, or set RECEIVER_URL to where it listens"
    )


def describe_unauthorized(url: str, variable: str, *, has_token: bool) -> str:
    """Return the sentence for a receiver that rejects the token of *variable*."""
    fault = f"it refuses the one in {variable}" if has_token else f"set {variable} to one of its tokens"
    return f"the receiver at {strip_login(url)} asks for a token: {fault}"
