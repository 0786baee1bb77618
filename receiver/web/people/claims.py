"""Who it is that a provider's claims are about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.errors import SignInDenied
from receiver.web.people.visitor import Identity, clean_name, group_attributes, name_attribute


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
