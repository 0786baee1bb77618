"""The client of the receiver's API; its answers have the types of `web/api/responses.py`."""

from __future__ import annotations

import os
import re
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlencode

import msgspec
from msgspec import Struct, field

from receiver.config.mistakes import find_mistake
from receiver.config.settings import Environment
from receiver.config.urls import find_url_mistake
from receiver.errors import NotFound, ReceiverError, TemporaryDeliveryError
from receiver.http_client import as_object, as_objects, parse_base_url, send_request
from receiver.http_connection import HttpResponse
from receiver.text import one_line

T = TypeVar("T", bound=Struct)
_OPTIONAL = (Union, UnionType)  # all unions in the responses are `X | None`


def parse_response(raw: Any, kind: type[T]) -> T:
    """Convert *raw* to a *kind* of `web/api/responses.py`; raises ReceiverApiError for another form.

    The receiver may have another version: fields unknown to *kind* are dropped, fields missing in *raw* are
    empty, and unknown values of an enumeration stay strings.
    """
    try:
        found: T = msgspec.convert(raw, _loosen_type(kind))
    except msgspec.ValidationError as error:
        raise ReceiverApiError(
            f"the receiver's answer has an unknown form ({error}): is it of another version?"
        ) from None
    return found


@cache
def _loosen_type(kind: Any) -> Any:
    """Return the type *kind* with a default for every field but `id`, and texts for its enumerations."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in _OPTIONAL:
        return _loosen_type(parts[0]) | None
    if origin is list:
        return list[_loosen_type(parts[0])]  # type: ignore[misc]  # a type at runtime
    if origin is not None or not issubclass(kind, (Enum, Struct)):
        return kind
    if issubclass(kind, Enum):
        return str
    fields: list[tuple[str, Any, Any]] = []
    for name, hint in get_type_hints(kind).items():
        loose = _loosen_type(hint)
        empty = NoneType if get_origin(loose) in _OPTIONAL else get_origin(loose) or loose
        fields.append((name, loose, field() if name == "id" else field(default_factory=empty)))
    return msgspec.defstruct(kind.__name__, fields, kw_only=True)


Json = dict[str, Any]
DEFAULT_URL = "http://127.0.0.1:9080"
TIMEOUT_S = 10.0
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

    def __init__(self, url: str, token: str, variable: str) -> None:
        self.address = parse_base_url(url).with_token(token)
        self._token_fault = (
            f"it refuses the one in {variable}" if token else f"set {variable} to one of its tokens"
        )

    def send_request(self, method: str, path: str, body: Json | None = None) -> HttpResponse:
        """Send a request; return any response but a 401, for which this raises."""
        try:
            response = send_request(method, self.address, path, body=body, timeout_s=TIMEOUT_S)
        except TemporaryDeliveryError as error:
            raise ReceiverApiError(
                f"no receiver answers at {self.address}: {error.detail}. "
                "Start it with `receiver run`, or set RECEIVER_URL to where it listens"
            ) from None
        if response.status == 401:
            raise ReceiverApiError(f"the receiver at {self.address} asks for a token: {self._token_fault}")
        return response

    def list_rows(self, what: str, **query: str) -> Json:
        """Return up to MAX_PAGES pages of `incidents`, `history` or `deliveries` as one, newest first."""
        name = "deliveries" if what == "deliveries" else "incidents"
        rows: list[Any] = []
        cursor = ""
        for _ in range(MAX_PAGES):
            fields = {**query, "limit": str(PAGE_SIZE), "cursor": cursor}
            text = urlencode({name: value for name, value in fields.items() if value})
            page = self._call_api("GET", f"/api/v1/{what}?{text}")
            found = page.get(name)
            if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
                raise self._build_unexpected_error()
            rows += found
            cursor = str(page.get("next_cursor") or "")
            if not cursor:
                break
        return {name: rows, "next_cursor": cursor or None}

    def retry_delivery(self, failure_id: str, by: str) -> Json:
        """Retry a failed delivery, and return its new state."""
        if not _FAILURE_ID.fullmatch(failure_id):
            raise NotFound("delivery", one_line(failure_id, 120))
        path = f"/api/v1/deliveries/{failure_id}/retry"
        return self._call_api("POST", path, body={"by": by, "via": VIA})

    def list_storms(self) -> list[Json]:
        """Return the storms that are not resolved; none if the receiver has no such endpoint."""
        try:
            return as_objects(self._call_api("GET", "/api/v1/storms", "storms").get("storms"))
        except NotFound:  # a receiver older than this command
            return []

    def call_incident(self, incident_id: str, action: str = "", **fields: str) -> Json:
        """Return one incident with all details, after *action*, if any, with *fields* as `by` and `for`.

        The ID is that of the incident, or a prefix that only one open incident has.
        """
        if not _ID.fullmatch(incident_id):
            raise NotFound("incident", one_line(incident_id, 100))
        method, body = ("POST", {**fields, "via": VIA}) if action else ("GET", None)
        rest = f"/{action}" if action else ""
        try:
            return self._call_api(method, f"/api/v1/incidents/{incident_id}{rest}", incident_id, body)
        except NotFound:
            known = self._complete_id(incident_id)
            return self._call_api(method, f"/api/v1/incidents/{known}{rest}", known, body)

    def get_maintenance(self) -> Json:
        """Return the maintenance in force; all fields null if there is none."""
        return self._call_api("GET", "/api/v1/maintenance")

    def start_maintenance(self, by: str, **more: str | None) -> Json:
        """Start a maintenance (no pages); *more* contains `for` or `until`, and `comment`."""
        body = {"by": by, "via": VIA, **{name: value for name, value in more.items() if value}}
        return self._call_api("POST", "/api/v1/maintenance", body=body)

    def end_maintenance(self, by: str) -> Json:
        """End the maintenance; the second time changes nothing."""
        return self._call_api("DELETE", "/api/v1/maintenance?" + urlencode({"by": by, "via": VIA}))

    def _complete_id(self, prefix: str) -> str:
        if len(prefix) < MIN_PREFIX:
            raise NotFound("incident", prefix)
        ids = [str(row.get("id", "")) for row in self.list_rows("incidents", state="open")["incidents"]]
        found = [each for each in ids if each.startswith(prefix) and _ID.fullmatch(each)]
        if len(found) > 1:
            shown = ", ".join(found[:5]) + (", …" if len(found) > 5 else "")
            raise ReceiverApiError(f"several open incidents begin with {prefix}: {shown}")
        if not found:
            raise ReceiverApiError(f"no incident {prefix!r}, and no open one whose ID begins so")
        return found[0]

    def _call_api(self, method: str, path: str, incident_id: str = "", body: Json | None = None) -> Json:
        response = self.send_request(method, path, body)
        found = response.parse_json()
        if response.is_ok and isinstance(found, dict):
            return found
        kind, message = read_error(response)
        if kind == "not_found" and incident_id:
            raise NotFound("incident", incident_id)
        if message:
            raise ReceiverApiError(f"the receiver says: {message}")
        raise self._build_unexpected_error(response.status)

    def _build_unexpected_error(self, status: int = 200) -> ReceiverApiError:
        return ReceiverApiError(
            f"what answers at {self.address} (status {status}) is no receiver: "
            "set RECEIVER_URL to where it listens"
        )


def build_api(variable: str = "RECEIVER_API_TOKEN") -> ReceiverApi:
    """Return a client with the first token in *variable*, if any.

    Raises ReceiverApiError for an invalid RECEIVER_URL, ConfigError for a missing file of tokens.
    """
    tokens = (token.strip() for token in Environment(os.environ).get(variable, "").split(","))
    token = next((token for token in tokens if token), "")
    return ReceiverApi(read_url("RECEIVER_URL", DEFAULT_URL), token, variable)


def read_url(name: str, default: str = "") -> str:
    """Return the URL in a variable, without trailing `/`; raises ReceiverApiError if missing or invalid."""
    url = os.environ.get(name, "").strip() or default
    if not url:
        raise ReceiverApiError(f"{name} is not set")
    if mistake := find_mistake(url) or find_url_mistake(url, is_base=True):
        raise ReceiverApiError(f"{name} {mistake[0]}, expected {mistake[1]}")
    return url.rstrip("/")


def read_error(response: HttpResponse) -> tuple[str, str]:
    """Return type and message of an error in the receiver's own form; empty for another form."""
    error = as_object(as_object(response.parse_json()).get("error"))
    return one_line(str(error.get("type", "")), 50), one_line(str(error.get("message", "")), 500)
