"""Who comes, by which way, and what they may do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from flask import g

from receiver.text import lowercase_ascii, one_line

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
