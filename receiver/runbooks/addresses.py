"""Which IP addresses are the world's: a link from an alert must not lead into our own network."""

from __future__ import annotations

import ipaddress

# NAT64's own prefix, https://www.rfc-editor.org/rfc/rfc6052#section-2.1, and IPv4 addresses translated by a
# stateless translator, https://www.rfc-editor.org/rfc/rfc2765#section-2.1
_NAT64 = int(ipaddress.IPv6Address("64:ff9b::"))
_TRANSLATED = int(ipaddress.IPv6Address("::ffff:0:0:0"))
# A network's own, whatever Python's tables say: NAT64 of a network's own, https://www.rfc-editor.org/rfc/rfc8215,
# and site-local ones, https://www.rfc-editor.org/rfc/rfc3879
_LOCAL = tuple(map(ipaddress.IPv6Network, ("64:ff9b:1::/48", "fec0::/10")))


def is_address(host: str) -> bool:
    """Tell whether a host is written as an address and not as a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_public(address: str) -> bool:
    """Tell whether an address is one of the world's: not of this machine, of our network, or of many."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and any(found in network for network in _LOCAL):
        return False
    inner = _find_inner(found)
    return found.is_global and not found.is_multicast and (inner is None or inner.is_global)


def _find_inner(found: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 one leads to: mapped, compatible, translated, 6to4, by NAT64."""
    if isinstance(found, ipaddress.IPv4Address):
        return None
    if found.ipv4_mapped or found.sixtofour:
        return found.ipv4_mapped or found.sixtofour
    number = int(found)
    if number >> 32 in (0, _NAT64 >> 32, _TRANSLATED >> 32):
        return ipaddress.IPv4Address(number & 0xFFFFFFFF)
    return None
