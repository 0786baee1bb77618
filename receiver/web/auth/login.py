"""The sign-in at the OIDC provider: its routes and the state of login attempts.

A browser keeps one random cookie for all its login attempts, so that several tabs can sign in at once and the
server stores nothing. The rest of an attempt is in its `state` parameter, signed for that cookie, or is
derived from both with our key.
"""

from __future__ import annotations

import hmac
import logging
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any

from flask import Blueprint, make_response, redirect, render_template, request
from werkzeug.wrappers import Response

from receiver.clock import Clock
from receiver.config.settings import CALLBACK, Settings
from receiver.errors import ProviderUnavailable, SignInDenied
from receiver.web.auth.csrf import new_random
from receiver.web.auth.guard import SIGN_IN, SIGN_OUT, RequestGuard
from receiver.web.auth.oidc import LoginAttempt, OidcClient, clean_error
from receiver.web.auth.principal import parse_identity
from receiver.web.auth.sessions import Sessions, build_sessions
from receiver.web.server.errors import error_response
from receiver.web.urls import make_relative

logger = logging.getLogger(__name__)
_TITLE = "You can't sign in"
# Long enough to look up a password and a second factor.
LOGIN_ATTEMPT_S = 15 * 60
_COOKIE = "receiver_sign_in"
_MAX_PATH = 500
# A path on this host: it begins with a single `/`, not with `//` or `/\`, which browsers read as the start of
# a host name, and has only printable ASCII characters without `\`.
_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*", re.ASCII)


@dataclass(frozen=True)
class LoginFlow:
    """Starts login attempts, and finds them again when the provider redirects back."""

    sessions: Sessions

    def start_attempt(self, path: str) -> tuple[LoginAttempt, str]:
        """Return a new login attempt that leads to *path*, and the value of the browser's cookie."""
        browser = self.sessions.cookies.find_random(_COOKIE) or new_random()
        value = {"id": token_urlsafe(16), "path": path, "until": self.sessions.clock() + LOGIN_ATTEMPT_S}
        state = self.sessions.signer.sign_value(f"login {browser}", value)
        return self._build_attempt(state, browser, value), browser

    def get_attempt(self, state: str) -> LoginAttempt:
        """Return the attempt of *state*; raises SignInDenied if another browser started it or it expired."""
        browser = self.sessions.cookies.find_random(_COOKIE)
        value = self.sessions.signer.read_signed(f"login {browser}", state) if browser else {}
        if not value:
            raise SignInDenied("this browser didn't begin to sign in here")
        if self.sessions.clock() >= value["until"]:
            raise SignInDenied("signing in took too long")
        return self._build_attempt(state, browser, value)

    def _build_attempt(self, state: str, browser: str, value: Mapping[str, Any]) -> LoginAttempt:
        def derive(what: str) -> str:
            message = f"{what} {browser} {value['id']}".encode()
            digest = hmac.new(self.sessions.signer.key, message, sha256).digest()
            return urlsafe_b64encode(digest).decode().rstrip("=")

        return LoginAttempt(state, derive("nonce"), derive("verifier"), value["path"])


def safe_redirect_path(path: str) -> str:
    """Return *path* if it is a path of our pages, else `/`."""
    is_ours = len(path) <= _MAX_PATH and bool(_PATH.fullmatch(path))
    return "/" if not is_ours or path.startswith((SIGN_IN, SIGN_OUT)) else path


def build_signing_in(settings: Settings, clock: Clock, request_guard: RequestGuard) -> Blueprint:
    """Return the blueprint of the sign-in; only for a configured provider."""
    pages = Blueprint("signing_in", __name__)
    oidc_client = OidcClient(settings, clock)
    sessions = build_sessions(settings, clock)
    login_flow = LoginFlow(sessions)

    @pages.get(SIGN_IN)
    def sign_in() -> Response:
        """Redirect to the provider; with `by=token`, make the browser prompt for a token instead."""
        path = safe_redirect_path(request.args.get("next", "/"))
        if request.args.get("by") == "token":
            return request_guard.require_api_token() or redirect(make_relative(path), 303)
        attempt, browser = login_flow.start_attempt(path)
        try:
            response = redirect(oidc_client.authorization_url(attempt), 303)
        except ProviderUnavailable as error:
            return _provider_unavailable(error)
        sessions.cookies.set_cookie(response, _COOKIE, browser, LOGIN_ATTEMPT_S)
        return response

    @pages.get(CALLBACK)
    def handle_callback() -> Response:
        """Verify the provider's claims, start a session and redirect to the requested page."""
        try:
            attempt = login_flow.get_attempt(request.args.get("state", ""))
            claims = oidc_client.fetch_claims(attempt, _get_code())
            identity = parse_identity(claims, settings.oidc_groups_claim)
        except ProviderUnavailable as error:
            return _provider_unavailable(error)
        except SignInDenied as error:
            fields = {"reason": str(error), "from": request.remote_addr}
            logger.warning("sign-in denied", extra={"fields": fields, "state": "sign-in denied"})
            refused = error_response(403, f"{error}; begin again", title=_TITLE)
            return request_guard.record_failure() or refused
        role = sessions.roles.find_role(identity.attributes)
        fields = {"name": identity.name, "role": role, "from": request.remote_addr}
        if role is None:
            logger.warning("sign-in denied: no role", extra={"fields": fields})
            return request_guard.deny_unlisted(identity)
        logger.info("signed in", extra={"fields": fields})
        response = redirect(make_relative(attempt.path), 303)
        sessions.start_session(response, identity)
        return response

    @pages.post(SIGN_OUT)
    def sign_out() -> Response:
        """End the session here; the session at the provider continues."""
        response = make_response(render_template("signed_out.html"))
        sessions.end_session(response)
        return response

    return pages


def _get_code() -> str:
    """Return the provider's authorization code; raises SignInDenied where it returned an error."""
    if code := request.args.get("code", ""):
        return code
    raise SignInDenied(f"the provider says {clean_error(request.args.get('error')) or 'no code'}")


def _provider_unavailable(error: ProviderUnavailable) -> Response:
    extra = {"fields": {"reason": str(error)}, "state": "OpenID provider"}
    logger.warning("OpenID provider unavailable", extra=extra)
    return error_response(502, f"the provider can't be asked: {error}", title=_TITLE)
