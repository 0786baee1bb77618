"""Our cookies: for us alone, unseen by scripts, and over TLS only where there is TLS."""

from __future__ import annotations

from flask import request
from werkzeug.wrappers import Response


class Cookies:
    """Reads and sets them, each by its short name."""

    def __init__(self, public_url: str) -> None:
        self._is_public_secure = public_url.lower().startswith("https:")

    def read(self, name: str) -> str:
        return request.cookies.get(self._name(name), "")

    def keep(self, answer: Response, name: str, value: str, max_age_s: int | None = None) -> None:
        """Hand it to the browser, until that is closed or for *max_age_s*.

        Lax, as Strict would not show us the cookie when somebody comes by a link in Slack, or from the page
        where they signed in.
        """
        answer.set_cookie(
            self._name(name),
            value,
            max_age=max_age_s,
            secure=self._is_secure,
            httponly=True,
            samesite="Lax",
            path="/",
        )

    def drop(self, answer: Response, name: str) -> None:
        """Take it away from the browser."""
        answer.delete_cookie(
            self._name(name), secure=self._is_secure, httponly=True, samesite="Lax", path="/"
        )

    @property
    def _is_secure(self) -> bool:
        return self._is_public_secure or request.is_secure

    def _name(self, name: str) -> str:
        # A browser takes this prefix only from a secure page of this very host.
        return f"__Host-{name}" if self._is_secure else name
