"""Who is let in: tokens, as a bearer or as the password of basic auth."""

from __future__ import annotations

import hmac
from hashlib import sha256

from flask import Request

from receiver.text import Secret


def has_valid_token(request: Request, tokens: tuple[Secret, ...]) -> bool:
    """Tell whether the request shows one of *tokens*; with none set everybody is let in."""
    return not tokens or find_token(request, tokens) is not None


def find_token(request: Request, tokens: tuple[Secret, ...]) -> Secret | None:
    """Return the one of *tokens* that the request shows.

    Each token is compared whole, by its digest and whatever the outcome, so that time tells nothing,
    not even how long a token is.
    """
    presented = _digest(_presented_token(request))
    matches = [token for token in tokens if hmac.compare_digest(presented, _digest(token.reveal()))]
    return matches[0] if matches else None


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


def _presented_token(request: Request) -> str:
    auth = request.authorization
    if auth is None:
        return ""
    if auth.type == "basic":
        return auth.password or ""
    return auth.token or "" if auth.type == "bearer" else ""
