"""Client of Slack's Web API (no retries, no sleeps, only DeliveryErrors); references and permalinks."""

from __future__ import annotations

import logging
import re
import select
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message as Headers
from functools import lru_cache
from http.client import HTTPConnection, HTTPSConnection
from json import dumps
from ssl import SSLContext
from typing import Any, Final
from urllib.parse import SplitResult, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

from slack_sdk import WebClient
from slack_sdk.webhook import WebhookClient

from receiver.errors import PermanentDeliveryError, TemporaryDeliveryError
from receiver.http_client import as_object, get_tls_context
from receiver.integrations.slack.errors import slack_errors
from receiver.text import Secret, one_line

# slack_sdk logs what it receives and each failure, also URLs that contain a ticket; we log what matters. It
# formats a debug line for each request unless its logger has an explicit level.
SILENT: Final = logging.getLogger("receiver.integrations.slack.sdk")
SILENT.setLevel(logging.CRITICAL + 1)


# Common servers and proxies close a connection that is idle for 5 s.
_IDLE_S = 4.0


class SlackClient(WebClient):
    """Calls methods of the Web API with *timeout_s* in seconds. Threads may share it.

    Its connections stay open between calls. A request is sent once: if its connection breaks, also because
    the server closed it while it was idle, the response counts as lost.
    """

    def __init__(self, token: Secret, base_url: str, timeout_s: float) -> None:
        super().__init__(
            token=token.reveal(),
            base_url=base_url.rstrip("/") + "/",
            timeout=timeout_s,  # type: ignore[arg-type]  # seconds; http.client accepts fractions
            retry_handlers=[],  # the default one repeats a post whose response was lost: a duplicate message
            logger=SILENT,
        )
        self.proxy = None  # `find_proxy` knows better: slack_sdk ignores NO_PROXY
        # With the TLS context that each was opened with, and since when it is idle.
        self._idle: deque[tuple[HTTPConnection, SSLContext | None, float]] = deque()

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
        with slack_errors():
            if self.base_url.lower().startswith("https:"):
                self.ssl = get_tls_context()
            data = self.api_call(method, **body).data  # type: ignore[arg-type]
        if not isinstance(data, dict):
            raise TemporaryDeliveryError("not_json", maybe_sent=True)
        return data

    def _perform_urllib_http_request(self, *, url: str, args: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Send the request for slack_sdk over an open connection; through a proxy, slack_sdk sends it."""
        address = urlsplit(url)
        connection = self._find_idle_connection() or self._build_connection(address)
        if connection is None:
            self.proxy = find_proxy(address.scheme, address.netloc)
            return super()._perform_urllib_http_request(url=url, args=args)
        body = dumps(args["json"]) if args["json"] else urlencode(args["params"] or {})
        try:
            connection.request("POST", address.path, body.encode() or None, args["headers"])
            response = connection.getresponse()
            text = response.read().decode(_find_charset(response.headers.get("Content-Type", "")))
        except BaseException:
            connection.close()
            raise
        if connection.sock is not None:  # else the server did not keep it open
            self._idle.append((connection, self.ssl, time.monotonic()))
        return {"status": response.status, "headers": response.headers, "body": text}

    def _find_idle_connection(self) -> HTTPConnection | None:
        """Return the connection that was used last; close those that are too old or that Slack closed."""
        while self._idle:
            connection, context, idle_since = self._idle.pop()
            is_fresh = context is self.ssl and time.monotonic() - idle_since < _IDLE_S
            if is_fresh and not _is_readable(connection):
                return connection
            connection.close()
        return None

    def _build_connection(self, address: SplitResult) -> HTTPConnection | None:
        """Return a new connection; None if it takes a proxy, or if *address* is not one of HTTP."""
        if find_proxy(address.scheme, address.netloc):
            return None
        if address.scheme == "https":
            return HTTPSConnection(address.netloc, timeout=self.timeout, context=self.ssl)
        return HTTPConnection(address.netloc, timeout=self.timeout) if address.scheme == "http" else None


def find_proxy(scheme: str, host: str) -> str | None:
    """Return the URL of the environment's proxy for *scheme* and *host*; None if there is none."""
    return None if proxy_bypass(host) else getproxies().get(scheme)


def _is_readable(connection: HTTPConnection) -> bool:
    """Return whether an idle connection has something to read: its end, or what no request asked for."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


@lru_cache(maxsize=16)
def _find_charset(content_type: str) -> str:
    """Return the charset of a response, UTF-8 unless it says another; raises LookupError if it is no text."""
    headers = Headers()
    headers["Content-Type"] = content_type
    if headers.get_content_type() == "application/gzip":
        raise LookupError(content_type)
    return headers.get_content_charset() or "utf-8"


def post_response(url: str, message: Mapping[str, Any], timeout_s: float) -> None:
    """Post *message* to a response_url, which needs no token; raises a DeliveryError."""
    webhook = WebhookClient(
        url,
        timeout=timeout_s,  # type: ignore[arg-type]  # seconds; urllib accepts fractions
        ssl=get_tls_context() if url.lower().startswith("https:") else None,
        retry_handlers=[],
        logger=SILENT,
    )
    webhook.proxy = None
    with slack_errors():
        response = webhook.send_dict(dict(message))
    if response.status_code != 200:
        raise PermanentDeliveryError(f"http_{response.status_code}", one_line(str(response.body), 200))


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
