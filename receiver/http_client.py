"""One HTTP request and its answer: sent once, bounded in time and size, to nobody but the one asked.

No redirect is followed, since a password would go along to whoever is named there, and a request to
this machine itself never takes the proxy of the environment.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse, InvalidURL
from ipaddress import ip_address
from typing import TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from receiver.errors import DeliveryError, TemporaryDeliveryError
from receiver.text import one_line

MAX_RESPONSE_BYTES = 64 * 1024 * 1024
_CHUNK = 256 * 1024


class _ResponseTooLong(HTTPException):
    """An answer is longer than we read."""


_REASONS: dict[type[Exception], str] = {
    _ResponseTooLong: "its answer is too long",
    ssl.SSLError: "it does not speak TLS as we do",
    ConnectionError: "the connection was cut",
    InvalidURL: "the address can't be used",
    HTTPException: "what answers there speaks no HTTP that we can read",
    ValueError: "the address can't be used",
}


@dataclass(frozen=True)
class BaseUrl:
    """A base address of http or https as it may be shown, its login apart and never printed."""

    url: str
    login: str = field(default="", repr=False)  # the Authorization header


@dataclass(frozen=True)
class HttpResponse:
    """What came back, whatever its status. The names of *headers* are in lower case."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300


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
    timeout_s: float,
    max_bytes: int = MAX_RESPONSE_BYTES,
) -> HttpResponse:
    """Send a request, *body* as JSON or an encoded *form*, and return the answer, of *at_most* so many bytes.

    Raises TemporaryDeliveryError when there is none: `unreachable` when nothing was sent, else
    `no_answer`; what isn't a GET may have been taken then. *timeout_s* bounds connecting, and each
    wait for the answer; one that drips in is broken off at the first piece that comes too late.
    """
    headers = {"Accept": "application/json", "User-Agent": "receiver"}
    if address.login:
        headers["Authorization"] = address.login
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    elif form:
        data = form.encode()
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    try:
        # The scheme is http or https, see Address.
        request = Request(address.url + path, data=data, headers=headers, method=method)  # noqa: S310
        return _send(request, timeout_s, max_bytes)
    except (URLError, OSError, HTTPException, ValueError) as error:
        # urllib wraps in a URLError what went wrong until the request was out, and nothing after it.
        is_unsent = isinstance(error, URLError | ValueError | InvalidURL)
        reason, why = ("unreachable" if is_unsent else "no_answer"), _describe_failure(error, timeout_s)
        # Without the cause: it may quote the password.
        raise TemporaryDeliveryError(reason, why, maybe_sent=not is_unsent and method != "GET") from None


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Go nowhere: the redirect itself is the answer then."""


def _send(request: Request, timeout_s: float, max_bytes: int) -> HttpResponse:
    deadline = time.monotonic() + timeout_s
    try:
        response = _build_opener(request.full_url).open(request, timeout=timeout_s)
    except HTTPError as error:  # an answer all the same
        response = error
    with response:
        headers = {name.lower(): value for name, value in response.headers.items()}
        return HttpResponse(response.status, _read_body(response, deadline, max_bytes), headers)


def _read_body(response: HTTPResponse | HTTPError, deadline: float, max_bytes: int) -> bytes:
    """Return the body; raises TimeoutError when it drips in, _TooLong when there is no end to it."""
    body = bytearray()
    while chunk := response.read1(_CHUNK):
        body += chunk
        if len(body) > max_bytes:
            raise _ResponseTooLong
        if time.monotonic() > deadline:
            raise TimeoutError
    if getattr(response, "length", None):  # what was announced and did not come; read1 doesn't mind
        raise ConnectionError
    return bytes(body)


def _build_opener(url: str) -> OpenerDirector:
    if _is_loopback(urlsplit(url).hostname or ""):
        return build_opener(_NoRedirect, ProxyHandler({}))
    return build_opener(_NoRedirect)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _describe_failure(error: Exception, timeout_s: float) -> str:
    """Return the reason in a few words, with nothing of the request in it."""
    cause = error.reason if isinstance(error, URLError) and isinstance(error.reason, Exception) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {one_line(cause.verify_message, 100)}"
    if isinstance(cause, OSError) and cause.strerror and not isinstance(cause, ssl.SSLError):
        return one_line(cause.strerror, 100).lower()
    return next((words for kind, words in _REASONS.items() if isinstance(cause, kind)), "no connection")


T = TypeVar("T")


def gather(calls: Sequence[Callable[[], T]], timeout_s: float) -> list[T | DeliveryError]:
    """Return the answer to each question, or the DeliveryError it ended in, in their order.

    Returns after *timeout_s* at the latest: who has not answered by then gave no answer. The thread
    that is left behind ends by the question's own time-out, so ask nothing that changes anything.
    """
    deadline = time.monotonic() + timeout_s

    def wait(answer: Future[T]) -> T | DeliveryError:
        try:
            return answer.result(max(0.0, deadline - time.monotonic()))
        except DeliveryError as error:
            return error
        except TimeoutError:
            return TemporaryDeliveryError("no_answer", f"no answer within {timeout_s:g} s")

    return [wait(answer) for answer in [_start_call(call) for call in calls]]


def _start_call(call: Callable[[], T]) -> Future[T]:
    """Ask in a thread of its own; a daemon, so that it never keeps the process from ending."""
    future: Future[T] = Future()

    def answer() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            future.set_exception(error)

    threading.Thread(target=answer, name="question", daemon=True).start()
    return future
