"""Tries to sign in: what goes to the provider with somebody, and is known again when they come back.

A browser keeps one random cookie for all its tries, so that ten tabs can sign in at once and leave nothing
behind. All else of a try is in its state, signed for that cookie, or made of the two by our key.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_urlsafe

from werkzeug.wrappers import Response

from receiver.errors import SignInRefused
from receiver.lookups.provider import SignIn
from receiver.web.cookies import Cookies, new_random
from receiver.web.people.sessions import Signer

# Passwords are looked up and second factors searched for.
LASTS_S = 15 * 60
_COOKIE = "receiver_sign_in"
_MAX_PATH = 500
# Ours: one `/`, never two, never what a browser reads as a host's beginning, nothing unseen.
_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*", re.ASCII)
_NOWHERE = ("/sign-in", "/sign-out")


@dataclass(frozen=True)
class Try:
    """A try, and where its visitor wanted to go."""

    sign_in: SignIn
    path: str


class Tries:
    """Begins tries, and finds them again."""

    def __init__(self, signer: Signer, public_url: str, clock: Callable[[], float]) -> None:
        self._signer = signer
        self._cookies = Cookies(public_url)
        self._clock = clock

    def begin(self, path: str) -> tuple[Try, str]:
        """Return a new try to get to *path*, and the browser that it is for."""
        browser = self._cookies.find_random(_COOKIE) or new_random()
        number, path = token_urlsafe(16), keep_here(path)
        value = {"id": number, "path": path, "until": self._clock() + LASTS_S}
        state = self._signer.sign(f"try {browser}", value)
        return self._make(state, browser, number, path), browser

    def mark(self, answer: Response, browser: str) -> None:
        """Have the browser show that it is the one."""
        self._cookies.keep(answer, _COOKIE, browser, LASTS_S)

    def find(self, state: str) -> Try:
        """Return the try that comes back with *state*; SignInRefused where this browser began none."""
        browser = self._cookies.find_random(_COOKIE)
        held = self._signer.read(f"try {browser}", state) if browser else {}
        if not browser or not held:
            raise SignInRefused("this browser didn't begin to sign in here")
        if self._clock() >= held["until"]:
            raise SignInRefused("signing in took too long")
        return self._make(state, browser, held["id"], held["path"])

    def _make(self, state: str, browser: str, number: str, path: str) -> Try:
        nonce, verifier = (self._derive(what, browser, number) for what in ("nonce", "verifier"))
        return Try(SignIn(state, nonce, verifier), path)

    def _derive(self, what: str, browser: str, number: str) -> str:
        digest = hmac.new(self._signer.key, f"{what} {browser} {number}".encode(), sha256).digest()
        return urlsafe_b64encode(digest).decode().rstrip("=")


def keep_here(path: str) -> str:
    """Return *path* if it is one of our pages', else the first page's."""
    is_ours = len(path) <= _MAX_PATH and bool(_PATH.fullmatch(path))
    return "/" if not is_ours or path.startswith(_NOWHERE) else path
