"""A single Alertmanager's API v2: each method is one thing asked or told, and raises a DeliveryError."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import quote, urlencode

from receiver import clock as wall
from receiver.errors import DeliveryError, PermanentDeliveryError, RefusalKind, TemporaryDeliveryError
from receiver.http_client import HttpResponse, gather, parse_base_url, send_request
from receiver.integrations.alertmanager import responses as bodies
from receiver.integrations.alertmanager.responses import format_timestamp
from receiver.integrations.alertmanager.status import Poll, RemoteSilence, Replica, UnreachableReplica
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


_EVERYTHING: Mapping[str, str] = MappingProxyType({})


class AlertmanagerClient:
    """An Alertmanager, or all replicas of a cluster; threads may share it.

    *urls* may hold path prefixes and logins. *timeout_s* bounds a question that is put to all
    replicas as a whole, and otherwise each request. Nothing is tried twice.
    """

    def __init__(
        self, urls: Sequence[str], timeout_s: float = 3.0, clock: Callable[[], float] = wall.now
    ) -> None:
        self._replicas = tuple(AlertmanagerApi(url, timeout_s, clock) for url in urls)
        self._timeout_s = timeout_s
        self._clock = clock

    def poll(self, matchers: Mapping[str, str] = _EVERYTHING) -> Poll:
        """Return what all replicas show of the alerts with the labels *matchers* (none: of all).

        Raises nothing: a replica that can't be asked, or answers what can't be read, is in `unreachable`.
        """
        at = self._clock()
        answers = gather(
            [partial(replica.get_alerts, matchers) for replica in self._replicas], self._timeout_s
        )
        asked = list(zip(self._replicas, answers, strict=True))
        return Poll(
            at,
            replicas=tuple(answer for _, answer in asked if isinstance(answer, Replica)),
            unreachable=tuple(
                UnreachableReplica(replica.url, answer.detail or answer.reason)
                for replica, answer in asked
                if isinstance(answer, DeliveryError)
            ),
        )

    def list_silences(self, mark: str) -> tuple[RemoteSilence, ...]:
        """Return the silences, none expired, with *mark* in their comment ("" for all), oldest first.

        As the replicas that answer have them; raises a DeliveryError when none does.
        """
        answers = gather([replica.list_silences for replica in self._replicas], self._timeout_s)
        errors = [answer for answer in answers if isinstance(answer, DeliveryError)]
        if len(errors) == len(answers):
            raise _choose_error(errors)
        found = {
            silence.id: silence
            for silences in answers
            if not isinstance(silences, DeliveryError)
            for silence in silences
            if mark in silence.comment and silence.state != "expired"
        }
        return tuple(sorted(found.values(), key=lambda silence: (silence.starts_at, silence.id)))

    def get_silence(self, silence_id: str) -> RemoteSilence | None:
        """Return the silence, expired or not; None when there is none.

        Raises a DeliveryError when one replica can't be asked and no other knows it.
        """
        errors = []
        for replica in self._replicas:
            try:
                silence = replica.find_silence(silence_id)
            except DeliveryError as error:
                errors.append(error)
            else:
                if silence is not None:
                    return silence
        if errors or not self._replicas:
            raise _choose_error(errors)
        return None

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
        """Silence what has the labels *matchers*, and return the silence's id.

        A *starts_at* that is past means now. With a *silence_id* that silence is given another end
        and keeps its start; where Alertmanager has lost it, it is made anew, with another id. Raises
        PermanentDeliveryError `silence_expired` when it is over there: somebody may have ended it on
        purpose. A 4xx is permanent too, with Alertmanager's words; TemporaryDeliveryError when no
        replica can take it now, or one may have taken it without telling.
        """
        if not matchers:
            raise PermanentDeliveryError("no_matchers", "it would silence everything")
        former = self.get_silence(silence_id) if silence_id else None
        if former is not None and former.state == "expired":
            raise PermanentDeliveryError("silence_expired", "it has ended in Alertmanager meanwhile")
        silence: dict[str, object] = {
            # In one order always: with others than before, Alertmanager would make a new silence.
            "matchers": [_build_equality_matcher(name, matchers[name]) for name in sorted(matchers)],
            "startsAt": format_timestamp(former.starts_at if former else starts_at),
            "endsAt": format_timestamp(ends_at),
            "createdBy": by,
            "comment": comment,
        }
        return self._post_silence({"id": former.id, **silence} if former else silence)

    def expire_silence(self, silence_id: str) -> None:
        """End the silence; one that is over already, or that nobody knows, counts as done.

        Raises a DeliveryError when one replica can't be told and no other knows it.
        """
        errors = []
        for replica in self._replicas:
            try:
                if replica.expire_silence(silence_id):
                    return
            except DeliveryError as error:
                errors.append(error)
        if errors or not self._replicas:
            raise _choose_error(errors)

    def _post_silence(self, silence: Mapping[str, object]) -> str:
        """Tell the first replica that takes it; return the id."""
        errors = []
        for replica in self._replicas:
            try:
                # A replica that hangs is found out before it may have taken anything. Otherwise,
                # with the first one hanging, the second would never be told.
                replica.check_status()
                return replica.post_silence(silence)
            except DeliveryError as error:
                if isinstance(error, TemporaryDeliveryError) and error.maybe_sent:
                    raise
                errors.append(error)
        raise _choose_error(errors)


def _build_equality_matcher(name: str, value: str) -> dict[str, object]:
    return {"name": name, "value": value, "isRegex": False, "isEqual": True}


def _choose_error(errors: Sequence[DeliveryError]) -> DeliveryError:
    """Return the error to raise for all: one that may pass goes before one that won't."""
    if not errors:
        return PermanentDeliveryError("no_alertmanager", "no address is configured")
    return next((error for error in errors if isinstance(error, TemporaryDeliveryError)), errors[0])
