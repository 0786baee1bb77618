"""Sessions: a signed cookie that every web process can read and only the receiver can write."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from itsdangerous import BadData, URLSafeSerializer
from werkzeug.wrappers import Response

from receiver.clock import Clock
from receiver.config.settings import Settings
from receiver.web.auth.csrf import CookieJar
from receiver.web.auth.principal import Identity, Roles

SESSION_S = 12 * 3600
_COOKIE = "receiver_session"
# Browsers drop a cookie of more than 4,096 bytes including its name: the sign-in would repeat endlessly.
_MAX_COOKIE = 3500


class Signer:
    """Signs and verifies small values, each for one purpose.

    The key is derived from the OIDC client secret, which all web processes share, so changing the secret ends
    every session. The values are signed, not encrypted: the browser can read them.
    """

    def __init__(self, settings: Settings) -> None:
        shared = (settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret.reveal())
        self.key = sha256("\0".join(("sign-in", *shared)).encode()).digest()

    def sign_value(self, purpose: str, value: dict[str, Any]) -> str:
        return str(self._serializer(purpose).dumps(value))

    def read_signed(self, purpose: str, text: str) -> dict[str, Any]:
        """Return the value that was signed for *purpose*; an empty dict where the signature is invalid."""
        try:
            found = self._serializer(purpose).loads(text)
        except (BadData, UnicodeError):
            return {}
        return found if isinstance(found, dict) else {}

    def _serializer(self, purpose: str) -> URLSafeSerializer:
        kinds = {"key_derivation": "hmac", "digest_method": sha256}
        return URLSafeSerializer(self.key, salt=purpose, signer_kwargs=kinds)


@dataclass(frozen=True)
class Sessions:
    """Keeps users signed in for twelve hours from their sign-in, whether active or not.

    Of the names and groups the cookie keeps only those listed in the settings, so that it stays small. The
    role is not stored: it is computed for each request, so removing a user from a list takes effect at once.
    """

    signer: Signer
    roles: Roles
    cookies: CookieJar
    clock: Clock

    def start_session(self, response: Response, identity: Identity) -> None:
        """Set the session cookie for *identity*."""
        attributes = self.roles.list_known(identity.attributes)
        value = {"name": identity.name, "attributes": attributes, "until": self.clock() + SESSION_S}
        while len(signed := self.signer.sign_value("session", value)) > _MAX_COOKIE and attributes:
            del attributes[len(attributes) // 2 :]
        self.cookies.set_cookie(response, _COOKIE, signed, SESSION_S)

    def find_identity(self) -> Identity | None:
        """Return the signed-in user; None where there is no session or it has expired."""
        session = self.signer.read_signed("session", self.cookies.read_cookie(_COOKIE))
        if not session or self.clock() >= session["until"]:
            return None
        return Identity(session["name"], frozenset(session["attributes"]))

    def end_session(self, response: Response) -> None:
        """Delete the session cookie."""
        self.cookies.delete_cookie(response, _COOKIE)


def build_sessions(settings: Settings, clock: Clock) -> Sessions:
    """Return the sessions of the configured provider's users."""
    return Sessions(Signer(settings), Roles(settings), CookieJar(settings.public_url), clock)
