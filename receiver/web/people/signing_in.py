"""Signing in with an OpenID provider, and out again."""

from __future__ import annotations

import logging
import re

from flask import Blueprint, make_response, redirect, render_template, request
from werkzeug.wrappers import Response

from receiver.config.ways_in import CALLBACK
from receiver.errors import ProviderAway, SignInRefused
from receiver.web.answers import refuse
from receiver.web.doors import SIGN_IN, SIGN_OUT, Doors
from receiver.web.people.claims import read_identity
from receiver.web.people.roles import Roles
from receiver.web.people.sessions import Sessions, Signer
from receiver.web.people.tries import Tries, keep_here
from receiver.web.people.visitor import Identity
from receiver.web.relative import make_relative
from receiver.wiring import Parts
from receiver.wiring.provider import build_provider

logger = logging.getLogger(__name__)

_TITLE = "You can't sign in"
_ERROR = re.compile(r"[a-z_]{1,40}", re.ASCII)


def build_signing_in(parts: Parts, doors: Doors) -> Blueprint:
    """Return the routes; only where a provider is configured."""
    settings = parts.settings
    pages = Blueprint("signing_in", __name__)
    provider = build_provider(settings, parts.clock)
    signer, roles = Signer(settings), Roles(settings)
    tries = Tries(signer, settings.public_url, parts.clock)
    sessions = Sessions(settings, signer, parts.clock)

    @pages.get(SIGN_IN)
    def begin() -> Response:
        """Send the browser to the provider; with `by=token`, have it ask for a token instead."""
        path = keep_here(request.args.get("next", "/"))
        if request.args.get("by") == "token":
            return doors.refuse_without_token() or redirect(make_relative(path), 303)
        begun, browser = tries.begin(path)
        try:
            answer = redirect(provider.begin(begun.sign_in), 303)
        except ProviderAway as error:
            return _say_away(error)
        tries.mark(answer, browser)
        return answer

    @pages.get(CALLBACK)
    def end() -> Response:
        """Take the provider's word for who it is, and show the page that they wanted."""
        try:
            begun = tries.find(request.args.get("state", ""))
            identity = read_identity(provider.end(begun.sign_in, _read_code()), settings.oidc_groups_claim)
        except ProviderAway as error:
            return _say_away(error)
        except SignInRefused as error:
            fields = {"reason": str(error), "from": request.remote_addr}
            logger.warning("sign-in refused", extra={"fields": fields, "state": "sign-in refused"})
            return doors.count_failure() or refuse(403, f"{error}; begin again", title=_TITLE)
        return _let_in(identity, begun.path)

    @pages.post(SIGN_OUT)
    def sign_out() -> Response:
        """End the session here; the provider's own goes on."""
        answer = make_response(render_template("signed_out.html"))
        sessions.end(answer)
        return answer

    def _let_in(identity: Identity, path: str) -> Response:
        role = roles.find(identity.marks)
        fields = {"name": identity.name, "role": role, "from": request.remote_addr}
        if role is None:
            logger.warning("sign-in denied: no role", extra={"fields": fields})
            return doors.refuse_unlisted(identity)
        logger.info("signed in", extra={"fields": fields})
        answer = redirect(make_relative(path), 303)
        sessions.begin(answer, identity)
        return answer

    return pages


def _read_code() -> str:
    """Return the code that the provider gave; SignInRefused where it gave an error."""
    code, error = request.args.get("code", ""), request.args.get("error", "")
    if not code:
        said = error if _ERROR.fullmatch(error) else "no code"
        raise SignInRefused(f"the provider says {said}")
    return code


def _say_away(error: ProviderAway) -> Response:
    extra = {"fields": {"reason": str(error)}, "state": "OpenID provider"}
    logger.warning("OpenID provider can't be asked", extra=extra)
    return refuse(502, f"the provider can't be asked: {error}", title=_TITLE)
