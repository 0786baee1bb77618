"""A client for PagerDuty's Events API v2: sends each event once, without retries or waiting."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from ssl import SSLCertVerificationError
from typing import Any

from requests import Response, exceptions
from urllib3.exceptions import MaxRetryError, SSLError

from receiver.errors import TemporaryDeliveryError
from receiver.integrations.pagerduty.session import (
    NoResponse,
    find_retry_after,
    open_events_session,
    send_once,
)
from receiver.text import Secret, one_line

_MAX_MESSAGE = 300
_MAX_RESPONSE = 64 * 1024
_MAX_RETRY_AFTER_S = 3600.0


@dataclass(frozen=True)
class ApiResponse:
    """PagerDuty's response: status, message without our routing key, and Retry-After in seconds."""

    status: int
    message: str = ""
    retry_after: float | None = None

    @property
    def is_accepted(self) -> bool:
        return 200 <= self.status < 300


class EventsClient:
    """Sends events to one URL; thread-safe.

    *timeout_s* limits connecting, and each wait for the next bytes of the response.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url.rstrip("/").removesuffix("/v2/enqueue")
        self._timeout_s = timeout_s

    def post_event(self, routing_key: Secret, event: Mapping[str, Any]) -> ApiResponse:
        """Send *event* once and return the response, whatever its status.

        Raises TemporaryDeliveryError without a response: `unreachable` when the event cannot have
        arrived, `no_answer` when it may have.
        """
        session = open_events_session(routing_key)
        try:
            response = send_once(session, self._url, self._timeout_s, "post", "/v2/enqueue", json=dict(event))
        except NoResponse as error:
            raise _convert_failure(error.cause) from error
        return _parse_response(response, routing_key)


def _convert_failure(cause: BaseException | None) -> TemporaryDeliveryError:
    """Return the DeliveryError for a request without a response."""
    inner = cause.args[0] if isinstance(cause, exceptions.RequestException) and cause.args else cause
    root = inner.reason if isinstance(inner, MaxRetryError) else inner
    detail = one_line(f"{type(root).__name__}: {root}", _MAX_MESSAGE)
    if isinstance(cause, ValueError) or (isinstance(inner, MaxRetryError) and _was_unsent(root)):
        return TemporaryDeliveryError("unreachable", detail)
    return TemporaryDeliveryError("no_answer", detail, maybe_sent=True)


def _was_unsent(reason: object) -> bool:
    """Return whether PagerDuty certainly received nothing.

    urllib3 wraps errors while connecting in MaxRetryError and raises later errors bare. Only TLS errors are
    wrapped in both cases; of these, a bad certificate is detected before the request is sent.
    """
    if isinstance(reason, SSLError):
        return bool(reason.args) and isinstance(reason.args[0], SSLCertVerificationError)
    return True


def _parse_response(response: Response, routing_key: Secret) -> ApiResponse:
    return ApiResponse(
        status=response.status_code,
        message=_parse_message(response.content[:_MAX_RESPONSE], routing_key),
        retry_after=find_retry_after(response, "Retry-After", at_most=_MAX_RETRY_AFTER_S),
    )


def _parse_message(body: bytes, routing_key: Secret) -> str:
    """Return the response's message and errors, or its text when it is not a JSON object."""
    text = body.decode("utf-8", "replace")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, dict):
        errors = content.get("errors")
        messages = [
            content.get("message"),
            content.get("error"),
            *(errors if isinstance(errors, list) else [errors]),
        ]
        text = "; ".join(str(word) for word in messages if word)
    # Some gateways quote the refused request; our key must not reach the log.
    return one_line(text.replace(routing_key.reveal(), "***"), _MAX_MESSAGE)
