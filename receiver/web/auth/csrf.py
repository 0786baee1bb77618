"""Cookies, and the CSRF token of forms.

Our cookies are HttpOnly, limited to our path, and Secure where the connection uses TLS.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any, cast

from flask import g, request
from markupsafe import Markup
from werkzeug.wrappers import Response

from receiver.text import Secret
from receiver.web.urls import parse_public_url

_RANDOM = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


def new_random() -> str:
    """Return a random URL-safe string of 256 bits."""
    return token_urlsafe(32)


class CookieJar:
    """Reads and sets our cookies by their short names; their path is that of PUBLIC_URL.

    With *is_direct* they are for requests to our own address, past the proxy: there the path is `/`, and
    there may be no TLS.
    """

    def __init__(self, public_url: str, *, is_direct: bool = False) -> None:
        public = parse_public_url(public_url)
        self._is_public_secure = public.is_secure and not is_direct
        self._path = "/" if is_direct else public.path or "/"

    def read_cookie(self, name: str) -> str:
        return request.cookies.get(self._full_name(name), "")

    def find_random(self, name: str) -> str:
        """Return the random string in cookie *name*; empty where there is none or it has another form."""
        found = self.read_cookie(name)
        return found if _RANDOM.fullmatch(found) else ""

    def set_cookie(self, response: Response, name: str, value: str, max_age_s: int | None = None) -> None:
        """Set the cookie, for *max_age_s* seconds or until the browser is closed.

        SameSite is Lax: with Strict, a browser would not send the cookie when a user follows a link in Slack
        or comes back from the OIDC provider.
        """
        response.set_cookie(self._full_name(name), value, max_age=max_age_s, **self._attributes)

    def delete_cookie(self, response: Response, name: str) -> None:
        """Delete the cookie in the browser."""
        response.delete_cookie(self._full_name(name), **self._attributes)

    @property
    def _attributes(self) -> dict[str, Any]:
        return {"secure": self._is_secure, "httponly": True, "samesite": "Lax", "path": self._path}

    @property
    def _is_secure(self) -> bool:
        return self._is_public_secure or request.is_secure

    def _full_name(self, name: str) -> str:
        if not self._is_secure:
            return name
        # Browsers accept these prefixes only over TLS, and `__Host-` only for this exact host and path `/`.
        return f"__Host-{name}" if self._path == "/" else f"__Secure-{name}"


FIELD = "csrf_token"
_COOKIE = "receiver_form"
# The second cookie, for forms at the receiver's own address if PUBLIC_URL has a path: browsers send the first
# cookie below that path only.
_DIRECT_COOKIE = "receiver_form_direct"
# Headers that reveal a proxy. A proxy that sets none of them can't be told from a browser.
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
    """Issues the CSRF tokens of forms and verifies them in any web process.

    The key is derived from what all web processes share: the first of *secrets*, or *run_id* where there are
    none; without secrets the receiver runs on a single host.
    """

    def __init__(self, secrets: tuple[Secret, ...], run_id: str, public_url: str) -> None:
        shared = secrets[0].reveal() if secrets else run_id
        self._key = sha256(b"forms\0" + shared.encode("utf-8", "surrogatepass")).digest()
        self._public = parse_public_url(public_url)
        self._cookies = CookieJar(public_url)
        self._direct = CookieJar(public_url, is_direct=True)

    def render_field(self) -> Markup:
        """Return the hidden field that every form of a page must contain: `{{ csrf_field() }}`."""
        if "form_field" not in g:
            nonce = self._cookies.find_random(_COOKIE)
            if not nonce:
                known = self._direct.find_random(_DIRECT_COOKIE) if self._public.path else ""
                nonce = g.form_cookie = known or new_random()
            field = Markup('<input type="hidden" name="{}" value="{}">')
            g.form_field = field.format(FIELD, self._sign_nonce(nonce))
        return cast("Markup", g.form_field)

    def is_valid(self) -> bool:
        """Return whether the form's token matches the cookie of the browser that sent it."""
        nonces = [self._cookies.find_random(_COOKIE)]
        if self._is_direct():
            nonces.append(self._direct.find_random(_DIRECT_COOKIE))
        token = request.form.get(FIELD, "").encode()
        return any(hmac.compare_digest(self._sign_nonce(nonce).encode(), token) for nonce in nonces if nonce)

    def save_cookie(self, response: Response) -> Response:
        """Set a new cookie where a form was rendered for a browser that had none."""
        if "form_cookie" in g:
            # Only in that case: another cookie would invalidate the forms in the user's other tabs.
            self._cookies.set_cookie(response, _COOKIE, g.form_cookie)
            if self._may_be_direct():
                self._direct.set_cookie(response, _DIRECT_COOKIE, g.form_cookie)
        return response

    def _may_be_direct(self) -> bool:
        """Return whether the browser may be using our own address while PUBLIC_URL has a path."""
        is_proxied = any(name in request.headers for name in _PROXY_HEADERS)
        return bool(self._public.path) and not is_proxied and request.host.lower() != self._public.host

    def _is_direct(self) -> bool:
        """Return whether the Origin header says that the form is on a page at our own address.

        The cookie may be sent without TLS there, so an attacker on the network could plant one; it is
        accepted for this origin only.
        """
        origin, host = request.headers.get("Origin", "").lower(), request.host.lower()
        is_here = origin in (f"http://{host}", f"https://{host}")
        return bool(self._public.path) and is_here and origin != self._public.origin

    def _sign_nonce(self, nonce: str) -> str:
        return hmac.new(self._key, nonce.encode(), sha256).hexdigest()
