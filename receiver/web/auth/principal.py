"""Principals, identities and roles: who sent a request, and what the settings allow them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from flask import Request, g

from receiver.config.settings import Settings
from receiver.errors import SignInDenied
from receiver.text import lowercase_ascii, one_line

_GROUP = "group:"


class Roles:
    """Assigns roles by RECEIVER_RESPONDERS and RECEIVER_VIEWERS.

    An entry means a group only if it is written as `group:NAME`. Otherwise a user who may choose their own
    name could choose that of the responders' group.
    """

    def __init__(self, settings: Settings) -> None:
        self._responders = frozenset(map(_parse_entry, settings.responders))
        self._viewers = frozenset(map(_parse_entry, settings.viewers))

    def find_role(self, attributes: Iterable[str]) -> Role | None:
        """Return the role of an identity with *attributes*; None where it has none."""
        given = frozenset(attributes)
        if not self._responders or given & self._responders:
            return Role.RESPONDER
        return Role.VIEWER if not self._viewers or given & self._viewers else None

    def list_known(self, attributes: Iterable[str]) -> list[str]:
        """Return those of *attributes* that are listed in the settings, the responders' first."""
        given = frozenset(attributes)
        return [*sorted(given & self._responders), *sorted(given & self._viewers - self._responders)]


def _parse_entry(word: str) -> str:
    group = word.removeprefix(_GROUP)
    return name_attribute(word) if group == word else group_attribute(group.strip())


MAX_NAME = 80
_MAX_GROUPS = 500


class Role(StrEnum):
    """What a principal may do: a viewer reads, a responder also answers and changes."""

    VIEWER = "viewer"
    RESPONDER = "responder"


class AuthMethod(StrEnum):
    """How a principal was authenticated."""

    OPEN = "open"  # no authentication required
    TOKEN = "token"  # noqa: S105  # nosec B105  # a name, no secret
    PROXY = "proxy"
    SIGN_IN = "sign-in"


@dataclass(frozen=True)
class Identity:
    """A user as named by a proxy or the OIDC provider.

    *attributes* are what the settings may list: names, e-mail addresses and groups.
    """

    name: str
    attributes: frozenset[str] = field(default=frozenset())


@dataclass(frozen=True)
class Principal:
    """An authenticated user or token."""

    name: str
    role: Role
    auth_method: AuthMethod
    # The digest of the token, for AuthMethod.TOKEN.
    digest: str = ""

    @property
    def is_verified(self) -> bool:
        """Whether a trusted source vouches for the name, so that requests can't use another one."""
        return self.auth_method in (AuthMethod.PROXY, AuthMethod.SIGN_IN)

    @property
    def can_respond(self) -> bool:
        return self.role is Role.RESPONDER

    @property
    def label(self) -> str:
        """The name as it is shown to the user."""
        return self.name or ("somebody with a token" if self.auth_method is AuthMethod.TOKEN else "somebody")


def current_principal() -> Principal | None:
    """Return the principal of this request; None where it was refused or its route is open to all."""
    found: Principal | None = g.get("principal")
    return found


def name_attribute(name: str) -> str:
    """Return the attribute of a name or an e-mail address; the latter is compared without case."""
    return f"name:{lowercase_ascii(name) if '@' in name else name}"


def group_attribute(name: str) -> str:
    return f"group:{name}"


def group_attributes(names: Sequence[str]) -> set[str]:
    """Return the attributes of the groups that a provider or a proxy lists, of the first _MAX_GROUPS."""
    return {group_attribute(name.strip()) for name in names[:_MAX_GROUPS] if name.strip()}


def clean_name(text: str) -> str:
    """Return a name from a request on one line and shortened to MAX_NAME."""
    return one_line(text, MAX_NAME)


logger = logging.getLogger(__name__)


def find_proxy_identity(request: Request, settings: Settings) -> Identity | None:
    """Return the identity in the headers RECEIVER_USER_HEADER and RECEIVER_GROUPS_HEADER of a trusted proxy.

    None where it names none or the peer is no such proxy. Only the peer address of the connection counts,
    never a header. Loopback is trusted only where it is listed, and a peer without an address, as on a Unix
    socket, never is.
    """
    address = parse_ip(request.remote_addr or "")
    if address is None or not any(address in network for network in settings.trusted_proxies):
        return None
    header = _read_header(request, settings.user_header)
    name = clean_name(header)
    if "," in header:
        # WSGI joins two headers of this name with a comma: the proxy's, and one that the client sent.
        logger.warning("proxy sent several users", extra={"fields": {"header": settings.user_header}})
        return None
    if not name:
        return None
    groups = _read_header(request, settings.groups_header).split(",")
    return Identity(name, frozenset(group_attributes(groups) | {name_attribute(header.strip())}))


def parse_ip(peer: str) -> IPv4Address | IPv6Address | None:
    """Return the address of a connection's peer; None where it has none, as on a Unix socket."""
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    # On a [::] socket, IPv4 peers have addresses like ::ffff:10.0.0.5.
    return getattr(address, "ipv4_mapped", None) or address


def _read_header(request: Request, name: str) -> str:
    """Return the header's text: proxies write UTF-8, which WSGI decodes as Latin-1."""
    text = request.headers.get(name, "") if name else ""
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


def parse_identity(claims: Mapping[str, Any], groups_claim: str) -> Identity:
    """Return the name for the timeline and the attributes for the role; raises SignInDenied without a name.

    The name is the first of `preferred_username`, `email`, `name` and `sub` that is present. The role depends
    on the user name, on the e-mail address if the provider has verified it, since users may put any into
    their profile, and on the groups. A user name with an @ does not count, since it may be an unverified
    address.
    """
    email = _find_claim(claims, "email") if claims.get("email_verified") in (True, "true") else ""
    user = _find_claim(claims, "preferred_username")
    candidates = (user, email, _find_claim(claims, "name"), _find_claim(claims, "sub"))
    name = next(filter(None, map(clean_name, candidates)), "")
    if not name:
        raise SignInDenied("the provider gives no name")
    names = {name_attribute(one) for one in (email, user if "@" not in user else "") if one}
    # Most providers send a list, some a single name.
    groups = claims.get(groups_claim)
    listed = [one for one in (groups if isinstance(groups, list) else [groups]) if isinstance(one, str)]
    return Identity(name, frozenset(names | group_attributes(listed)))


def _find_claim(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value.strip() if isinstance(value, str) else ""
