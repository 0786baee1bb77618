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
from receiver.sources.slack import read_command, read_interaction
from receiver.sources.slack_line import Line, Pace
from receiver.text import Secret

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5
_STOP_S = 5.0
_REMEMBERED = 1000
_USUAL = Pace()


class Carried(Protocol):
    """How a request ended: the body of Slack's answer, and whether it is in the store."""

    @property
    def body(self) -> Mapping[str, Any] | None: ...
    @property
    def is_kept(self) -> bool: ...


class Carrier(Protocol):
    """Has requests done; neither method raises."""

    def carry(self, request: Request) -> Carried: ...
    def say(self, carried: Any) -> None: ...


class SlackSocket:
    """Holds a line to Slack from `start` to `stop`, and opens it anew whenever it is lost."""

    def __init__(
        self,
        app_token: Secret,
        base_url: str,
        carrier: Carrier,
        pace: Pace = _USUAL,
    ) -> None:
        self._app_token = app_token
        self._base_url = base_url
        self._carrier = carrier
        self._pace = pace
        self._stopping = threading.Event()
        self._line: Line | None = None
        # What was done lately, with its answer: an envelope that Slack sends again is not done again.
        self._done: OrderedDict[str, Mapping[str, Any] | None] = OrderedDict()

    @property
    def is_connected(self) -> bool:
        """Whether the line is open just now."""
        return self._line is not None and self._line.is_connected()

    def use(self, carrier: Carrier) -> None:
        """Have requests done by another carrier from now on, as after a change of configuration."""
        self._carrier = carrier

    def start(self) -> None:
        """Open the line, behind; returns at once. A Slack that is away is tried again and again."""
        self._line = Line(self._app_token, self._base_url, self._pace)
        self._line.socket_mode_request_listeners.append(self._receive)
        threading.Thread(target=self._open, args=(self._line,), name="slack-socket", daemon=True).start()

    def stop(self) -> None:
        """Close the line for good; what is being done is done and acknowledged, for 5 s at most."""
        self._stopping.set()
        if self._line is None:
            return
        closing = threading.Thread(target=self._line.hang_up, name="slack-socket-end", daemon=True)
        closing.start()
        closing.join(_STOP_S)

    def _open(self, line: Line) -> None:
        """Open the first line; from then on the client opens the next ones itself."""
        while not self._stopping.is_set():
            with suppress(Exception):  # told by the line, and tried again
                line.connect()
                break
            self._stopping.wait(_LOOK_EVERY_S)
        if self._stopping.is_set():
            line.hang_up()

    def _receive(self, client: BaseSocketModeClient, envelope: SocketModeRequest) -> None:
        try:
            self._do(client, envelope)
        except Exception:
            # slack_sdk would go on without a word.
            logger.exception("unhandled error in Slack request")

    def _do(self, client: BaseSocketModeClient, envelope: SocketModeRequest) -> None:
        """Do what one envelope asks, and acknowledge it; an unreadable one too, as no repeat mends it."""
        try:
            asked = _read(envelope)
        except PayloadError as error:
            logger.warning("unreadable request from Slack", extra={"fields": {"reason": error.reason}})
            asked = None
        if asked is None:
            _acknowledge(client, envelope, None)
            return
        if envelope.envelope_id in self._done:
            _acknowledge(client, envelope, self._done[envelope.envelope_id])
            return
        carrier = self._carrier
        carried = carrier.carry(asked)
        if carried.is_kept:
            self._remember(envelope.envelope_id, carried.body)
        if carried.is_kept or carried.body is not None:
            _acknowledge(client, envelope, carried.body)
        if carried.body is None:
            carrier.say(carried)

    def _remember(self, envelope_id: str, body: Mapping[str, Any] | None) -> None:
        self._done[envelope_id] = body
        while len(self._done) > _REMEMBERED:
            self._done.popitem(last=False)


def _read(envelope: SocketModeRequest) -> Request | None:
    if envelope.type == "interactive":
        return read_interaction(envelope.payload)
    return read_command(envelope.payload) if envelope.type == "slash_commands" else None


def _acknowledge(
    client: BaseSocketModeClient, envelope: SocketModeRequest, body: Mapping[str, Any] | None
) -> None:
    payload = dict(body) if body is not None and envelope.accepts_response_payload else None
    try:
        client.send_socket_mode_response(SocketModeResponse(envelope.envelope_id, payload))
    except Exception as error:  # noqa: BLE001  # the line is gone; Slack shows that to who asked
        logger.warning("slack socket: not acknowledged", extra={"fields": {"error": type(error).__name__}})
