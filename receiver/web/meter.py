"""How often somebody came lately, by name or address: in this process' memory, and for so many at most."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

# Who was not heard of for longest is forgotten first: whoever commands more addresses than this is stopped by
# no count.
MAX_KEYS = 10_000


class IpRateLimiter:
    """Lets whoever has a name do something *burst* times at once, and *per_s* times a second for ever."""

    def __init__(self, burst: int, per_s: float, clock: Callable[[], float]) -> None:
        self._burst = burst
        self._per_s = per_s
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()  # when all of its burst is there again

    def acquire(self, key: str) -> float:
        """Count one time, and return 0; or how many seconds to wait until there is one, uncounted."""
        now = self._clock()
        whole_s = self._burst / self._per_s
        # A clock that was set back makes nobody wait longer than for a whole burst.
        full_at = min(max(self._full_at.pop(key, now), now), now + whole_s)
        wait_s = full_at + 1 / self._per_s - now - whole_s
        self._full_at[key] = full_at if wait_s > 1e-9 else full_at + 1 / self._per_s
        if len(self._full_at) > MAX_KEYS:
            self._full_at.popitem(last=False)
        return wait_s if wait_s > 1e-9 else 0.0


def client_key(address: str | None) -> str:
    """Return who comes from there: the holder of one IPv6 address has 2⁶⁴ of them."""
    if address is None:
        return ""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a Unix socket
        return ""
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False).network_address)
