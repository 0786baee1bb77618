"""Our cookies: for us alone, unseen by scripts, and over TLS only where there is TLS."""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from secrets import token_urlsafe

from flask import g, request
from markupsafe import Markup
from werkzeug.wrappers import Response

from receiver.text import Secret
from receiver.web.urls import parse_public_url

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


FIELD = "csrf_token"
_COOKIE = "receiver_form"
# The same for our own address, where PUBLIC_URL has a path: the cookie of that path is not sent there.
_DIRECT_COOKIE = "receiver_form_direct"
# A proxy that sets one of these tells that it is there. One that sets none can't be told from a browser.
_PROXY_HEADERS = (
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Prefix",
    "X-Forwarded-Proto",
    "X-Real-IP",
)


class CsrfProtection:
    """Gives forms their token, and knows them again in any web process.

    The key comes from what all of those share: the first of *secrets*, or where there is none, and so only
    one machine, the name of this run.
    """

    def __init__(self, secrets: tuple[Secret, ...], run_id: str, public_url: str) -> None:
        shared = secrets[0].reveal() if secrets else run_id
        self._key = sha256(b"forms\0" + shared.encode("utf-8", "surrogatepass")).digest()
        self._public = parse_public_url(public_url)
        self._cookies = CookieJar(public_url)
        self._direct = CookieJar(public_url, is_direct=True)

    def render_field(self) -> Markup:
        """Return the hidden field that every form of a page has to hold: `{{ csrf_field() }}`."""
        nonce = self._cookies.find_random(_COOKIE)
        if not nonce:
            known = self._direct.find_random(_DIRECT_COOKIE) if self._public.path else ""
            nonce = g.form_cookie = known or g.get("form_cookie") or new_random()
        return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, self._sign_nonce(nonce))

    def is_valid(self) -> bool:
        """Tell whether the request is a form of ours, sent by the browser that was given it."""
        nonces = [self._cookies.find_random(_COOKIE)]
        if self._is_direct():
            nonces.append(self._direct.find_random(_DIRECT_COOKIE))
        token = request.form.get(FIELD, "").encode()
        return any(hmac.compare_digest(self._sign_nonce(nonce).encode(), token) for nonce in nonces if nonce)

    def save_cookie(self, response: Response) -> Response:
        """Hand the browser a new cookie where a form was rendered for one that had none."""
        if "form_cookie" in g:
            # Were it not shown to us each time, the new one would make the forms in all their other tabs
            # strange to us.
            self._cookies.set_cookie(response, _COOKIE, g.form_cookie)
            if self._may_be_direct():
                self._direct.set_cookie(response, _DIRECT_COOKIE, g.form_cookie)
        return response

    def _may_be_direct(self) -> bool:
        """Tell whether the browser may be at our own address while PUBLIC_URL has a path."""
        is_proxied = any(name in request.headers for name in _PROXY_HEADERS)
        return bool(self._public.path) and not is_proxied and request.host.lower() != self._public.host

    def _is_direct(self) -> bool:
        """Tell whether the browser says that the form is of a page at our own address.

        There the cookie may be without TLS, so that others could plant one of theirs; it counts nowhere else.
        """
        origin = request.headers.get("Origin", "").lower()
        is_here = origin in (f"http://{request.host.lower()}", f"https://{request.host.lower()}")
        return bool(self._public.path) and is_here and origin != self._public.origin

    def _sign_nonce(self, nonce: str) -> str:
        return hmac.new(self._key, nonce.encode(), sha256).hexdigest()
