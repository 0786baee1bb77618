"""A line to Slack: slack_sdk's client for Socket Mode, made fit for a worker that must not stop.

Where slack_sdk would sleep for as long as Slack says, ask for new lines as fast as it can, or read
from a line that was cut without a pause, this one doesn't.
"""

from __future__ import annotations

import logging
import os
import socket as sockets
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode import SocketModeClient

from receiver.text import Secret, one_line

logger = logging.getLogger(__name__)

# slack_sdk logs what it receives and, in failures, addresses that hold a ticket; we tell what matters.
_SILENT: Final = logging.getLogger("receiver.sources.slack_line.sdk")
_SILENT.setLevel(logging.CRITICAL + 1)

_TIMEOUT_S = 10
_AT_ONCE = 4
_READ_SIZE = 16 * 1024
_LONGEST_WAIT_S = 60.0
_LONGEST_RETRY_AFTER_S = 600.0


@dataclass(frozen=True)
class SocketModeTimings:
    """How a line is watched, and how soon a new one is asked for.

    A line that was lost is missed at the next ping, one that is silent after four of them. Slack lets
    an app ask for a line about once a minute, in bursts more often, so each wait is twice the last:
    https://docs.slack.dev/reference/methods/apps.connections.open
    """

    ping_every_s: float = 3.0
    first_wait_s: float = 1.0


class SocketModeConnection(SocketModeClient):
    """One line at a time, opened anew when it is lost until `close_for_good`."""

    def __init__(self, app_token: Secret, base_url: str, timings: SocketModeTimings) -> None:
        web = WebClient(
            base_url=base_url.rstrip("/") + "/",
            timeout=_TIMEOUT_S,
            retry_handlers=[],
            logger=_SILENT,
        )
        web.proxy = None  # urllib reads the proxy settings itself, and keeps NO_PROXY
        self._timings = timings
        self._wait_s = timings.first_wait_s
        self._not_before = 0.0
        self._close_lock = threading.Lock()
        super().__init__(
            app_token=app_token.reveal(),
            logger=_SILENT,
            web_client=web,
            ping_interval=timings.ping_every_s,
            receive_buffer_size=_READ_SIZE,
            concurrency=_AT_ONCE,
            on_error_listeners=[_log_connection_lost],
        )

    def issue_new_wss_url(self) -> str:
        """Return where to connect; raises while it is too early to ask again."""
        now = time.monotonic()
        if now < self._not_before:
            raise TimeoutError("asked not long ago")
        self._not_before = now + self._wait_s
        self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)
        try:
            response = self.web_client.apps_connections_open(app_token=self.app_token)
            url = str(response["url"])
        except SlackApiError as error:
            reason = one_line(str(error.response.get("error") or error.response.status_code), 80)
            self._not_before = max(self._not_before, now + _retry_after(error))
            _log_connection_failed(reason)
            raise
        except Exception as error:
            _log_connection_failed(type(error).__name__)
            raise
        self.proxy = _find_proxy(urlsplit(url).hostname or "")
        return url

    def connect(self) -> None:
        """Connect, in place of the line there was; its end is noticed, and so is the new one's."""
        super().connect()
        session = self.current_session
        if session is not None and session.sock is not None:
            session.sock = closable_socket = _Socket(session.sock)  # type: ignore[assignment]
            session.disconnect = _build_disconnect(closable_socket, session.disconnect)  # type: ignore[method-assign]
            self._wait_s = self._timings.first_wait_s
            logger.info("socket mode connected")

    def close_for_good(self) -> None:
        """Close for good, once what was received is done and acknowledged; takes as long as that does.

        Called again, it closes what was being opened at the first time.
        """
        with self._close_lock:
            self.closed = True
            self.auto_reconnect_enabled = self.default_auto_reconnect_enabled = False
            self.message_queue.put(None)  # wakes who waits for more
            self.message_workers.shutdown()
            self.close()


class _Closed(ConnectionError):
    """The line ended because we ended it."""


class _Socket:
    """A socket that raises where it has ended; slack_sdk would read on from it at full speed."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._is_closed = False

    def recv(self, size: int) -> bytes:
        """Return what comes; raises a ConnectionError when nothing more will."""
        received = bytes(self._sock.recv(size))
        if not received:
            raise _Closed if self._is_closed else ConnectionResetError("the line was cut")
        return received

    def interrupt_reads(self) -> None:
        """Have whoever reads from it return at once."""
        self._is_closed = True
        with suppress(OSError):
            self._sock.shutdown(sockets.SHUT_RDWR)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def _build_disconnect(closable_socket: _Socket, disconnect: Callable[[], None]) -> Callable[[], None]:
    """Return a *disconnect* that several threads may call, and that waits for no word from Slack."""
    lock = threading.Lock()

    def close() -> None:
        with lock:
            closable_socket.interrupt_reads()
            disconnect()

    return close


def _log_connection_failed(reason: str) -> None:
    logger.warning("socket mode connection failed", extra={"fields": {"reason": reason}, "state": reason})


def _log_connection_lost(error: Exception) -> None:
    if not isinstance(error, _Closed):
        name = type(error).__name__
        logger.warning("socket mode connection lost", extra={"fields": {"error": name}, "state": name})


def _retry_after(error: SlackApiError) -> float:
    headers = {str(name).lower(): value for name, value in error.response.headers.items()}
    try:
        return min(max(0.0, float(headers.get("retry-after", 0))), _LONGEST_RETRY_AFTER_S)
    except (TypeError, ValueError):
        return 0.0


def _find_proxy(host: str) -> str | None:
    """Return the proxy for *host* from HTTPS_PROXY, none where NO_PROXY has the host."""
    if urllib.request.proxy_bypass(host):
        return None
    return os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or None
