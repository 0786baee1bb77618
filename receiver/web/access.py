"""Who is let in: tokens, as a bearer or as the password of basic auth."""

from __future__ import annotations

import hmac

from flask import Request

from receiver.text import Secret


def is_let_in(request: Request, tokens: tuple[Secret, ...]) -> bool:
    """Tell whether the request shows one of *tokens*; with none set everybody is let in.

    Each token is compared whole, whatever the outcome, so that time tells nothing.
    """
    if not tokens:
        return True
    shown = _shown(request).encode()
    matches = [hmac.compare_digest(shown, token.reveal().encode()) for token in tokens]
    return any(matches)


def _shown(request: Request) -> str:
    auth = request.authorization
    if auth is None:
        return ""
    if auth.type == "basic":
        return auth.password or ""
    return auth.token or "" if auth.type == "bearer" else ""
