"""The address that is called while all is well."""

from __future__ import annotations

from collections.abc import Callable

from receiver.errors import TemporaryDeliveryError
from receiver.http_client import parse_base_url, send_request

TIMEOUT_S = 5.0
_MAX_RESPONSE_BYTES = 64 * 1024


def build_ping(url: str) -> Callable[[], None]:
    """Return what calls *url* by GET; it raises TemporaryDeliveryError where no 2xx is the answer.

    Takes five seconds at most, follows no redirect, and says nothing of the address in its error.
    """
    address, end = parse_base_url(url), "/" if url.endswith("/") else ""

    def ping() -> None:
        response = send_request("GET", address, end, timeout_s=TIMEOUT_S, max_bytes=_MAX_RESPONSE_BYTES)
        if not response.is_ok:
            raise TemporaryDeliveryError(f"status_{response.status}")

    return ping
