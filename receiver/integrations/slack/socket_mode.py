"""Socket Mode: the connection to Slack, reconnecting, and handling the requests that it delivers.

Unlike slack_sdk's client, this one does not sleep for a whole Retry-After, does not request new connections
without a pause, and does not read in a busy loop from a connection that was closed.
"""

from __future__ import annotations

import logging
import socket as sockets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from receiver.errors import PayloadError
from receiver.http_connection import RequestNotSent, find_proxy, get_tls_context
from receiver.integrations.slack.client import SILENT, SlackClient
from receiver.integrations.slack.errors import parse_retry_after
from receiver.integrations.slack.interactions import SlackInteractions
from receiver.integrations.slack.requests import Request, parse_command_fields, parse_interaction_payload
from receiver.text import Secret, one_line

logger = logging.getLogger(__name__)
_TIMEOUT_S = 10
_AT_ONCE = 4
_READ_SIZE = 16 * 1024
_LONGEST_WAIT_S = 60.0


@dataclass(frozen=True)
class SocketModeTimings:
    """The ping interval of a connection, and the first wait before a new connection is requested (seconds).

    A lost connection is detected at the next ping, a silent one after four pings. Slack allows about one
    `apps.connections.open` a minute, more in bursts, so the wait doubles each time:
    https://docs.slack.dev/reference/methods/apps.connections.open
    """

    ping_every_s: float = 3.0
    first_wait_s: float = 1.0


class SocketModeConnection(SocketModeClient):
    """One connection at a time; reconnects when it is lost, until `close_for_good`."""

    def __init__(self, app_token: Secret, base_url: str, timings: SocketModeTimings) -> None:
        web = SlackClient(Secret(), base_url, _TIMEOUT_S)
        self._timings = timings
        self._wait_s = timings.first_wait_s
        self._not_before = 0.0
        self._close_lock = threading.Lock()
        super().__init__(
            app_token=app_token.reveal(),
            logger=SILENT,
            web_client=web,
            ping_interval=timings.ping_every_s,
            receive_buffer_size=_READ_SIZE,
            concurrency=_AT_ONCE,
            on_error_listeners=[_log_connection_lost],
        )

    def issue_new_wss_url(self) -> str:
        """Request a WebSocket URL and return it; raises TimeoutError during the wait between requests."""
        now = time.monotonic()
        if now < self._not_before:
            raise TimeoutError("asked not long ago")
        self._not_before = now + self._wait_s
        self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)
        try:
            response = self.web_client.apps_connections_open(app_token=self.app_token)
            url = str(response["url"])
        except Exception as error:
            reason = type(error.__cause__ if isinstance(error, RequestNotSent) else error).__name__
            if isinstance(error, SlackApiError):
                reason = one_line(str(error.response.get("error") or error.response.status_code), 80)
                self._not_before = max(self._not_before, now + parse_retry_after(error))
            fields = {"reason": reason}
            logger.warning("socket mode connection failed", extra={"fields": fields, "state": reason})
            raise
        if url.startswith("wss:"):
            self.web_client.ssl = get_tls_context()  # also while its file is being replaced
        self.proxy = find_proxy(urlsplit(url)._replace(scheme="https")) or None
        return url

    def connect(self) -> None:
        """Open a connection in place of the old one; wrap its socket so that its end is detected."""
        super().connect()
        session = self.current_session
        if session is not None and session.sock is not None:
            session.sock = closable = _Socket(session.sock, session.disconnect)  # type: ignore[assignment]
            session.disconnect = closable.close_session  # type: ignore[method-assign]
            self._wait_s = self._timings.first_wait_s
            logger.info("socket mode connected")

    def close_for_good(self) -> None:
        """Close without reconnecting, after the received requests are handled and acknowledged.

        A second call closes a connection that was being opened during the first call.
        """
        with self._close_lock:
            self.closed = True
            self.auto_reconnect_enabled = self.default_auto_reconnect_enabled = False
            self.message_queue.put(None)  # wakes the thread that waits for messages
            self.message_workers.shutdown()
            self.close()


class _Closed(ConnectionError):
    """The connection ended because we closed it."""


class _Socket:
    """A socket whose `recv` raises at the end of the connection; slack_sdk would read on in a busy loop.

    *disconnect* is that of slack_sdk's session.
    """

    def __init__(self, sock: Any, disconnect: Callable[[], None]) -> None:
        self._sock = sock
        self._disconnect = disconnect
        self._lock = threading.Lock()
        self._is_closed = False

    def recv(self, size: int) -> bytes:
        """Return the received bytes; raises a ConnectionError at the end of the connection."""
        received = bytes(self._sock.recv(size))
        if not received:
            raise _Closed if self._is_closed else ConnectionResetError("the line was cut")
        return received

    def close_session(self) -> None:
        """Disconnect without waiting for Slack, so that a blocked `recv` returns; threads may share it."""
        with self._lock:
            self._is_closed = True
            with suppress(OSError):
                self._sock.shutdown(sockets.SHUT_RDWR)
            self._disconnect()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def _log_connection_lost(error: Exception) -> None:
    if not isinstance(error, _Closed):
        name = type(error).__name__
        logger.warning("socket mode connection lost", extra={"fields": {"error": name}, "state": name})


_RETRY_EVERY_S = 0.5
_STOP_S = 5.0
_REMEMBERED = 1000
_USUAL = SocketModeTimings()


@dataclass(eq=False)
class SlackSocket:
    """Keeps a connection to Slack until `close_connection`, and reconnects when it is lost.

    *handler* may be replaced, as after a change of the configuration: it gets the next requests.
    """

    app_token: Secret
    base_url: str
    handler: SlackInteractions
    timings: SocketModeTimings = _USUAL
    _stopping: threading.Event = field(default_factory=threading.Event, init=False)
    _connection: SocketModeConnection | None = field(default=None, init=False)
    # The latest envelope IDs with their responses: an envelope that Slack repeats is not executed again.
    _done: OrderedDict[str, Mapping[str, Any] | None] = field(default_factory=OrderedDict, init=False)

    @property
    def is_connected(self) -> bool:
        """Whether the connection is open."""
        return self._connection is not None and self._connection.is_connected()

    def open_connection(self) -> None:
        """Connect in a background thread, with retries; returns at once."""
        self._connection = SocketModeConnection(self.app_token, self.base_url, self.timings)
        self._connection.socket_mode_request_listeners.append(self._receive_envelope)
        arguments = (self._connection,)
        threading.Thread(target=self._connect, args=arguments, name="slack-socket", daemon=True).start()

    def close_connection(self) -> None:
        """Close the connection; wait 5 s at most until the requests in progress are done and acknowledged."""
        self._stopping.set()
        if self._connection is None:
            return
        close = self._connection.close_for_good
        closing = threading.Thread(target=close, name="slack-socket-end", daemon=True)
        closing.start()
        closing.join(_STOP_S)

    def _connect(self, connection: SocketModeConnection) -> None:
        """Open the first connection, with retries; slack_sdk's client opens the next ones."""
        while not self._stopping.is_set():
            with suppress(Exception):  # logged by the connection, and retried
                connection.connect()
                break
            self._stopping.wait(_RETRY_EVERY_S)
        if self._stopping.is_set():
            connection.close_for_good()

    def _receive_envelope(self, client: BaseSocketModeClient, envelope: SocketModeRequest) -> None:
        try:
            self._handle_envelope(client, envelope)
        except Exception:
            # slack_sdk would ignore the error without logging it.
            logger.exception("unhandled error in Slack request")

    def _handle_envelope(self, client: BaseSocketModeClient, envelope: SocketModeRequest) -> None:
        """Execute and acknowledge the request of *envelope*; acknowledge an unreadable one, too."""
        try:
            request = _parse_envelope(envelope)
        except PayloadError as error:
            logger.warning("unreadable request from Slack", extra={"fields": {"reason": error.reason}})
            request = None
        if request is None or envelope.envelope_id in self._done:
            _acknowledge_envelope(client, envelope, self._done.get(envelope.envelope_id))
            return
        handler = self.handler
        result = handler.handle_request(request)
        if result.is_saved:
            self._done[envelope.envelope_id] = result.body
            if len(self._done) > _REMEMBERED:
                self._done.popitem(last=False)
        if result.is_saved or result.body is not None:
            _acknowledge_envelope(client, envelope, result.body)
        if result.body is None:
            handler.send_followup(result)


def _parse_envelope(envelope: SocketModeRequest) -> Request | None:
    if envelope.type == "interactive":
        return parse_interaction_payload(envelope.payload)
    return parse_command_fields(envelope.payload) if envelope.type == "slash_commands" else None


def _acknowledge_envelope(
    client: BaseSocketModeClient, envelope: SocketModeRequest, body: Mapping[str, Any] | None
) -> None:
    payload = dict(body) if body is not None and envelope.accepts_response_payload else None
    try:
        client.send_socket_mode_response(SocketModeResponse(envelope.envelope_id, payload))
    except Exception as error:  # noqa: BLE001  # the connection is lost; Slack shows an error to the user
        fields = {"error": type(error).__name__}
        logger.warning("socket mode: envelope not acknowledged", extra={"fields": fields})
