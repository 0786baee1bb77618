"""Signing in with an OpenID provider, and out again."""

from __future__ import annotations

import logging
import re

from flask import Blueprint, make_response, redirect, render_template, request
from werkzeug.wrappers import Response

from receiver.config.settings import CALLBACK
from receiver.errors import ProviderUnavailable, SignInDenied
from receiver.web.answers import error_response
from receiver.web.doors import SIGN_IN, SIGN_OUT, RequestGuard
from receiver.web.people.claims import parse_identity
from receiver.web.people.roles import Roles
from receiver.web.people.sessions import Sessions, Signer
from receiver.web.people.tries import LoginFlow, safe_redirect_path
from receiver.web.people.visitor import Identity
from receiver.web.relative import make_relative
from receiver.wiring.parts import Services
from receiver.wiring.provider import build_oidc_client

logger = logging.getLogger(__name__)

_TITLE = "You can't sign in"
_ERROR = re.compile(r"[a-z_]{1,40}", re.ASCII)


def build_signing_in(services: Services, request_guard: RequestGuard) -> Blueprint:
    """Return the routes; only where a provider is configured."""
    settings = services.settings
    pages = Blueprint("signing_in", __name__)
    oidc_client = build_oidc_client(settings, services.clock)
    signer, roles = Signer(settings), Roles(settings)
    login_flow = LoginFlow(signer, settings.public_url, services.clock)
    sessions = Sessions(settings, signer, services.clock)

    @pages.get(SIGN_IN)
    def sign_in() -> Response:
        """Send the browser to the provider; with `by=token`, have it ask for a token instead."""
        path = safe_redirect_path(request.args.get("next", "/"))
        if request.args.get("by") == "token":
            return request_guard.require_api_token() or redirect(make_relative(path), 303)
        attempt, browser = login_flow.start(path)
        try:
            response = redirect(oidc_client.authorization_url(attempt.sign_in), 303)
        except ProviderUnavailable as error:
            return _provider_unavailable(error)
        login_flow.save_cookie(response, browser)
        return response

    @pages.get(CALLBACK)
    def handle_callback() -> Response:
        """Take the provider's word for who it is, and show the page that they wanted."""
        try:
            attempt = login_flow.get_attempt(request.args.get("state", ""))
            identity = parse_identity(
                oidc_client.fetch_claims(attempt.sign_in, _get_code()), settings.oidc_groups_claim
            )
        except ProviderUnavailable as error:
            return _provider_unavailable(error)
        except SignInDenied as error:
            fields = {"reason": str(error), "from": request.remote_addr}
            logger.warning("sign-in denied", extra={"fields": fields, "state": "sign-in denied"})
            return request_guard.record_failure() or error_response(
                403, f"{error}; begin again", title=_TITLE
            )
        return _complete_sign_in(identity, attempt.path)

    @pages.post(SIGN_OUT)
    def sign_out() -> Response:
        """End the session here; the provider's own goes on."""
        response = make_response(render_template("signed_out.html"))
        sessions.end_session(response)
        return response

    def _complete_sign_in(identity: Identity, path: str) -> Response:
        role = roles.find_role(identity.attributes)
        fields = {"name": identity.name, "role": role, "from": request.remote_addr}
        if role is None:
            logger.warning("sign-in denied: no role", extra={"fields": fields})
            return request_guard.deny_unlisted(identity)
        logger.info("signed in", extra={"fields": fields})
        response = redirect(make_relative(path), 303)
        sessions.start_session(response, identity)
        return response

    return pages


def _get_code() -> str:
    """Return the code that the provider gave; SignInRefused where it gave an error."""
    code, error = request.args.get("code", ""), request.args.get("error", "")
    if not code:
        reason = error if _ERROR.fullmatch(error) else "no code"
        raise SignInDenied(f"the provider says {reason}")
    return code


def _provider_unavailable(error: ProviderUnavailable) -> Response:
    extra = {"fields": {"reason": str(error)}, "state": "OpenID provider"}
    logger.warning("OpenID provider can't be asked", extra=extra)
    return error_response(502, f"the provider can't be asked: {error}", title=_TITLE)
