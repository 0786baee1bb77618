"""Socket Mode: Slack's buttons, forms and commands over a line that we open, with no port of ours.

Slack gives each request to one of the lines that are open, so every worker may hold one. What
comes over it is done as over HTTP, and acknowledged when it is in the store.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from receiver.domain.request import Request
from receiver.errors import PayloadError
from receiver.sources.slack import parse_command_fields, parse_interaction_payload
from receiver.sources.slack_line import SocketModeConnection, SocketModeTimings
from receiver.text import Secret

logger = logging.getLogger(__name__)

_RETRY_EVERY_S = 0.5
_STOP_S = 5.0
_REMEMBERED = 1000
_USUAL = SocketModeTimings()


class HandledInteraction(Protocol):
    """How a request ended: the body of Slack's answer, and whether it is in the store."""

    @property
    def body(self) -> Mapping[str, Any] | None: ...
    @property
    def is_saved(self) -> bool: ...


class InteractionHandler(Protocol):
    """Has requests done; neither method raises."""

    def handle(self, request: Request) -> HandledInteraction: ...
    def send_followup(self, result: Any) -> None: ...


class SlackSocket:
    """Holds a line to Slack from `start` to `stop`, and opens it anew whenever it is lost."""

    def __init__(
        self,
        app_token: Secret,
        base_url: str,
        handler: InteractionHandler,
        timings: SocketModeTimings = _USUAL,
    ) -> None:
        self._app_token = app_token
        self._base_url = base_url
        self._handler = handler
        self._timings = timings
        self._stopping = threading.Event()
        self._connection: SocketModeConnection | None = None
        # What was done lately, with its answer: an envelope that Slack sends again is not done again.
        self._done: OrderedDict[str, Mapping[str, Any] | None] = OrderedDict()

    @property
    def is_connected(self) -> bool:
        """Whether the line is open just now."""
        return self._connection is not None and self._connection.is_connected()

    def use_handler(self, handler: InteractionHandler) -> None:
        """Have requests done by another carrier from now on, as after a change of configuration."""
        self._handler = handler

    def start(self) -> None:
        """Open the line, behind; returns at once. A Slack that is away is tried again and again."""
        self._connection = SocketModeConnection(self._app_token, self._base_url, self._timings)
        self._connection.socket_mode_request_listeners.append(self._receive_envelope)
        threading.Thread(
            target=self._connect, args=(self._connection,), name="slack-socket", daemon=True
        ).start()

    def stop(self) -> None:
        """Close the line for good; what is being done is done and acknowledged, for 5 s at most."""
        self._stopping.set()
        if self._connection is None:
            return
        closing = threading.Thread(
            target=self._connection.close_for_good, name="slack-socket-end", daemon=True
        )
        closing.start()
        closing.join(_STOP_S)

    def _connect(self, connection: SocketModeConnection) -> None:
        """Open the first line; from then on the client opens the next ones itself."""
        while not self._stopping.is_set():
            with suppress(Exception):  # told by the line, and tried again
                connection.connect()
                break
            self._stopping.wait(_RETRY_EVERY_S)
        if self._stopping.is_set():
            connection.close_for_good()

    def _receive_envelope(self, client: BaseSocketModeClient, envelope: SocketModeRequest) -> None:
        try:
            self._handle_envelope(client, envelope)
        except Exception:
            # slack_sdk would go on without a word.
            logger.exception("unhandled error in Slack request")

    def _handle_envelope(self, client: BaseSocketModeClient, envelope: SocketModeRequest) -> None:
        """Do what one envelope asks, and acknowledge it; an unreadable one too, as no repeat mends it."""
        try:
            request = _parse_envelope(envelope)
        except PayloadError as error:
            logger.warning("unreadable request from Slack", extra={"fields": {"reason": error.reason}})
            request = None
        if request is None:
            _acknowledge_envelope(client, envelope, None)
            return
        if envelope.envelope_id in self._done:
            _acknowledge_envelope(client, envelope, self._done[envelope.envelope_id])
            return
        handler = self._handler
        result = handler.handle(request)
        if result.is_saved:
            self._remember_envelope(envelope.envelope_id, result.body)
        if result.is_saved or result.body is not None:
            _acknowledge_envelope(client, envelope, result.body)
        if result.body is None:
            handler.send_followup(result)

    def _remember_envelope(self, envelope_id: str, body: Mapping[str, Any] | None) -> None:
        self._done[envelope_id] = body
        while len(self._done) > _REMEMBERED:
            self._done.popitem(last=False)


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
    except Exception as error:  # noqa: BLE001  # the line is gone; Slack shows that to who asked
        logger.warning(
            "socket mode: envelope not acknowledged", extra={"fields": {"error": type(error).__name__}}
        )
