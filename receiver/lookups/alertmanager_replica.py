"""A single Alertmanager's API v2: each method is one thing asked or told, and raises a DeliveryError."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import quote, urlencode

from receiver.domain.witness import RemoteSilence, Replica
from receiver.errors import DeliveryError, PermanentDeliveryError, RefusalKind, TemporaryDeliveryError
from receiver.http_client import HttpResponse, parse_base_url, send_request
from receiver.lookups import alertmanager_body as bodies
from receiver.model.routing import Matcher

T = TypeVar("T")

_EVERY_STATE = (("active", "true"), ("silenced", "true"), ("inhibited", "true"), ("unprocessed", "true"))
# Our clock and theirs are the same when they differ by less: a date in HTTP has whole seconds, and
# an answer is under way for some.
_SAME_CLOCK_S = 5.0
_TRY_LATER = (408, 425, 429)
# 404, and 422 for what can't be the id of a silence.
_UNKNOWN = (404, 422)


class AlertmanagerApi:
    """One replica. *url* may hold a path prefix and a login; *timeout_s* bounds each request."""

    def __init__(self, url: str, timeout_s: float, clock: Callable[[], float]) -> None:
        self._address = parse_base_url(url)
        self._timeout_s = timeout_s
        self._clock = clock

    @property
    def url(self) -> str:
        """The address without its login."""
        return self._address.url

    def get_alerts(self, labels: Mapping[str, str]) -> Replica:
        """Return the alerts that have *labels*, whatever mutes them; both requests within the time-out."""
        deadline = time.monotonic() + self._timeout_s
        response = self._request("GET", f"/alerts?{_render_filter(labels)}")
        dated_at = bodies.parse_date_header(response.headers)
        now = self._clock() if dated_at is None else dated_at
        alerts = _parse_body(response, lambda body: bodies.parse_alerts(body, now))
        # Asked last: if it restarts in between, the list comes with its new start, and an empty list
        # never with the old one.
        status = self._request("GET", "/status", max(0.1, deadline - time.monotonic()))
        up_since = _parse_body(status, bodies.parse_uptime) + self._measure_clock_lead(status)
        return Replica(self.url, alerts, up_since)

    def check_status(self) -> None:
        """Return if it answers."""
        self._request("GET", "/status")

    def list_silences(self) -> tuple[RemoteSilence, ...]:
        """Return all silences; from 0.34 on without those that have expired."""
        return _parse_body(self._request("GET", "/silences?expired=false"), bodies.parse_silences)

    def find_silence(self, silence_id: str) -> RemoteSilence | None:
        """Return the silence, None when it is not known here."""
        response = self._request("GET", _silence_path(silence_id), or_statuses=_UNKNOWN)
        return _parse_body(response, bodies.parse_silence) if response.is_ok else None

    def post_silence(self, silence: Mapping[str, object]) -> str:
        """Have *silence* made or changed, and return its id."""
        return _parse_body(
            self._request("POST", "/silences", body=silence), bodies.parse_silence_id, may_be_done=True
        )

    def expire_silence(self, silence_id: str) -> bool:
        """End the silence; return False when it is not known here."""
        response = self._request("DELETE", _silence_path(silence_id), or_statuses=(*_UNKNOWN, 500))
        # 0.25 answers 500 for one that it doesn't know, and for one that has ended already.
        message = bodies.parse_error_message(response.body)
        is_unknown = response.status in _UNKNOWN or message.endswith("not found")
        if response.status == 500 and not is_unknown and not message.endswith("already expired"):
            raise _convert_refusal(response, may_be_done=True)
        return not is_unknown

    def _request(
        self,
        method: str,
        path: str,
        timeout_s: float = 0.0,
        *,
        body: object = None,
        or_statuses: tuple[int, ...] = (),
    ) -> HttpResponse:
        """Return an answer that is good, or has one of *or_statuses*."""
        timeout_s = timeout_s or self._timeout_s
        response = send_request(method, self._address, f"/api/v2{path}", body=body, timeout_s=timeout_s)
        if not response.is_ok and response.status not in or_statuses:
            raise _convert_refusal(response, may_be_done=method != "GET")
        return response

    def _measure_clock_lead(self, response: HttpResponse) -> float:
        """Return by how much our clock is ahead of the one that dated *response*; 0 where unknown."""
        dated_at = bodies.parse_date_header(response.headers)
        ahead = 0.0 if dated_at is None else self._clock() - dated_at
        return ahead if abs(ahead) > _SAME_CLOCK_S else 0.0


def _render_filter(labels: Mapping[str, str]) -> str:
    filters = [("filter", str(Matcher(name, "=", labels[name]))) for name in sorted(labels)]
    return urlencode([*_EVERY_STATE, *filters], errors="replace", quote_via=quote)


def _silence_path(silence_id: str) -> str:
    return "/silence/" + quote(silence_id, safe="", errors="replace")


def _parse_body(response: HttpResponse, decode: Callable[[bytes], T], *, may_be_done: bool = False) -> T:
    try:
        return decode(response.body)
    except bodies.UnexpectedResponse as error:
        raise TemporaryDeliveryError("odd_answer", str(error), maybe_sent=may_be_done) from error


def _convert_refusal(response: HttpResponse, *, may_be_done: bool) -> DeliveryError:
    """Return the error that an answer other than a 2xx means, with Alertmanager's words."""
    message = response.headers.get("location", "") if 300 <= response.status < 400 else ""
    detail = f"HTTP {response.status}: {message or bodies.parse_error_message(response.body)}".rstrip(": ")
    if response.status in (401, 403):
        return PermanentDeliveryError("unauthorized", detail, kind=RefusalKind.CREDENTIALS)
    if 400 <= response.status < 500 and response.status not in _TRY_LATER:
        return PermanentDeliveryError("refused", detail)
    # A gateway that lost its answer, or a failure at work, may have left it done; a 503 has not.
    is_open = may_be_done and response.status in (500, 502, 504)
    reason = "server_error" if response.status >= 500 else "unexpected_answer"
    return TemporaryDeliveryError(reason, detail, maybe_sent=is_open)
