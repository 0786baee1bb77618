"""Client of Slack's Web API (no retries, no sleeps, only DeliveryErrors); references and permalinks."""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from email.message import Message as Headers
from functools import lru_cache
from http.client import HTTPException
from json import dumps
from threading import Lock
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from slack_sdk import WebClient

from receiver.errors import PermanentDeliveryError, TemporaryDeliveryError
from receiver.http_client import BaseUrl, as_object, send_request
from receiver.http_connection import HttpConnection, get_tls_context
from receiver.integrations.slack.errors import slack_errors
from receiver.text import Secret, one_line

# slack_sdk logs what it receives and each failure, also URLs that contain a ticket; we log what matters. It
# formats a debug line for each request unless its logger has an explicit level.
SILENT: Final = logging.getLogger("receiver.integrations.slack.sdk")
SILENT.setLevel(logging.CRITICAL + 1)


# Common servers and proxies close a connection that is idle for 5 s.
_IDLE_S = 4.0
# Far above a page of a thousand users.
_MAX_RESPONSE = 16 * 1024 * 1024
_CHARSETS = ("utf-8", "us-ascii", "iso-8859-1")


class IdleConnections:
    """Open connections between two calls. Threads may share it: it hands each connection to one thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._connections: deque[tuple[HttpConnection, float]] = deque()  # with the time since it is idle

    def take_connection(self) -> HttpConnection | None:
        """Return the connection that was used last, None if there is none that may be used.

        Closes those that are too old, that Slack closed or sent something to, and that were verified with
        other CA certificates than those of now.
        """
        while True:
            with self._lock:
                if not self._connections:
                    return None
                connection, idle_since = self._connections.pop()
            is_fresh = time.monotonic() - idle_since < _IDLE_S
            is_trusted = connection.tls is None or connection.tls is get_tls_context()
            if is_fresh and is_trusted and connection.is_reusable():
                return connection
            connection.close()

    def add_connection(self, connection: HttpConnection) -> None:
        """Keep *connection* for the next call, or close it if it can't be used again; close those too old."""
        now = time.monotonic()
        closing = [] if connection.is_kept_open else [connection]
        with self._lock:
            if connection.is_kept_open:
                self._connections.append((connection, now))
            while self._connections and now - self._connections[0][1] >= _IDLE_S:
                closing.append(self._connections.popleft()[0])
        for each in closing:
            each.close()


class SlackClient(WebClient):
    """Calls methods of the Web API; each call ends within *timeout_s* seconds. Threads may share it.

    Its connections stay open between calls. A request that changes something is sent once: if its connection
    breaks, also because the server closed it while it was idle, the response counts as lost.
    """

    def __init__(self, token: Secret, base_url: str, timeout_s: float) -> None:
        super().__init__(
            token=token.reveal(),
            base_url=base_url.rstrip("/") + "/",
            timeout=timeout_s,  # type: ignore[arg-type]  # seconds; http.client accepts fractions
            retry_handlers=[],  # the default one repeats a post whose response was lost: a duplicate message
            logger=SILENT,
        )
        self._timeout_s = timeout_s
        self._idle = IdleConnections()

    def post_json(self, method: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call *method* with a JSON body; return Slack's response or raise a DeliveryError."""
        return self._call_method(method, json=dict(arguments))

    def post_form(self, method: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call a *method* that accepts no JSON body, with form fields; see `post_json`."""
        return self._call_method(method, params=dict(arguments))

    def get_pages(
        self, method: str, query: Mapping[str, Any], *, at_most: int, size: int = 1000
    ) -> Iterator[dict[str, Any]]:
        """Yield the pages of a list, *at_most* of them, with *size* items each; raises a DeliveryError."""
        cursor = ""
        for _ in range(at_most):
            page = self.post_form(method, {"limit": size, **query} | ({"cursor": cursor} if cursor else {}))
            yield page
            cursor = str(as_object(page.get("response_metadata")).get("next_cursor") or "")
            if not cursor:
                return

    def _call_method(self, method: str, **body: dict[str, Any]) -> dict[str, Any]:
        try:
            urlsplit(self.base_url)
        except ValueError as error:
            raise PermanentDeliveryError("bad_request", type(error).__name__) from None
        with slack_errors():
            data = self.api_call(method, **body).data  # type: ignore[arg-type]
        if not isinstance(data, dict):
            raise TemporaryDeliveryError("not_json", maybe_sent=True)
        return data

    def _perform_urllib_http_request(self, *, url: str, args: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Send the request for slack_sdk over an open connection."""
        is_read = not args["json"]  # a method that takes a form, and auth.test
        body = urlencode(args["params"] or {}) if is_read else dumps(args["json"])
        deadline = time.monotonic() + self._timeout_s
        idle = self._idle.take_connection()
        # Slack may close an idle connection at this moment; to read twice is harmless.
        with suppress(OSError, HTTPException) if is_read else nullcontext():
            if idle is not None:
                return self._exchange(idle, url, args["headers"], body, deadline)
        return self._exchange(HttpConnection(url, deadline), url, args["headers"], body, deadline)

    def _exchange(
        self, connection: HttpConnection, url: str, headers: dict[str, str], body: str, deadline: float
    ) -> dict[str, Any]:
        try:
            response = connection.exchange(
                "POST",
                url,
                headers,
                body.encode() or None,
                deadline=deadline,
                max_bytes=_MAX_RESPONSE,
            )
            text = response.body.decode(_find_charset(response.headers.get("content-type", "")))
        finally:
            self._idle.add_connection(connection)
        return {"status": response.status, "headers": response.headers, "body": text}


@lru_cache(maxsize=16)
def _find_charset(content_type: str) -> str:
    """Return the charset of a response, UTF-8 unless it says another; raises LookupError for one that JSON is
    not sent in: to decode some, such as Punycode, takes quadratic time.
    """
    headers = Headers()
    headers["Content-Type"] = content_type
    charset = headers.get_content_charset() or "utf-8"
    if headers.get_content_type() == "application/gzip" or charset not in _CHARSETS:
        raise LookupError(content_type)
    return charset


def post_response(url: str, message: Mapping[str, Any], timeout_s: float) -> None:
    """Post *message* to a response_url, which needs no token; raises a DeliveryError."""
    response = send_request(
        "POST", BaseUrl(url), "", body=message, timeout_s=timeout_s, max_bytes=_MAX_RESPONSE
    )
    if response.status != 200:
        raise PermanentDeliveryError(
            f"http_{response.status}", one_line(response.body.decode("utf-8", "replace"), 200)
        )


_REFERENCE = re.compile(r"(?P<channel>[A-Z][A-Z0-9]+):(?P<ts>\d+\.\d+)")
_CHANNEL_ID = re.compile(r"[CGD](?=[A-Z]*\d)[A-Z0-9]{7,20}")


@dataclass(frozen=True)
class MessageReference:
    """A message in Slack, as text `C024BE91L:1503435956.000247` (channel ID and ts)."""

    channel: str
    ts: str

    def __str__(self) -> str:
        return f"{self.channel}:{self.ts}"


def parse_reference(text: str) -> MessageReference | None:
    """Return the reference in *text*; None if it is not one of Slack's (a simulated one)."""
    found = _REFERENCE.fullmatch(text)
    return MessageReference(found["channel"], found["ts"]) if found else None


def is_channel_id(address: str) -> bool:
    """Return whether *address* is a channel ID, not a channel name."""
    return _CHANNEL_ID.fullmatch(address) is not None


def permalink(team_url: str, reference: MessageReference, thread_ts: str = "") -> str:
    """Return the URL of the message; empty if the URL of the workspace is not known."""
    if not team_url:
        return ""
    url = f"{team_url.rstrip('/')}/archives/{reference.channel}/p{reference.ts.replace('.', '')}"
    return f"{url}?thread_ts={thread_ts}&cid={reference.channel}" if thread_ts else url
