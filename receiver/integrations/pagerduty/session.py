"""The only module that uses pdpyras: one request to PagerDuty, sent once, without retries or waiting.

pdpyras is superseded by `pagerduty`; docs/adr/0027-pagerdutys-former-client.md says when to move. To migrate,
replace APISession by RestApiV2Client, EventsAPISession by EventsApiV2Client, PDClientError by Error, and
PDHTTPError by HttpError.
https://pagerduty.github.io/python-pagerduty/pdpyras_migration_guide.html
"""

from __future__ import annotations

import logging
import re
import ssl
import warnings
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

from requests import Response, Session
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.exceptions import HTTPError

from receiver.http_client import get_tls_context
from receiver.text import Secret

with warnings.catch_warnings():
    # pdpyras warns at import that it is deprecated; operators need not see that.
    warnings.filterwarnings("ignore", message='The package "pdpyras" is deprecated')
    from pdpyras import APISession, EventsAPISession, PDClientError, PDHTTPError, PDSession
# pdpyras logs retries, which we disable, with URLs and the last characters of our token.
_quiet = logging.getLogger("receiver.integrations.pagerduty.pdpyras")
_quiet.setLevel(logging.CRITICAL)


class NoResponse(Exception):
    """No response came; `cause` is the error of requests, urllib3 or the operating system."""

    def __init__(self, cause: BaseException | None) -> None:
        self.cause = cause
        super().__init__()


def open_rest_session(token: Secret) -> PDSession:
    """Return a session for the REST API."""
    return APISession(token.reveal())


def open_events_session(routing_key: Secret) -> PDSession:
    """Return a session for the Events API; it adds the key to the event."""
    return EventsAPISession(routing_key.reveal())


@lru_cache(maxsize=16)
def _read_environment(url: str) -> tuple[MutableMapping[str, str], bool | str | None]:
    """Return the proxies and the CA bundle for *url* from the environment, which stays as it is at the start.

    requests would read both again for each request.
    """
    with Session() as session:
        found = session.merge_environment_settings(url, {}, None, None, None)
    return found["proxies"], found["verify"]


class _LoadedCertificates(HTTPAdapter):
    """Connects with CA certificates that are loaded already; requests would read them for each connection."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Create the pools with our TLS context, which urllib3 uses as it is."""
        super().init_poolmanager(*args, ssl_context=self._context, **options)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Name no file of certificates: the TLS context requires a valid certificate."""


def send_once(
    session: PDSession, url: str, timeout_s: float, method: str, path: str, **arguments: object
) -> Response:
    """Send one request and return the response, whatever its status; raises NoResponse if there is none.

    *session* is used for this request only: sessions of requests are not thread-safe, and a kept connection
    could have gone stale and lose a page. *timeout_s* limits connecting, and each wait for the next bytes.

    From the source of pdpyras 5.4.1, `PDSession.request`: a network error is retried while the count is
    not above `max_network_attempts`, so only 0 means one attempt. A 429 sleeps and retries without end unless
    `retry` has an entry for it. With an entry, the response is returned at once if more retries were made
    than `max_http_attempts` allows; with -1 that is so before the first retry.
    """
    session.url = url
    session.timeout = timeout_s
    session.max_network_attempts = 0
    session.max_http_attempts = -1
    session.retry = {429: 1}
    session.log = _quiet
    session.trust_env = False
    found: Response
    with session:
        try:
            session.proxies, session.verify = _read_environment(url)
            if url.lower().startswith("https:") and not session.proxies:
                bundle = session.verify if isinstance(session.verify, str) else DEFAULT_CA_BUNDLE_PATH
                session.mount("https://", _LoadedCertificates(get_tls_context(bundle)))
                session.verify = True
            # Follow no redirect: it would send the key to another host.
            found = getattr(session, method)(path, allow_redirects=False, **arguments)
        except PDHTTPError as error:  # pdpyras' way to return a 401
            found = error.response
        except (PDClientError, HTTPError, OSError, ValueError) as error:
            raise NoResponse(error.__cause__ if isinstance(error, PDClientError) else error) from error
    return found


def find_retry_after(response: Response, *names: str, at_most: float) -> float | None:
    """Return the seconds in the first of the headers *names* that has any, no more than *at_most*."""
    for name in names:
        wait = response.headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,9}(\.\d+)?", wait, re.ASCII):
            return min(float(wait), at_most)
    return None
