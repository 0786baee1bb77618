"""One HTTP request and its response, for commands that query a server.

Limited in time and size; follows no redirect, since the token would be sent to its target.
"""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from ipaddress import ip_address
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from receiver.errors import ReceiverError
from receiver.text import one_line

TIMEOUT_S = 10.0
MAX_RESPONSE_BYTES = 64 * 1024 * 1024  # 2,000 alerts with long annotations take a part of that
_CHUNK = 64 * 1024
_REASONS: dict[type[Exception], str] = {
    ssl.SSLError: "it does not speak TLS as we do",
    HTTPException: "what answers there speaks no HTTP that we can read",
    ValueError: "the address or the token has characters that can't be sent",
}


class NoResponse(ReceiverError):
    """No response; the message is the reason in a few words, without the URL."""


@dataclass(frozen=True)
class JsonResponse:
    """A response, whatever its status."""

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


def send_request(
    method: str,
    url: str,
    *,
    authorization: str = "",
    body: object = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> JsonResponse:
    """Send a request, *body* as JSON, and return the response; raises NoResponse if there is none.

    *url* is an http or https URL whose scheme was checked before. A login in it is sent as basic
    auth, unless *authorization* is given.
    """
    address, login = _split_login(url)
    fields = {"Accept": "application/json", "User-Agent": "receiver", **(headers or {})}
    if authorization or login:
        fields["Authorization"] = authorization or login
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        fields["Content-Type"] = "application/json"
    try:
        request = Request(address, data=data, headers=fields, method=method)  # noqa: S310  # see *url*
        return _send(request, timeout_s)
    except (URLError, OSError, HTTPException, ValueError) as error:
        raise NoResponse(_describe_failure(error, timeout_s)) from None  # the cause may quote the token


def bearer_header(token: str) -> str:
    """Return the Authorization header for *token*, empty for none."""
    return f"Bearer {token}" if token else ""


def strip_login(url: str) -> str:
    """Return *url* without its login, fit for display."""
    parts = urlsplit(url)
    return one_line(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), 200)


class _RedirectRefuser(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow no redirect: it is returned as the response."""


def _send(request: Request, timeout_s: float) -> JsonResponse:
    deadline = time.monotonic() + timeout_s
    try:
        response = _build_opener(request.full_url).open(request, timeout=timeout_s)
    except HTTPError as error:  # also a response
        with error:
            return JsonResponse(error.code, _read_body(error, deadline), dict(error.headers.items()))
    with response:
        return JsonResponse(response.status, _read_body(response, deadline), dict(response.headers.items()))


def _read_body(response: HTTPResponse | HTTPError, deadline: float) -> bytes:
    """Return the body; raises TimeoutError if it takes too long, HTTPException if it is too large."""
    body = bytearray()
    while chunk := response.read1(_CHUNK):
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            raise HTTPException("too long")
        if time.monotonic() > deadline:
            raise TimeoutError
    if getattr(response, "length", None):  # less than Content-Length; read1 does not check it
        raise ConnectionError
    return bytes(body)


def _build_opener(url: str) -> OpenerDirector:
    """Return an opener that uses the environment's proxy, but never for loopback addresses."""
    if _is_loopback(urlsplit(url).hostname or ""):
        return build_opener(_RedirectRefuser, ProxyHandler({}))
    return build_opener(_RedirectRefuser)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _split_login(url: str) -> tuple[str, str]:
    """Return *url* without its login, and the login as an Authorization header."""
    parts = urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, ""
    name, _, password = login.partition(":")
    basic = base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
    return urlunsplit(parts._replace(netloc=host)), f"Basic {basic}"


def _describe_failure(error: Exception, timeout_s: float) -> str:
    """Return the reason, without any part of the request."""
    cause = error.reason if isinstance(error, URLError) and isinstance(error.reason, Exception) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {one_line(cause.verify_message, 100)}"
    for kind, reason in _REASONS.items():
        if isinstance(cause, kind):
            return reason
    strerror = cause.strerror if isinstance(cause, OSError) else ""
    return one_line(strerror or "", 100).lower() or "the connection was cut"
