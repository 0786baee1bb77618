"""Who it is that answers on the page."""

from __future__ import annotations

from receiver.web.people.visitor import current_principal
from receiver.web.questions import ActorFields

VIA = "page"


def current_user_name() -> str:
    """Return the name that a browser signed in with."""
    principal = current_principal()
    return (principal.name if principal is not None else "") or "somebody on the page"


def current_actor() -> ActorFields:
    """Return the answer's signature."""
    return ActorFields(by=current_user_name(), via=VIA)
