"""The only module that uses pdpyras: one request to PagerDuty, sent once, without retries or waiting.

pdpyras is superseded by `pagerduty`; docs/adr/0027-pagerdutys-former-client.md says when to move.
https://pagerduty.github.io/python-pagerduty/pdpyras_migration_guide.html
"""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from functools import lru_cache, partial
from ssl import SSLCertVerificationError
from typing import Any

from requests import RequestException, Session
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy
from urllib3 import exceptions as errors

from receiver.errors import TemporaryDeliveryError
from receiver.http_client import HttpResponse, parse_base_url, send_bytes
from receiver.text import Secret, one_line

with warnings.catch_warnings():
    # pdpyras warns at import that it is deprecated; operators need not see that.
    warnings.filterwarnings("ignore", message='The package "pdpyras" is deprecated')
    from pdpyras import APISession, EventsAPISession, PDClientError, PDHTTPError, PDSession
# pdpyras logs retries, which we disable, with URLs and the last characters of our token.
_quiet = logging.getLogger("receiver.integrations.pagerduty.pdpyras")
_quiet.setLevel(logging.CRITICAL)
_MAX_DETAIL = 300


class _Response(HttpResponse):
    """A response with the two attributes that pdpyras reads."""

    @property
    def status_code(self) -> int:
        return self.status

    @property
    def ok(self) -> bool:
        return self.status < 400


@dataclass(frozen=True)
class _DirectTransport:
    """Sends for pdpyras in place of requests' Session, which takes three times the CPU.

    requests sends where the environment names a proxy: it supports more kinds of them.
    """

    ca_bundle: str

    def request(self, method: str, url: str, **arguments: Any) -> _Response:
        data, headers, timeout_s = arguments["data"], arguments["headers"], arguments["timeout"]
        send_directly = partial(send_bytes, proxies={}, ca_bundle=self.ca_bundle)
        found = send_directly(method, parse_base_url(url), "", data, headers, timeout_s=timeout_s)
        return _Response(found.status, found.body, found.headers)


@lru_cache(maxsize=16)
def _read_environment(url: str) -> tuple[MutableMapping[str, str], str]:
    """Return the environment's proxies for *url*, and its CA bundle; requests would read both each time."""
    with Session() as session:
        found = session.merge_environment_settings(url, {}, None, None, None)
    proxies = found["proxies"] if select_proxy(url, found["proxies"]) else {}
    return proxies, found["verify"] if isinstance(found["verify"], str) else DEFAULT_CA_BUNDLE_PATH


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
    *timeout_s* limits connecting, and each wait for the next bytes. Raises TemporaryDeliveryError without a
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
    session.trust_env = False
    session.postprocess = lambda _: None
    del session.headers["Accept-Encoding"]
    with session:
        try:
            session.proxies, session.verify = _read_environment(session.url)
            if not session.proxies:
                session.parent = _DirectTransport(session.verify)
            # Follow no redirect: it would send the key to another host.
            found = session.request("POST" if data else "GET", path, data=data, allow_redirects=False)
        except PDHTTPError as error:  # pdpyras' way to return a 401
            found = error.response
        except (PDClientError, errors.HTTPError, OSError, ValueError) as error:
            raise _convert_failure(error.__cause__ if isinstance(error, PDClientError) else error) from None
    if isinstance(found, _Response):
        return found
    headers = {name.lower(): value for name, value in found.headers.items()}
    return HttpResponse(found.status_code, found.content, headers)


def _convert_failure(cause: BaseException | None) -> TemporaryDeliveryError:
    """Return the DeliveryError for a request of requests without a response."""
    error = cause.args[0] if isinstance(cause, RequestException) and cause.args else cause
    is_unsent = isinstance(cause, ValueError)
    if isinstance(error, errors.MaxRetryError):
        error = error.reason
        is_unsent = _was_unsent(error)
    reason = "unreachable" if is_unsent else "no_answer"
    return TemporaryDeliveryError(
        reason, one_line(f"{type(error).__name__}: {error}", _MAX_DETAIL), maybe_sent=not is_unsent
    )


def _was_unsent(error: object) -> bool:
    """Return whether PagerDuty certainly received nothing, by an error that urllib3 wrapped in MaxRetryError.

    urllib3 wraps a lost response in a ProxyError, too. Of TLS errors, a bad certificate is detected before
    the request is sent.
    """
    if isinstance(error, errors.ProxyError):
        error = error.original_error
    if isinstance(error, errors.SSLError):
        return bool(error.args) and isinstance(error.args[0], SSLCertVerificationError)
    # A plain OSError: the proxy refused the tunnel.
    return isinstance(error, errors.NewConnectionError | errors.ConnectTimeoutError) or type(error) is OSError


def find_retry_after(response: HttpResponse, *names: str, at_most: float) -> float | None:
    """Return the seconds in the first of the headers *names* that has any, no more than *at_most*."""
    for name in names:
        wait = response.headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,9}(\.\d+)?", wait, re.ASCII):
            return min(float(wait), at_most)
    return None
