"""Whom a reverse proxy in front names, believed only from where that proxy is."""

from __future__ import annotations

import logging
from ipaddress import IPv4Address, IPv6Address, ip_address

from flask import Request

from receiver.config.settings import Settings
from receiver.web.people.visitor import Identity, clean_name, group_attributes, name_attribute

logger = logging.getLogger(__name__)


class TrustedProxy:
    """Reads the headers of RECEIVER_USER_HEADER and RECEIVER_GROUPS_HEADER.

    Only the other end of the connection counts, never what a header says of it. This machine itself is
    trusted only where it is listed, and a peer without an address, as on a Unix socket, never is.
    """

    def __init__(self, settings: Settings) -> None:
        self._proxies = settings.trusted_proxies
        self._user, self._groups = settings.user_header, settings.groups_header

    def find_identity(self, request: Request) -> Identity | None:
        """Return whom the proxy names; None where it names nobody, and where it is not the proxy."""
        if not self._proxies or not self._is_trusted(request.remote_addr):
            return None
        header = _read_header(request, self._user)
        name = clean_name(header)
        if "," in header:
            # Two such headers reach us as one with a comma: the proxy's, and one that somebody sent to it.
            logger.warning("proxy names more than one", extra={"fields": {"header": self._user}})
            return None
        if not name:
            return None
        groups = _read_header(request, self._groups).split(",") if self._groups else []
        return Identity(name, frozenset(group_attributes(groups) | {name_attribute(header.strip())}))

    def _is_trusted(self, peer: str | None) -> bool:
        address = _parse_ip(peer or "")
        return address is not None and any(address in network for network in self._proxies)


def _parse_ip(peer: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    # Listening on [::], IPv4 comes in as ::ffff:10.0.0.5.
    return getattr(address, "ipv4_mapped", None) or address


def _read_header(request: Request, name: str) -> str:
    """Return what it says: UTF-8, as proxies write it, which WSGI hands on as if it were Latin-1."""
    text = request.headers.get(name, "")
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text
