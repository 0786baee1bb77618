"""Forms of our pages, which no page of somebody else can send in our name.

Each carries a token that fits a random cookie. Reading the cookie takes being our page, and making a
token for another cookie takes our key.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from flask import Response, g, request
from markupsafe import Markup

from receiver.text import Secret
from receiver.web.cookies import Cookies, new_random

FIELD = "csrf_token"
_COOKIE = "receiver_form"


class Forms:
    """Gives forms their token, and knows them again in any web process.

    The key comes from what all of those share: the first of *secrets*, or where there is none, and so only
    one machine, the name of this run.
    """

    def __init__(self, secrets: tuple[Secret, ...], run_id: str, public_url: str) -> None:
        shared = secrets[0].reveal() if secrets else run_id
        self._key = sha256(b"forms\0" + shared.encode("utf-8", "surrogatepass")).digest()
        self._cookies = Cookies(public_url)

    def render_field(self) -> Markup:
        """Return the hidden field that every form of a page has to hold: `{{ csrf_field() }}`."""
        nonce = self._cookies.find_random(_COOKIE)
        if not nonce:
            nonce = g.form_cookie = g.get("form_cookie") or new_random()
        return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, self._sign(nonce))

    def is_ours(self) -> bool:
        """Tell whether the request is a form of ours, sent by the browser that was given it."""
        nonce, token = self._cookies.find_random(_COOKIE), request.form.get(FIELD, "")
        return bool(nonce) and hmac.compare_digest(self._sign(nonce).encode(), token.encode())

    def keep(self, answer: Response) -> Response:
        """Hand the browser a new cookie where a form was rendered for one that had none."""
        if "form_cookie" in g:
            # Were it not shown to us each time, the new one would make the forms in all their other tabs
            # strange to us.
            self._cookies.keep(answer, _COOKIE, g.form_cookie)
        return answer

    def _sign(self, nonce: str) -> str:
        return hmac.new(self._key, nonce.encode(), sha256).hexdigest()
