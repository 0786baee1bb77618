"""Forms of our pages, which no page of somebody else can send in our name.

Each carries a token that fits a random cookie. Reading the cookie takes being our page, and making a
token for another cookie takes our key.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from flask import g, request
from markupsafe import Markup
from werkzeug.wrappers import Response

from receiver.text import Secret
from receiver.web.cookies import CookieJar, new_random
from receiver.web.public_url import parse_public_url

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
