"""An end to waiting for the store, whatever keeps it: names that don't resolve, lines that drip, hops."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from gevent import Timeout
from gevent.monkey import is_module_patched

from receiver.errors import StoreError

# Alertmanager is to hear 503 within 5 s. Each single wait ends after 2 s (see store/connection.py), but
# there may be several.
REQUEST_TIMEOUT_S = 4.0
_ADVICE = "it does not answer in time: see its load and the network"


def request_timeout(seconds: float = REQUEST_TIMEOUT_S) -> AbstractContextManager[object]:
    """Have StoreError raised in the midst of what is done in this context for longer than *seconds*.

    Lines in use are given up then. Only where gevent serves; elsewhere each single wait has its end.
    """
    if not is_module_patched("socket"):
        return nullcontext()
    timeout: AbstractContextManager[object] = Timeout(seconds, StoreError(f"Redis: {_ADVICE}", _ADVICE))
    return timeout
