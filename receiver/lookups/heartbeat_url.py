"""The address that is called while all is well."""

from __future__ import annotations

from collections.abc import Callable

from receiver.errors import TemporaryDeliveryError
from receiver.lookups.exchange import exchange, parse_address

TIMEOUT_S = 5.0
_MAX_ANSWER = 64 * 1024


def build_call(url: str) -> Callable[[], None]:
    """Return what calls *url* by GET; it raises TemporaryDeliveryError where no 2xx is the answer.

    Takes five seconds at most, follows no redirect, and says nothing of the address in its error.
    """
    address, end = parse_address(url), "/" if url.endswith("/") else ""

    def call() -> None:
        answer = exchange("GET", address, end, timeout_s=TIMEOUT_S, at_most=_MAX_ANSWER)
        if not answer.is_ok:
            raise TemporaryDeliveryError(f"status_{answer.status}")

    return call
