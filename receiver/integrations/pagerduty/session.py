"""The only module that uses pdpyras: one request to PagerDuty, sent once, without retries or waiting.

pdpyras is superseded by `pagerduty`; docs/adr/0027-pagerdutys-former-client.md says when to move.
https://pagerduty.github.io/python-pagerduty/pdpyras_migration_guide.html
"""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
from collections.abc import Mapping
from typing import Any

import certifi

from receiver.errors import TemporaryDeliveryError
from receiver.http_client import parse_base_url, send_bytes
from receiver.http_connection import HttpResponse
from receiver.text import Secret

with warnings.catch_warnings():
    # pdpyras warns at import that it is deprecated; operators need not see that.
    warnings.filterwarnings("ignore", message='The package "pdpyras" is deprecated')
    from pdpyras import APISession, EventsAPISession, PDHTTPError, PDSession
# pdpyras logs retries, which we disable, with URLs and the last characters of our token.
_quiet = logging.getLogger("receiver.integrations.pagerduty.pdpyras")
_quiet.setLevel(logging.CRITICAL)


class _Response(HttpResponse):
    """A response with the two attributes that pdpyras reads."""

    @property
    def status_code(self) -> int:
        return self.status

    @property
    def ok(self) -> bool:
        return self.status < 400


class _Transport:
    """Sends for pdpyras in place of requests' Session: with a deadline, and for a third of the CPU."""

    def request(self, method: str, url: str, **arguments: Any) -> _Response:
        data, headers, timeout_s = arguments["data"], arguments["headers"], arguments["timeout"]
        found = send_bytes(
            method, parse_base_url(url), "", data, headers, timeout_s=timeout_s, ca_bundle=_find_ca_bundle()
        )
        return _Response(found.status, found.body, found.headers)


def _find_ca_bundle() -> str:
    """Return the CA bundle that requests would use."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or certifi.where()


def post_event(url: str, routing_key: Secret, event: Mapping[str, Any], timeout_s: float) -> HttpResponse:
    """Send *event* to the Events API at *url*, with or without its path; see `_send_once`."""
    session = EventsAPISession(routing_key.reveal())
    session.url = url.rstrip("/").removesuffix("/v2/enqueue")
    body = {**event, "routing_key": routing_key.reveal()}
    return _send_once(session, timeout_s, "/v2/enqueue", json.dumps(body, allow_nan=False).encode())


def get_json(url: str, token: Secret, path: str, timeout_s: float) -> HttpResponse:
    """Send a GET to the REST API at *url*; see `_send_once`."""
    session = APISession(token.reveal())
    session.url = url.rstrip("/")
    return _send_once(session, timeout_s, path)


def _send_once(session: PDSession, timeout_s: float, path: str, data: bytes | None = None) -> HttpResponse:
    """Send one request, a POST with *data*, and return the response, whatever its status.

    *session* is used for this request only: a kept connection could have gone stale and lose a page.
    *timeout_s* limits the whole call. Raises TemporaryDeliveryError without a
    response: `unreachable` when the request cannot have arrived, `no_answer` when it may have.

    From the source of pdpyras 5.4.1, `PDSession.request`: a network error is retried while the count is not
    above `max_network_attempts`; a 429 without end, unless `retry` has an entry for it and more retries were
    made than `max_http_attempts`. So 0 and -1 mean one attempt. `parent` sends a request.
    """
    session.timeout = timeout_s
    session.max_network_attempts = 0
    session.max_http_attempts = -1
    session.retry = {429: 1}
    session.log = _quiet
    session.postprocess = lambda _: None
    del session.headers["Accept-Encoding"]
    session.parent = _Transport()
    with session:
        try:
            found = session.request("POST" if data else "GET", path, data=data)
        except PDHTTPError as error:  # pdpyras' way to return a 401
            found = error.response
        except ValueError:  # of urlsplit
            raise TemporaryDeliveryError("unreachable", "the address can't be used") from None
    return HttpResponse(found.status, found.body, found.headers)


def find_retry_after(response: HttpResponse, *names: str, at_most: float) -> float | None:
    """Return the seconds in the first of the headers *names* that has any, no more than *at_most*."""
    for name in names:
        wait = response.headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,9}(\.\d+)?", wait, re.ASCII):
            return min(float(wait), at_most)
    return None
