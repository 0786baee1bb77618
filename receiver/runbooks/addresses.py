"""Which IP addresses are the world's: a link from an alert must not lead into our own network."""

from __future__ import annotations

import ipaddress

# NAT64's own prefix, https://www.rfc-editor.org/rfc/rfc6052#section-2.1, and IPv4 addresses translated by a
# stateless translator, https://www.rfc-editor.org/rfc/rfc2765#section-2.1
_NAT64 = int(ipaddress.IPv6Address("64:ff9b::"))
_TRANSLATED = int(ipaddress.IPv6Address("::ffff:0:0:0"))
# Not the world's, whatever Python's tables say.
_LOCAL = tuple(
    map(
        ipaddress.ip_network,
        (
            "64:ff9b:1::/48",  # NAT64 of a network's own, https://www.rfc-editor.org/rfc/rfc8215
            "fec0::/10",  # site-local, https://www.rfc-editor.org/rfc/rfc3879
            "3fff::/20",  # examples, https://www.rfc-editor.org/rfc/rfc9637
            "5f00::/16",  # segment identifiers, https://www.rfc-editor.org/rfc/rfc9602
            "192.0.0.0/24",  # protocol assignments, https://www.rfc-editor.org/rfc/rfc6890
            "192.88.99.0/24",  # relays of 6to4, https://www.rfc-editor.org/rfc/rfc7526
            "168.63.129.16/32",  # each machine's host in Azure
        ),
    )
)
# An interface of ISATAP ends in an IPv4 address: https://www.rfc-editor.org/rfc/rfc5214#section-6.1
_ISATAP = (0x00005EFE, 0x02005EFE)


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
    inner = _find_inner(found)
    return _is_global(found) and (inner is None or _is_global(inner))


def _is_global(found: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    is_local = any(found in network for network in _LOCAL if network.version == found.version)
    return found.is_global and not found.is_multicast and not is_local


def _find_inner(found: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address in an IPv6 one: mapped, compatible, translated, 6to4, ISATAP, NAT64."""
    if isinstance(found, ipaddress.IPv4Address):
        return None
    if found.ipv4_mapped or found.sixtofour:
        return found.ipv4_mapped or found.sixtofour
    number = int(found)
    is_isatap = (number >> 32) & 0xFFFFFFFF in _ISATAP
    if is_isatap or number >> 32 in (0, _NAT64 >> 32, _TRANSLATED >> 32):
        return ipaddress.IPv4Address(number & 0xFFFFFFFF)
    return None
