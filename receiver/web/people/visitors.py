"""Knows whoever comes: by a token, by the word of a trusted proxy, or since they signed in."""

from __future__ import annotations

from collections.abc import Callable

from flask import Request

from receiver.config.settings import Settings
from receiver.web.access import find_token
from receiver.web.people.proxy import TrustedProxy
from receiver.web.people.roles import Roles
from receiver.web.people.sessions import Sessions, Signer
from receiver.web.people.visitor import AuthMethod, Identity, Principal, Role, clean_name


class Authenticator:
    """Tells who a request is from. A token that is right goes before all else: whoever shows it means it."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._requires_auth = settings.requires_auth
        self._tokens = ((settings.api_tokens, Role.RESPONDER), (settings.viewer_tokens, Role.VIEWER))
        self._roles = Roles(settings)
        self._proxy = TrustedProxy(settings)
        self._sessions = Sessions(settings, Signer(settings), clock) if settings.oidc_issuer else None

    def authenticate(self, request: Request) -> Principal | Identity | None:
        """Return a visitor; an Identity for somebody who may not come in; None for a stranger."""
        if not self._requires_auth:
            return Principal(_find_login(request), Role.RESPONDER, AuthMethod.OPEN)
        if principal := self.find_by_token(request):
            return principal
        if identity := self._proxy.find_identity(request):
            return self._authorize(identity, AuthMethod.PROXY)
        signed_in = self._sessions.find_identity() if self._sessions is not None else None
        return self._authorize(signed_in, AuthMethod.SIGN_IN) if signed_in is not None else None

    def find_by_token(self, request: Request) -> Principal | None:
        """Return who shows one of our tokens."""
        for tokens, role in self._tokens:
            if token := find_token(request, tokens):
                return Principal(_find_login(request), role, AuthMethod.TOKEN, token.digest)
        return None

    def _authorize(self, identity: Identity, auth_method: AuthMethod) -> Principal | Identity:
        role = self._roles.find_role(identity.attributes)
        return Principal(identity.name, role, auth_method) if role else identity


def _find_login(request: Request) -> str:
    """Return the name that somebody gives beside a token: nobody vouches for it."""
    auth = request.authorization
    return clean_name(auth.username or "") if auth and auth.type == "basic" else ""
