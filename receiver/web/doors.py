"""What stands before every page and every call of the API, so that none can be forgotten.

Webhooks have doors of their own: `hooks` asks for its token by `RequestGuard.require_token`, the others for a
signature. `/healthz`, `/readyz`, the style sheet and the scripts are open to all, and so is signing in, where
there is a provider.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import quote, urlencode, urlsplit

from flask import Flask, Response, g, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from receiver import metrics
from receiver.config.settings import CALLBACK
from receiver.text import Secret, one_line
from receiver.web.access import has_valid_token
from receiver.web.address import ListenAddress
from receiver.web.answers import error_response
from receiver.web.error_page import wants_html
from receiver.web.forms import CsrfProtection
from receiver.web.meter import IpRateLimiter, client_key
from receiver.web.people.visitor import AuthMethod, Identity, Principal, current_principal
from receiver.web.people.visitors import Authenticator
from receiver.web.public_url import parse_public_url
from receiver.wiring.parts import Services

logger = logging.getLogger(__name__)

_OPEN_PATHS = frozenset({"/healthz", "/readyz"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# Their senders sign what they send.
_SIGNED_WEBHOOKS = ("/webhooks/slack", "/webhooks/pagerduty")
_BELOW_SIGNED = tuple(f"{path}/" for path in _SIGNED_WEBHOOKS)
SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"
# What a form of a page or a question to the API may hold.
MAX_BODY = 64 * 1024


class RateLimits:
    """How often somebody may come; in each web process for itself.

    Whom we know is counted by token and name, and signing in apart: behind one proxy, all have one address,
    and a stranger there must keep nobody out. A right token is never kept out for the wrong ones before it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.failures = IpRateLimiter(burst=20, per_s=20 / 60, clock=clock)
        self.sign_ins = IpRateLimiter(burst=60, per_s=1, clock=clock)
        self.requests = IpRateLimiter(burst=300, per_s=50, clock=clock)


class RequestGuard:
    """Asks whoever comes who they are, how often they come, and from where they were sent."""

    def __init__(self, services: Services, rate_limits: RateLimits | None = None) -> None:
        """Without *rates* everybody may come as often as they like."""
        settings = services.settings
        self._requires_auth = settings.requires_auth
        self._webhook_tokens = settings.webhook_tokens
        self._allowed_hosts = frozenset(settings.allowed_hosts)
        self._sign_in_paths = {SIGN_IN, CALLBACK, SIGN_OUT} if settings.oidc_issuer else set()
        self._authenticator = Authenticator(settings, services.clock)
        self._public = parse_public_url(settings.public_url)
        self._is_open = not (self._requires_auth and settings.webhook_tokens)
        self._rate_limits = rate_limits
        secrets = (*settings.api_tokens, *filter(None, [settings.oidc_client_secret]))
        self._csrf = CsrfProtection(secrets, services.run_id, settings.public_url)

    def guard_against_sites(self, app: Flask) -> None:
        """Refuse on all of *app*'s routes what another site's page sends, where no token is asked for."""
        app.before_request(self._refuse_other_site)

    def init_app(self, app: Flask) -> None:
        """Stand before all of *app*'s routes but the webhooks'."""
        app.jinja_env.globals["csrf_field"] = self._csrf.render_field
        app.jinja_env.globals["is_open_to_all"] = self.is_open_to_all
        app.jinja_env.globals["current_principal"] = current_principal
        app.jinja_env.globals["can_respond"] = can_respond
        app.jinja_env.globals["can_sign_in"] = bool(self._sign_in_paths)
        app.jinja_env.globals["sign_in_url"] = self._sign_in_url
        app.before_request(self._check_request)
        app.after_request(self._csrf.save_cookie)

    def require_token(self, tokens: tuple[Secret, ...], name: str) -> Response | None:
        """Return what to answer to whoever shows none of *tokens*, the values of setting *name*."""
        return None if has_valid_token(request, tokens) else self._refuse_without_token(name)

    def require_api_token(self) -> Response | None:
        """Return what to answer to whoever shows no token of the API, so that a browser asks for one."""
        return (
            None
            if self._authenticator.find_by_token(request)
            else self._refuse_without_token("RECEIVER_API_TOKEN")
        )

    def deny_unlisted(self, identity: Identity) -> Response:
        """Return what to answer to somebody whom we know, and who may not come in."""
        lists = "RECEIVER_RESPONDERS nor in RECEIVER_VIEWERS"
        return _refuse("unlisted", 403, f"you are {identity.name} and neither in {lists}", title="Not you")

    def record_failure(self) -> Response | None:
        """Count that an address showed what was wrong; return what to answer where that is too often."""
        wait_s = self._rate_limits.failures.acquire(_client_key()) if self._rate_limits is not None else 0.0
        if not wait_s:
            return None
        return _refuse("too_many_failures", 429, "too many wrong tokens came from your address", wait_s)

    def is_open_to_all(self) -> bool:
        """Tell whether other machines reach us and are asked for no token: somebody said --insecure."""
        return self._is_open and not _is_on_loopback()

    def _check_request(self) -> BaseResponse | None:
        path = request.path
        if path in _OPEN_PATHS or path.startswith("/static/"):
            return None
        if path.startswith("/webhooks/"):
            # Each asks by itself; where there is none of ours, a stranger is not told so.
            is_ours = request.url_rule is not None
            return None if is_ours else self.require_token(self._webhook_tokens, "RECEIVER_WEBHOOK_TOKEN")
        request.max_content_length = MAX_BODY
        is_signing_in = path in self._sign_in_paths
        if not is_signing_in and (response := self._authenticate()):
            return response
        if path == "/metrics":
            return None
        if wait_s := self._acquire_request(is_signing_in=is_signing_in):
            return _refuse("too_many_requests", 429, "too many requests came from you", wait_s)
        is_safe = request.method in _SAFE_METHODS
        return None if is_safe else self._refuse_unsafe_request(is_form=not path.startswith("/api/"))

    def _acquire_request(self, *, is_signing_in: bool) -> float:
        """Count a request; return how many seconds to wait where that is one too many."""
        if self._rate_limits is None:
            return 0.0
        limiter = self._rate_limits.sign_ins if is_signing_in else self._rate_limits.requests
        principal = current_principal()
        if is_signing_in or principal is None or principal.auth_method is AuthMethod.OPEN:
            return limiter.acquire(_client_key())
        return limiter.acquire(f"{principal.auth_method} {principal.digest} {principal.name}")

    # --- where no token is asked for ---

    def _refuse_other_site(self) -> Response | None:
        """Refuse what a page of somebody else makes a browser ask, where no token is asked for.

        A browser keeps such a page from reading our answers only as long as its name is not one that leads to
        us (DNS rebinding), and lets it send `text/plain` to anybody. So where only this machine reaches us,
        we answer to names that nobody else can let lead here; beyond that to any, or those of
        RECEIVER_ALLOWED_HOSTS.
        """
        if self._requires_token(request.path):
            return None
        if not self._is_allowed_host(request.host):
            hint = "set PUBLIC_URL or RECEIVER_ALLOWED_HOSTS, or a token"
            shown = one_line(request.host, 80)
            return _refuse(
                "unknown_host", 403, f"without a token we do not answer to the name {shown}: {hint}"
            )
        if not self._is_same_origin() and not _is_navigation():
            return _refuse("cross_site", 403, "this was sent by a page of somebody else; see PUBLIC_URL")
        return None

    def _requires_token(self, path: str) -> bool:
        if path.startswith("/webhooks/"):
            return bool(self._webhook_tokens) or path in _SIGNED_WEBHOOKS or path.startswith(_BELOW_SIGNED)
        return self._requires_auth

    def _is_allowed_host(self, host: str) -> bool:
        if self._is_our_host(host.lower()):
            return True
        if self._allowed_hosts:
            return _parse_hostname(host.lower()) in self._allowed_hosts
        return not _is_on_loopback()

    def _authenticate(self) -> BaseResponse | None:
        """Note who comes, or return what to answer to somebody who may not come in."""
        found = self._authenticator.authenticate(request)
        if isinstance(found, Principal):
            g.principal = found
            return None
        if found is not None:
            return self.deny_unlisted(found)
        is_fragment = "HX-Request" in request.headers
        can_redirect = request.method == "GET" and wants_html() and not is_fragment
        if self._sign_in_paths and can_redirect and "Authorization" not in request.headers:
            return redirect(f"{self._sign_in_url()}?{urlencode({'next': _requested_path()})}", 303)
        refused = self._refuse_without_token("RECEIVER_API_TOKEN")
        if self._sign_in_paths and (is_fragment or wants_html()):
            # A page that is open asks again and again: it is loaded anew, which leads to the provider, and
            # the browser's own question for a password helps nobody.
            refused.headers.pop("WWW-Authenticate", None)
            refused.headers["HX-Refresh"] = "true"
        return refused

    def _sign_in_url(self) -> str:
        """Return where to sign in: at PUBLIC_URL, where the provider leads back to and the cookies are."""
        is_at_public_url = request.host.lower() == self._public.host and not self._public.path
        return SIGN_IN if is_at_public_url else f"{self._public.url}{SIGN_IN}"

    def _refuse_without_token(self, name: str) -> Response:
        if "Authorization" in request.headers and self._rate_limits is not None:
            if refused := self.record_failure():
                return refused
            fields = {"path": request.path, "from": request.remote_addr}
            logger.warning("wrong token refused", extra={"fields": fields, "state": "wrong token"})
        return _refuse("token", 401, f"send {name} as a bearer token or as basic auth's password")

    def _refuse_unsafe_request(self, *, is_form: bool) -> Response | None:
        """Refuse what a page of somebody else made a browser send, with the login that the browser keeps."""
        if not self._is_same_origin():
            return _refuse("cross_site", 403, "this was sent by a page of somebody else; see PUBLIC_URL")
        if request.path not in self._sign_in_paths and not can_respond():
            return _refuse("viewer", 403, _describe_read_only(), title="You may only read")
        if is_form and not self._csrf.is_valid():
            return _refuse("form", 403, "this form is not of the page you last saw; load it again")
        return None

    def _is_same_origin(self) -> bool:
        """Tell whether a page of ours sent the request, or no page at all.

        Browsers say where a request comes from, programs don't. Compare net/http.CrossOriginProtection:
        https://pkg.go.dev/net/http#CrossOriginProtection
        """
        environ = request.environ  # asked of every webhook; werkzeug's headers take ten times as long
        site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN")
        if site is not None:
            return site in ("same-origin", "none")
        return origin is None or self._is_our_origin(origin)

    def _is_our_origin(self, origin: str) -> bool:
        """Tell whether a page at *origin* is ours.

        Behind a proxy the Host may be the proxy's name for us, and browsers are at PUBLIC_URL. With TLS
        there, a page at that name without it may be of somebody between.
        """
        host = _parse_origin_host(origin)
        if host and host == self._public.host:
            return origin.lower().startswith("https:") or not self._public.is_secure
        return bool(host) and host == request.host.lower()

    def _is_our_host(self, host: str) -> bool:
        """Tell whether a page at *host* can only be ours: nobody else can let that name lead here."""
        return _is_ip_or_localhost(host) or _parse_hostname(host) == _parse_hostname(self._public.host) != ""


def can_respond() -> bool:
    """Tell whether whoever comes may change anything."""
    principal = current_principal()
    return principal is not None and principal.can_respond


def _requested_path() -> str:
    """Return what the request is for, written as in an address."""
    query = request.query_string.decode("latin-1")
    return f"{quote(request.path)}?{query}" if query else quote(request.path)


def _describe_read_only() -> str:
    principal = current_principal()
    if principal is None or principal.auth_method is AuthMethod.TOKEN:
        return "this token only reads; one of RECEIVER_API_TOKEN may answer, too"
    return f"you are {principal.name}, a viewer, and only read; RECEIVER_RESPONDERS says who may answer"


def _client_key() -> str:
    return client_key(request.remote_addr)


def _is_on_loopback() -> bool:
    return ListenAddress(request.environ["SERVER_NAME"], 0).is_loopback


def _is_navigation() -> bool:
    """Tell whether somebody follows a link to us, as in a chat; its page can't read what we answer."""
    headers = request.headers
    is_opening = (headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest")) == ("navigate", "document")
    return is_opening and request.method in ("GET", "HEAD")


@lru_cache(maxsize=128)
def _is_ip_or_localhost(host: str) -> bool:
    name = _parse_hostname(host)
    return name == "localhost" or name.replace(".", "").isdigit() or ":" in name


def _parse_hostname(host: str) -> str:
    """Return the name in `name:port`; empty for nonsense, which is nobody's."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _parse_origin_host(origin: str) -> str:
    """Return `host` or `host:port`; empty for `null` and for nonsense, which is nobody's."""
    try:
        url = urlsplit(origin)
        return url.netloc.lower() if url.hostname else ""
    except ValueError:
        return ""


def _refuse(reason: str, status: int, message: str, wait_s: float = 0.0, *, title: str = "") -> Response:
    metrics.HTTP_REJECTED.labels(reason).inc()
    response = error_response(status, message, title=title)
    if wait_s:
        response.headers["Retry-After"] = str(math.ceil(wait_s))
    return response
