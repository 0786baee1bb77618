"""Who has signed in: a signed cookie, which any web process can read and nobody else can write."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from itsdangerous import BadData, URLSafeSerializer
from werkzeug.wrappers import Response

from receiver.config.settings import Settings
from receiver.web.auth.csrf import CookieJar
from receiver.web.auth.principal import Identity, Roles

SESSION_S = 12 * 3600
_COOKIE = "receiver_session"
# A browser takes 4,096 bytes with the name, and drops a longer one: signing in would begin again for ever.
_MAX_COOKIE = 3500


class Signer:
    """Signs and reads small values, each for one purpose.

    The key comes from what all web processes share and nobody else knows, the client's secret, so another
    secret ends every session. Nothing here is secret from the browser that keeps it.
    """

    def __init__(self, settings: Settings) -> None:
        shared = (settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret.reveal())
        self.key = sha256("\0".join(("sign-in", *shared)).encode()).digest()

    def sign_value(self, purpose: str, value: dict[str, Any]) -> str:
        return str(self._serializer(purpose).dumps(value))

    def read_signed(self, purpose: str, text: str) -> dict[str, Any]:
        """Return what was signed for *purpose*; nothing where it was not by us."""
        try:
            found = self._serializer(purpose).loads(text)
        except (BadData, UnicodeError):
            return {}
        return found if isinstance(found, dict) else {}

    def _serializer(self, purpose: str) -> URLSafeSerializer:
        kinds = {"key_derivation": "hmac", "digest_method": sha256}
        return URLSafeSerializer(self.key, salt=purpose, signer_kwargs=kinds)


class Sessions:
    """Remembers who signed in, for twelve hours from then, however busy they are.

    Of names and groups it keeps those that the settings list, so that any number of groups fits a cookie.
    Roles are not kept: who is taken from a list loses the role at once.
    """

    def __init__(self, settings: Settings, signer: Signer, clock: Callable[[], float]) -> None:
        self._signer = signer
        self._roles = Roles(settings)
        self._cookies = CookieJar(settings.public_url)
        self._clock = clock

    def start_session(self, response: Response, identity: Identity) -> None:
        """Have the browser show who it is from now on."""
        attributes = self._roles.list_known(identity.attributes)
        value = {"name": identity.name, "attributes": attributes, "until": self._clock() + SESSION_S}
        while len(signed := self._signer.sign_value("session", value)) > _MAX_COOKIE and attributes:
            del attributes[len(attributes) // 2 :]
        self._cookies.set_cookie(response, _COOKIE, signed, SESSION_S)

    def find_identity(self) -> Identity | None:
        """Return who signed in with the browser that asks; None where nobody did, or too long ago."""
        session = self._signer.read_signed("session", self._cookies.read_cookie(_COOKIE))
        if not session or self._clock() >= session["until"]:
            return None
        return Identity(session["name"], frozenset(session["attributes"]))

    def end_session(self, response: Response) -> None:
        """Have the browser forget it."""
        self._cookies.delete_cookie(response, _COOKIE)
