"""Clients for Alertmanager's API v2: `AlertmanagerApi` for one replica, `AlertmanagerClient` for a cluster.

Errors are DeliveryErrors. https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

from receiver import clock as wall
from receiver import http_client
from receiver.errors import DeliveryError, PermanentDeliveryError, RefusalKind, TemporaryDeliveryError
from receiver.http_client import BaseUrl, parse_base_url, send_request
from receiver.http_connection import HttpResponse
from receiver.integrations.alertmanager import responses as bodies
from receiver.integrations.alertmanager.status import Poll, RemoteSilence, Replica

T = TypeVar("T")
_ALERTS_OF_EVERY_STATE = "/alerts?active=true&silenced=true&inhibited=true&unprocessed=true"
# Clocks that differ by less count as equal: an HTTP date has whole seconds, and a response may take
# some seconds to arrive.
_SAME_CLOCK_S = 5.0
_TRY_LATER = (408, 425, 429)
# 404, and 422 for an invalid silence ID.
_UNKNOWN = (404, 422)


@dataclass(frozen=True)
class AlertmanagerApi:
    """One replica. *address* may have a path prefix and credentials; *timeout_s* limits each request."""

    address: BaseUrl
    timeout_s: float
    clock: Callable[[], float]

    def get_alerts(self) -> Replica:
        """Return all alerts, muted or not; both requests share the timeout."""
        deadline = time.monotonic() + self.timeout_s
        response = self._send_request("GET", _ALERTS_OF_EVERY_STATE)
        dated_at = http_client.parse_date_header(response.headers.get("date", ""))
        alerts = bodies.parse_alerts(response.body, self.clock() if dated_at is None else dated_at)
        # Request the status last: after a restart in between, the new start time comes with the old list;
        # the other way round, an empty list could come with the old start time.
        status = self._send_request("GET", "/status", max(0.1, deadline - time.monotonic()))
        ahead_s = http_client.measure_clock_lead(status.headers.get("date", ""), self.clock(), _SAME_CLOCK_S)
        return Replica(alerts, bodies.parse_uptime(status.body) + ahead_s)

    def list_silences(self) -> tuple[RemoteSilence, ...]:
        """Return all silences; since Alertmanager 0.34 without expired ones."""
        return bodies.parse_silences(self._send_request("GET", "/silences?expired=false").body)

    def find_silence(self, silence_id: str) -> RemoteSilence | None:
        """Return the silence; None when this replica does not know it."""
        response = self._send_request("GET", _silence_path(silence_id), or_statuses=_UNKNOWN)
        return bodies.parse_silence(response.body) if response.is_ok else None

    def post_silence(self, silence: Mapping[str, object]) -> str:
        """Create or change *silence* and return its ID."""
        # Detect a hanging replica before it may have accepted the silence: after a timeout of the POST, the
        # next replica could not be tried.
        self._send_request("GET", "/status")
        return bodies.parse_silence_id(self._send_request("POST", "/silences", body=silence).body)

    def expire_silence(self, silence_id: str) -> bool:
        """Expire the silence; return False when this replica does not know it."""
        response = self._send_request("DELETE", _silence_path(silence_id), or_statuses=(*_UNKNOWN, 500))
        # Alertmanager 0.25 returns 500 for an unknown silence and for an expired one.
        message = bodies.parse_error_message(response.body)
        is_unknown = response.status in _UNKNOWN or message.endswith("not found")
        if response.status == 500 and not is_unknown and not message.endswith("already expired"):
            raise _convert_refusal(response, may_be_done=True)
        return not is_unknown

    def _send_request(
        self,
        method: str,
        path: str,
        timeout_s: float = 0.0,
        *,
        body: object = None,
        or_statuses: tuple[int, ...] = (),
    ) -> HttpResponse:
        """Return a response with a 2xx status or one of *or_statuses*; raise a DeliveryError for others."""
        timeout_s = timeout_s or self.timeout_s
        response = send_request(method, self.address, f"/api/v2{path}", body=body, timeout_s=timeout_s)
        if not response.is_ok and response.status not in or_statuses:
            raise _convert_refusal(response, may_be_done=method != "GET")
        return response


def _silence_path(silence_id: str) -> str:
    return "/silence/" + quote(silence_id, safe="", errors="replace")


def _convert_refusal(response: HttpResponse, *, may_be_done: bool) -> DeliveryError:
    """Return the DeliveryError for a response other than a 2xx, with Alertmanager's message."""
    message = response.headers.get("location", "") if 300 <= response.status < 400 else ""
    detail = f"HTTP {response.status}: {message or bodies.parse_error_message(response.body)}".rstrip(": ")
    if response.status in (401, 403):
        return PermanentDeliveryError("unauthorized", detail, kind=RefusalKind.CREDENTIALS)
    if 400 <= response.status < 500 and response.status not in _TRY_LATER:
        return PermanentDeliveryError("refused", detail)
    # After an internal error or a gateway error the request may have taken effect; after a 503 it has not.
    is_open = may_be_done and response.status in (500, 502, 504)
    reason = "server_error" if response.status >= 500 else "unexpected_answer"
    return TemporaryDeliveryError(reason, detail, maybe_sent=is_open)


class AlertmanagerClient:
    """A client for one Alertmanager or all replicas of a cluster; thread-safe.

    *timeout_s* limits a query of all replicas as a whole, and otherwise each request. There are no retries.
    """

    def __init__(
        self, urls: Sequence[str], timeout_s: float = 3.0, clock: Callable[[], float] = wall.now
    ) -> None:
        self._replicas = tuple(AlertmanagerApi(parse_base_url(url), timeout_s, clock) for url in urls)
        self._timeout_s = timeout_s
        self._clock = clock

    def poll_alerts(self) -> Poll:
        """Return the alerts of all replicas.

        Never raises: a replica that does not answer, or whose response is invalid, is in `unreachable`.
        """
        at = self._clock()
        results = http_client.gather([replica.get_alerts for replica in self._replicas], self._timeout_s)
        unreachable = {
            replica.address.url: result.detail or result.reason
            for replica, result in zip(self._replicas, results, strict=True)
            if isinstance(result, DeliveryError)
        }
        return Poll(at, tuple(result for result in results if isinstance(result, Replica)), unreachable)

    def list_silences(self, mark: str) -> tuple[RemoteSilence, ...]:
        """Return the silences that are not expired, with *mark* in their comment ("" for all), oldest first.

        Merges the replicas that answer; raises a DeliveryError when none does.
        """
        results = http_client.gather([replica.list_silences for replica in self._replicas], self._timeout_s)
        errors = [result for result in results if isinstance(result, DeliveryError)]
        if len(errors) == len(results):
            raise _choose_error(errors)
        listed = (silence for result in results if isinstance(result, tuple) for silence in result)
        found = {one.id: one for one in listed if mark in one.comment and not one.is_expired}
        return tuple(sorted(found.values(), key=lambda silence: (silence.starts_at, silence.id)))

    def get_silence(self, silence_id: str) -> RemoteSilence | None:
        """Return the silence, expired or not; None when there is none."""
        return self._ask_in_turn(lambda replica: replica.find_silence(silence_id))

    def make_silence(
        self,
        matchers: Mapping[str, str],
        starts_at: float,
        ends_at: float,
        *,
        by: str,
        comment: str,
        silence_id: str = "",
    ) -> str:
        """Silence the alerts with the labels *matchers*, and return the silence's ID.

        A *starts_at* in the past means now. With *silence_id*, changes the end of that silence and keeps its
        start; if Alertmanager has lost it, creates it again with another ID. Raises PermanentDeliveryError
        `silence_expired` if it is expired there (a user may have expired it on purpose), and for a 4xx;
        TemporaryDeliveryError when no replica accepts it, or one may have but its response was lost.
        """
        if not matchers:
            raise PermanentDeliveryError("no_matchers", "it would silence everything")
        former = self.get_silence(silence_id) if silence_id else None
        if former is not None and former.is_expired:
            raise PermanentDeliveryError("silence_expired", "it has ended in Alertmanager meanwhile")
        silence: dict[str, object] = {
            # Always in the same order: for changed matchers Alertmanager would create a new silence.
            "matchers": [
                {"name": name, "value": value, "isRegex": False, "isEqual": True}
                for name, value in sorted(matchers.items())
            ],
            "startsAt": bodies.format_timestamp(former.starts_at if former else starts_at),
            "endsAt": bodies.format_timestamp(ends_at),
            "createdBy": by,
            "comment": comment,
        }
        silence = {"id": former.id, **silence} if former else silence
        return self._ask_in_turn(lambda replica: replica.post_silence(silence), is_repeatable=False) or ""

    def expire_silence(self, silence_id: str) -> None:
        """Expire the silence; one that is already expired, or unknown to all replicas, counts as done."""
        self._ask_in_turn(lambda replica: replica.expire_silence(silence_id) or None)

    def _ask_in_turn(
        self, ask: Callable[[AlertmanagerApi], T | None], *, is_repeatable: bool = True
    ) -> T | None:
        """Return the first answer that is not None; None if every replica answers so.

        Without *is_repeatable*, no other replica is asked after a request that may have taken effect. Raises
        a DeliveryError when a replica does not answer and no other returns more than None.
        """
        errors = []
        for replica in self._replicas:
            try:
                if (answer := ask(replica)) is not None:
                    return answer
            except DeliveryError as error:
                if isinstance(error, TemporaryDeliveryError) and error.maybe_sent and not is_repeatable:
                    raise
                errors.append(error)
        if errors or not self._replicas:
            raise _choose_error(errors)
        return None


def _choose_error(errors: Sequence[DeliveryError]) -> DeliveryError:
    """Return the error to raise for all replicas: a temporary one is preferred to a permanent one."""
    if not errors:
        return PermanentDeliveryError("no_alertmanager", "no address is configured")
    return next((error for error in errors if isinstance(error, TemporaryDeliveryError)), errors[0])
