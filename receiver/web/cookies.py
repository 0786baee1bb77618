"""Our cookies: for us alone, unseen by scripts, and over TLS only where there is TLS."""

from __future__ import annotations

import re
from secrets import token_urlsafe

from flask import request
from werkzeug.wrappers import Response

from receiver.web.public_url import parse_public_url

_RANDOM = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


def new_random() -> str:
    """Return a word that nobody guesses."""
    return token_urlsafe(32)


class CookieJar:
    """Reads and sets them, each by its short name; they are for what lies below PUBLIC_URL's path.

    *is_direct* has them for our own address, where there is no such path, and maybe no TLS either.
    """

    def __init__(self, public_url: str, *, is_direct: bool = False) -> None:
        public = parse_public_url(public_url)
        self._is_public_secure = public.is_secure and not is_direct
        self._path = "/" if is_direct else public.path or "/"

    def read_cookie(self, name: str) -> str:
        return request.cookies.get(self._full_name(name), "")

    def find_random(self, name: str) -> str:
        """Return the random word that the browser keeps; empty where it keeps none of ours."""
        found = self.read_cookie(name)
        return found if _RANDOM.fullmatch(found) else ""

    def set_cookie(self, response: Response, name: str, value: str, max_age_s: int | None = None) -> None:
        """Hand it to the browser, until that is closed or for *max_age_s*.

        Lax, as Strict would not show us the cookie when somebody comes by a link in Slack, or from the page
        where they signed in.
        """
        response.set_cookie(
            self._full_name(name),
            value,
            max_age=max_age_s,
            secure=self._is_secure,
            httponly=True,
            samesite="Lax",
            path=self._path,
        )

    def delete_cookie(self, response: Response, name: str) -> None:
        """Take it away from the browser."""
        response.delete_cookie(
            self._full_name(name), secure=self._is_secure, httponly=True, samesite="Lax", path=self._path
        )

    @property
    def _is_secure(self) -> bool:
        return self._is_public_secure or request.is_secure

    def _full_name(self, name: str) -> str:
        if not self._is_secure:
            return name
        # A browser takes these prefixes only from a secure page, and the first only of this very host and
        # for all of it.
        return f"__Host-{name}" if self._path == "/" else f"__Secure-{name}"
