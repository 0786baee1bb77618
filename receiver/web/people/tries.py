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

from receiver.errors import SignInDenied
from receiver.lookups.provider import SignIn
from receiver.web.cookies import CookieJar, new_random
from receiver.web.people.sessions import Signer

# Passwords are looked up and second factors searched for.
LOGIN_ATTEMPT_S = 15 * 60
_COOKIE = "receiver_sign_in"
_MAX_PATH = 500
# Ours: one `/`, never two, never what a browser reads as a host's beginning, nothing unseen.
_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*", re.ASCII)
_SIGN_IN_PATHS = ("/sign-in", "/sign-out")


@dataclass(frozen=True)
class LoginAttempt:
    """A try, and where its visitor wanted to go."""

    sign_in: SignIn
    path: str


class LoginFlow:
    """Begins tries, and finds them again."""

    def __init__(self, signer: Signer, public_url: str, clock: Callable[[], float]) -> None:
        self._signer = signer
        self._cookies = CookieJar(public_url)
        self._clock = clock

    def start(self, path: str) -> tuple[LoginAttempt, str]:
        """Return a new try to get to *path*, and the browser that it is for."""
        browser = self._cookies.find_random(_COOKIE) or new_random()
        attempt_id, path = token_urlsafe(16), safe_redirect_path(path)
        value = {"id": attempt_id, "path": path, "until": self._clock() + LOGIN_ATTEMPT_S}
        state = self._signer.sign_value(f"login {browser}", value)
        return self._build_attempt(state, browser, attempt_id, path), browser

    def save_cookie(self, response: Response, browser: str) -> None:
        """Have the browser show that it is the one."""
        self._cookies.set_cookie(response, _COOKIE, browser, LOGIN_ATTEMPT_S)

    def get_attempt(self, state: str) -> LoginAttempt:
        """Return the try that comes back with *state*; SignInRefused where this browser began none."""
        browser = self._cookies.find_random(_COOKIE)
        state_values = self._signer.read_signed(f"login {browser}", state) if browser else {}
        if not browser or not state_values:
            raise SignInDenied("this browser didn't begin to sign in here")
        if self._clock() >= state_values["until"]:
            raise SignInDenied("signing in took too long")
        return self._build_attempt(state, browser, state_values["id"], state_values["path"])

    def _build_attempt(self, state: str, browser: str, attempt_id: str, path: str) -> LoginAttempt:
        nonce, verifier = (self._derive(what, browser, attempt_id) for what in ("nonce", "verifier"))
        return LoginAttempt(SignIn(state, nonce, verifier), path)

    def _derive(self, what: str, browser: str, attempt_id: str) -> str:
        digest = hmac.new(self._signer.key, f"{what} {browser} {attempt_id}".encode(), sha256).digest()
        return urlsafe_b64encode(digest).decode().rstrip("=")


def safe_redirect_path(path: str) -> str:
    """Return *path* if it is one of our pages', else the first page's."""
    is_ours = len(path) <= _MAX_PATH and bool(_PATH.fullmatch(path))
    return "/" if not is_ours or path.startswith(_SIGN_IN_PATHS) else path
