"""Who is let in: tokens, as a bearer or as the password of basic auth."""

from __future__ import annotations

import hmac
from hashlib import sha256

from flask import Request

from receiver.text import Secret


def is_let_in(request: Request, tokens: tuple[Secret, ...]) -> bool:
    """Tell whether the request shows one of *tokens*; with none set everybody is let in.

    Each token is compared whole, by its digest and whatever the outcome, so that time tells nothing,
    not even how long a token is.
    """
    if not tokens:
        return True
    shown = _digest(_shown(request))
    matches = [hmac.compare_digest(shown, _digest(token.reveal())) for token in tokens]
    return any(matches)


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


def _shown(request: Request) -> str:
    auth = request.authorization
    if auth is None:
        return ""
    if auth.type == "basic":
        return auth.password or ""
    return auth.token or "" if auth.type == "bearer" else ""
