"""Knows whoever comes: by a token, by the word of a trusted proxy, or since they signed in."""

from __future__ import annotations

from collections.abc import Callable

from flask import Request

from receiver.config.settings import Settings
from receiver.web.access import find_token
from receiver.web.people.proxy import TrustedProxy
from receiver.web.people.roles import Roles
from receiver.web.people.sessions import Sessions, Signer
from receiver.web.people.visitor import Identity, Role, Visitor, Way, read_name


class Visitors:
    """Tells who a request is from. A token that is right goes before all else: whoever shows it means it."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._asks = settings.asks_who_comes
        self._tokens = ((settings.api_tokens, Role.RESPONDER), (settings.viewer_tokens, Role.VIEWER))
        self._roles = Roles(settings)
        self._proxy = TrustedProxy(settings)
        self._sessions = Sessions(settings, Signer(settings), clock) if settings.oidc_issuer else None

    def recognise(self, request: Request) -> Visitor | Identity | None:
        """Return a visitor; an Identity for somebody who may not come in; None for a stranger."""
        if not self._asks:
            return Visitor(_read_login(request), Role.RESPONDER, Way.OPEN)
        if visitor := self.find_by_token(request):
            return visitor
        if identity := self._proxy.find(request):
            return self._admit(identity, Way.PROXY)
        signed_in = self._sessions.find() if self._sessions is not None else None
        return self._admit(signed_in, Way.SIGN_IN) if signed_in is not None else None

    def find_by_token(self, request: Request) -> Visitor | None:
        """Return who shows one of our tokens."""
        for tokens, role in self._tokens:
            if token := find_token(request, tokens):
                return Visitor(_read_login(request), role, Way.TOKEN, token.digest)
        return None

    def _admit(self, identity: Identity, way: Way) -> Visitor | Identity:
        role = self._roles.find(identity.marks)
        return Visitor(identity.name, role, way) if role else identity


def _read_login(request: Request) -> str:
    """Return the name that somebody gives beside a token: nobody vouches for it."""
    auth = request.authorization
    return read_name(auth.username or "") if auth and auth.type == "basic" else ""
