"""A client for PagerDuty's Events API v2: sends each event once, without retries or waiting.

Only this module and `rest_api` import pdpyras. It is superseded by `pagerduty`; to migrate this module,
replace EventsAPISession by EventsApiV2Client, PDClientError by Error, and PDHTTPError by HttpError.
https://pagerduty.github.io/python-pagerduty/pdpyras_migration_guide.html
"""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from ssl import SSLCertVerificationError
from typing import Any

from requests import Response, exceptions
from urllib3.exceptions import HTTPError, MaxRetryError, SSLError

from receiver.errors import TemporaryDeliveryError
from receiver.text import Secret, one_line

with warnings.catch_warnings():
    # pdpyras warns at import that it is deprecated; operators need not see that. The successor supports
    # https only, so neither a test server nor a plain HTTP proxy could take the place of PagerDuty.
    warnings.filterwarnings("ignore", message='The package "pdpyras" is deprecated')
    from pdpyras import EventsAPISession, PDClientError, PDHTTPError
_MAX_MESSAGE = 300
_MAX_RESPONSE = 64 * 1024
_MAX_RETRY_AFTER_S = 3600.0
# pdpyras logs retries, which we disable, and the attempt counts that disable them (see `_build_session`).
_quiet = logging.getLogger("receiver.integrations.pagerduty.pdpyras")
_quiet.setLevel(logging.CRITICAL)


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
        # A session for each call: it holds the responder's key, and a kept connection could have gone
        # stale and lose a page.
        with _build_session(self._url, routing_key, self._timeout_s) as session:
            try:
                # Follow no redirect: it would send the key to another host.
                response = session.post("/v2/enqueue", json=dict(event), allow_redirects=False)
            except PDHTTPError as error:  # pdpyras' way to return a 401
                response = error.response
            except (PDClientError, HTTPError, OSError, ValueError) as error:
                raise _convert_failure(error) from error
        return _parse_response(response, routing_key)


def _build_session(url: str, routing_key: Secret, timeout_s: float) -> EventsAPISession:
    """Return a session that sends once: pdpyras' own retries can block a thread for minutes.

    From the source of pdpyras 5.4.1, `PDSession.request`: a network error is retried while the count is
    not above `max_network_attempts`, so only 0 means one attempt. A 429 sleeps and retries without end unless
    `retry` has an entry for it, and that entry returns at once only when no attempts at all are left, which
    -1 achieves.
    """
    session = EventsAPISession(routing_key.reveal())
    session.url = url
    session.timeout = timeout_s
    session.max_network_attempts = 0
    session.max_http_attempts = -1
    session.retry = {429: 1}
    session.log = _quiet
    return session


def _convert_failure(error: Exception) -> TemporaryDeliveryError:
    """Return the DeliveryError for a request without a response."""
    cause = error.__cause__ if isinstance(error, PDClientError) else error
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
    wait = response.headers.get("Retry-After", "").strip()
    is_number = re.fullmatch(r"\d{1,9}(\.\d+)?", wait, re.ASCII)
    return ApiResponse(
        status=response.status_code,
        message=_parse_message(response.content[:_MAX_RESPONSE], routing_key),
        retry_after=min(float(wait), _MAX_RETRY_AFTER_S) if is_number else None,
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
