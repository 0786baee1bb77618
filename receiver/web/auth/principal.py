"""Which role somebody has whom a proxy or a provider names."""

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
    """Reads RECEIVER_RESPONDERS and RECEIVER_VIEWERS.

    A group is only what is written as one. Otherwise whoever may choose their own name would choose that of
    the responders' group.
    """

    def __init__(self, settings: Settings) -> None:
        self._responders = frozenset(map(_parse_entry, settings.responders))
        self._viewers = frozenset(map(_parse_entry, settings.viewers))

    def find_role(self, attributes: Iterable[str]) -> Role | None:
        """Return the role of somebody with *attributes*; None for those who may not come in."""
        given = frozenset(attributes)
        if not self._responders or given & self._responders:
            return Role.RESPONDER
        return Role.VIEWER if not self._viewers or given & self._viewers else None

    def list_known(self, attributes: Iterable[str]) -> list[str]:
        """Return those of *attributes* that decide anything, the responders' first."""
        given = frozenset(attributes)
        return [*sorted(given & self._responders), *sorted(given & self._viewers - self._responders)]


def _parse_entry(word: str) -> str:
    group = word.removeprefix(_GROUP)
    return name_attribute(word) if group == word else group_attribute(group.strip())


MAX_NAME = 80
_MAX_GROUPS = 500


class Role(StrEnum):
    """What a visitor may do: a viewer reads, a responder also answers and changes."""

    VIEWER = "viewer"
    RESPONDER = "responder"


class AuthMethod(StrEnum):
    """How a visitor came in."""

    OPEN = "open"  # nobody is asked
    TOKEN = "token"  # noqa: S105  # nosec B105  # the way's name
    PROXY = "proxy"
    SIGN_IN = "sign-in"


@dataclass(frozen=True)
class Identity:
    """Whom a proxy or a provider names.

    *attributes* is what the settings may list them by: names, e-mail addresses and groups.
    """

    name: str
    attributes: frozenset[str] = field(default=frozenset())


@dataclass(frozen=True)
class Principal:
    """Somebody who was let in."""

    name: str
    role: Role
    auth_method: AuthMethod
    # Of the token that was shown.
    digest: str = ""

    @property
    def is_verified(self) -> bool:
        """Whether somebody whom we trust says who it is, so that they can't sign with another name."""
        return self.auth_method in (AuthMethod.PROXY, AuthMethod.SIGN_IN)

    @property
    def can_respond(self) -> bool:
        return self.role is Role.RESPONDER

    @property
    def label(self) -> str:
        """Who they are, for themselves to read."""
        return self.name or ("somebody with a token" if self.auth_method is AuthMethod.TOKEN else "somebody")


def current_principal() -> Principal | None:
    """Return whose request this is; None where a door refused them, or asks nobody."""
    found: Principal | None = g.get("principal")
    return found


def name_attribute(name: str) -> str:
    """Return the mark of a name or an e-mail address; the latter is the same in capitals."""
    return f"name:{lowercase_ascii(name) if '@' in name else name}"


def group_attribute(name: str) -> str:
    return f"group:{name}"


def group_attributes(names: Sequence[str]) -> set[str]:
    """Return the marks of groups as a provider or a proxy tells them, of so many at most."""
    return {group_attribute(name.strip()) for name in names[:_MAX_GROUPS] if name.strip()}


def clean_name(text: str) -> str:
    """Return a stranger's name as we keep it."""
    return one_line(text, MAX_NAME)


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


def parse_identity(claims: Mapping[str, Any], groups_claim: str) -> Identity:
    """Return a name for the timeline, and what roles go by.

    The name is the first of user name, e-mail, display name and number that there is. Roles go by the user
    name, by an e-mail address only where the provider has verified it, since anybody may write one into
    their profile, and by groups. A user name with an @ is taken for an address like that.
    """
    email = _find_claim(claims, "email") if claims.get("email_verified") in (True, "true") else ""
    user = _find_claim(claims, "preferred_username")
    candidates = (
        clean_name(one) for one in (user, email, _find_claim(claims, "name"), _find_claim(claims, "sub"))
    )
    name = next(filter(None, candidates), "")
    if not name:
        raise SignInDenied("the provider gives no name")
    names = {name_attribute(one) for one in (email, user if "@" not in user else "") if one}
    return Identity(name, frozenset(names | group_attributes(_list_texts(claims.get(groups_claim)))))


def _find_claim(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value.strip() if isinstance(value, str) else ""


def _list_texts(value: Any) -> list[str]:
    """Return the groups: a list of names, as most providers have it, or a single one."""
    found = value if isinstance(value, list) else [value]
    return [one for one in found if isinstance(one, str)]
