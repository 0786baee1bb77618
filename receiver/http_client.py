"""The HTTP client: one request, sent once, with a time limit and a response size limit; and parallel calls.

It follows no redirect, because that would send the password to another host.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException, InvalidURL
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

from receiver.errors import DeliveryError, TemporaryDeliveryError
from receiver.http_connection import (
    MAX_RESPONSE_BYTES,
    HttpConnection,
    HttpResponse,
    RequestNotSent,
    ResponseTooLong,
)
from receiver.text import one_line

_REASONS: dict[type[Exception], str] = {
    ResponseTooLong: "its answer is too long",
    ssl.SSLError: "it does not speak TLS as we do",
    ConnectionError: "the connection was cut",
    InvalidURL: "the address can't be used",
    HTTPException: "what answers there speaks no HTTP that we can read",
    ValueError: "the address or the token has characters that can't be sent",
}


@dataclass(frozen=True)
class BaseUrl:
    """An http or https base URL that is safe to show, with its login separate and never printed."""

    url: str
    login: str = field(default="", repr=False)  # the Authorization header

    def __str__(self) -> str:
        return one_line(self.url, 200)

    def with_token(self, token: str) -> BaseUrl:
        """Return it with the bearer *token* as its login; unchanged where there is none."""
        return replace(self, login=f"Bearer {token}") if token else self


def parse_base_url(url: str) -> BaseUrl:
    """Return *url* without its login (`user:password@`, either may be percent-encoded) and final slash."""
    parts = urlsplit(url.rstrip("/"))
    login, at, host = parts.netloc.rpartition("@")
    if not at:
        return BaseUrl(urlunsplit(parts))
    name, _, password = login.partition(":")
    basic = base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
    return BaseUrl(urlunsplit(parts._replace(netloc=host)), f"Basic {basic}")


def send_request(
    method: str,
    address: BaseUrl,
    path: str,
    *,
    body: object = None,
    form: str = "",
    accept: str = "application/json",
    timeout_s: float,
    max_bytes: int = MAX_RESPONSE_BYTES,
) -> HttpResponse:
    """Send *body* as JSON, or an encoded *form*; see `send_bytes`."""
    headers = {"Accept": accept, "User-Agent": "receiver"}
    data = form.encode() or None
    if form:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    elif body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    return send_bytes(method, address, path, data, headers, timeout_s=timeout_s, max_bytes=max_bytes)


def send_bytes(
    method: str,
    address: BaseUrl,
    path: str,
    data: bytes | None,
    headers: Mapping[str, str],
    *,
    timeout_s: float,
    max_bytes: int = MAX_RESPONSE_BYTES,
    ca_bundle: str = "",
) -> HttpResponse:
    """Send a request once and return its response of up to *max_bytes*, a redirect or an error too.

    *timeout_s* limits the whole call. Raises TemporaryDeliveryError without a response: `unreachable` when
    the request cannot have arrived, else `no_answer`, with `maybe_sent` unless it is a GET.
    """
    login = {"Authorization": address.login} if address.login else {}
    url, deadline = address.url + path, time.monotonic() + timeout_s
    try:
        with closing(HttpConnection(url, deadline, ca_bundle=ca_bundle)) as connection:
            headers = {**headers, **login, "Connection": "close"}
            return connection.exchange(method, url, headers, data, deadline=deadline, max_bytes=max_bytes)
    except (OSError, HTTPException) as error:
        is_unsent = isinstance(error, RequestNotSent)
        reason, why = ("unreachable" if is_unsent else "no_answer"), _describe_failure(error, timeout_s)
        # Without the cause: its message may contain the password.
        raise TemporaryDeliveryError(reason, why, maybe_sent=not is_unsent and method != "GET") from None


def _describe_failure(error: Exception, timeout_s: float) -> str:
    """Return the reason in a few words, without any part of the request."""
    cause = error.__cause__ or error if isinstance(error, RequestNotSent) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {one_line(cause.verify_message, 100)}"
    if isinstance(cause, OSError) and cause.strerror and not isinstance(cause, ssl.SSLError):
        return one_line(cause.strerror, 100).lower()
    if isinstance(cause, RequestNotSent):
        return str(cause)
    return next((words for kind, words in _REASONS.items() if isinstance(cause, kind)), "no connection")


def as_object(value: object) -> dict[str, Any]:
    """Return *value* if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_objects(value: object) -> list[dict[str, Any]]:
    """Return the objects in the JSON list *value*; none if it is no list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def parse_timestamp(value: object) -> float:
    """Return the ISO 8601 time *value* (UTC by default) in seconds; 0 if it is invalid or before 1970."""
    try:
        parsed = datetime.fromisoformat(value if isinstance(value, str) else "")
        return max(0.0, (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return 0.0


def parse_date_header(date: str) -> float | None:
    """Return the time of a Date header (RFC 9110), by the server's clock; None if it is invalid."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def measure_clock_lead(date: str, now: float, agree_within_s: float) -> float:
    """Return by how many seconds our clock is ahead of that of the server that sent the Date header *date*.

    The header has whole seconds and is slightly old: below *agree_within_s* the clocks count as equal.
    """
    dated_at = parse_date_header(date)
    ahead_s = now - dated_at if dated_at is not None else 0.0
    return ahead_s if abs(ahead_s) > agree_within_s else 0.0


T = TypeVar("T")


def gather(calls: Sequence[Callable[[], T]], timeout_s: float) -> list[T | DeliveryError]:
    """Run *calls* in parallel; return the result of each, or its DeliveryError, in the same order.

    Returns after *timeout_s* at the latest, with `no_answer` for calls that are not done. Their threads
    run on until the call's own timeout, so the calls must be read-only.
    """
    deadline = time.monotonic() + timeout_s

    def wait(future: Future[T]) -> T | DeliveryError:
        try:
            return future.result(max(0.0, deadline - time.monotonic()))
        except DeliveryError as error:
            return error
        except TimeoutError:
            return TemporaryDeliveryError("no_answer", f"no answer within {timeout_s:g} s")

    return [wait(future) for future in [_start_call(call) for call in calls]]


def _start_call(call: Callable[[], T]) -> Future[T]:
    """Run *call* in a daemon thread, which does not keep the process from exiting."""
    future: Future[T] = Future()

    def set_result() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001  # raised again by the waiting thread
            future.set_exception(error)

    threading.Thread(target=set_result, name="http-call", daemon=True).start()
    return future
