"""The HTTP client: one request, sent once, with a time limit and a response size limit; and parallel calls.

It follows no redirect, because that would send the password to another host, and does not use the
environment's proxy for requests to this host.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from typing import Any, TypeVar
from urllib import request as urlrequest
from urllib.error import URLError
from urllib.parse import unquote, urlsplit, urlunsplit

from receiver.errors import DeliveryError, TemporaryDeliveryError
from receiver.text import is_loopback, one_line

MAX_RESPONSE_BYTES = 64 * 1024 * 1024
_CHUNK = 256 * 1024


class _ResponseTooLong(HTTPException):
    """A response is longer than the limit."""


_REASONS: dict[type[Exception], str] = {
    _ResponseTooLong: "its answer is too long",
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


@dataclass(frozen=True)
class HttpResponse:
    """A response of any status. The names in `headers` are in lower case."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300

    def parse_json(self) -> Any:
        """Return the body parsed as JSON; None if it isn't JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


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
    proxies: Mapping[str, str] | None = None,
    ca_bundle: str = "",
) -> HttpResponse:
    """Send a request once and return its response of up to *max_bytes*, a redirect or an error too.

    *proxies* are by scheme, None for those of the environment. *timeout_s* limits connecting, each read, and
    about the whole body. Raises TemporaryDeliveryError without a response: `unreachable` when the request
    cannot have arrived, else `no_answer`, with `maybe_sent` unless it is a GET.
    """
    login = {"Authorization": address.login} if address.login else {}
    opener = None
    try:
        # The scheme is http or https, see BaseUrl and _build_opener.
        request = urlrequest.Request(address.url + path, data, {**headers, **login}, method=method)  # noqa: S310
        opener = _find_opener(request.full_url, proxies, ca_bundle)
        deadline = time.monotonic() + timeout_s
        with opener.open(request, timeout=timeout_s) as response:
            received = {name.lower(): value for name, value in response.headers.items()}
            return HttpResponse(response.status, _read_body(response, deadline, max_bytes), received)
    except (URLError, OSError, HTTPException, ValueError) as error:
        # urllib wraps errors in a URLError only until the request is sent.
        is_unsent = opener is None or isinstance(error, URLError | ValueError | InvalidURL)
        reason, why = ("unreachable" if is_unsent else "no_answer"), _describe_failure(error, timeout_s)
        # Without the cause: its message may contain the password.
        raise TemporaryDeliveryError(reason, why, maybe_sent=not is_unsent and method != "GET") from None


def get_tls_context(bundle: str = "") -> ssl.SSLContext:
    """Return the TLS context with the CA certificates of the file or folder *bundle*, else of this host.

    To load them takes some 30 ms of CPU: they are loaded again after a change only. Raises OSError.
    """
    default = ssl.get_default_verify_paths()
    paths = (bundle,) if bundle else (default.cafile, default.capath)
    return _load_tls_context(bundle, tuple((path, Path(path).stat().st_mtime_ns) for path in paths if path))


@lru_cache(maxsize=4)
def _load_tls_context(bundle: str, changed_at: tuple[tuple[str, int], ...]) -> ssl.SSLContext:
    del changed_at  # only part of the key
    is_folder = bundle != "" and Path(bundle).is_dir()
    context = ssl.create_default_context(
        cafile=None if is_folder or not bundle else bundle, capath=bundle if is_folder else None
    )
    context.set_alpn_protocols(["http/1.1"])  # as http.client does for its own context
    return context


def _find_opener(url: str, proxies: Mapping[str, str] | None, ca_bundle: str) -> urlrequest.OpenerDirector:
    if proxies is None:
        proxies = {} if is_loopback(urlsplit(url).hostname or "") else urlrequest.getproxies()
    context = get_tls_context(ca_bundle) if url.lower().startswith("https:") else None
    return _build_opener(tuple(proxies.items()), context)


@lru_cache(maxsize=16)
def _build_opener(
    proxies: tuple[tuple[str, str], ...], context: ssl.SSLContext | None
) -> urlrequest.OpenerDirector:
    """Return an opener without handlers of redirects and errors. To build takes more CPU than a request."""
    opener = urlrequest.OpenerDirector()
    opener.add_handler(urlrequest.ProxyHandler(dict(proxies)))
    opener.add_handler(urlrequest.HTTPHandler())
    if context is not None:
        opener.add_handler(urlrequest.HTTPSHandler(context=context))
    opener.add_handler(urlrequest.UnknownHandler())
    return opener


def _read_body(response: HTTPResponse, deadline: float, max_bytes: int) -> bytes:
    """Return the body; raises TimeoutError after *deadline*, `_ResponseTooLong` over *max_bytes*."""
    body = bytearray()
    while chunk := response.read1(_CHUNK):
        body += chunk
        if len(body) > max_bytes:
            raise _ResponseTooLong
        if time.monotonic() > deadline:
            raise TimeoutError
    if response.length:  # Content-Length bytes are missing; read1 does not raise
        raise ConnectionError
    return bytes(body)


def _describe_failure(error: Exception, timeout_s: float) -> str:
    """Return the reason in a few words, without any part of the request."""
    cause = error.reason if isinstance(error, URLError) and isinstance(error.reason, Exception) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {one_line(cause.verify_message, 100)}"
    if isinstance(cause, OSError) and cause.strerror and not isinstance(cause, ssl.SSLError):
        return one_line(cause.strerror, 100).lower()
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
