"""Authentication by token, proxy or session, rate limits, and the guard in front of all routes."""

from __future__ import annotations

import hmac
import logging
import math
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv6Address, ip_network
from urllib.parse import quote, urlencode, urlsplit

from flask import Flask, Request, Response, g, redirect, request
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.wrappers import Response as BaseResponse

from receiver import metrics
from receiver.clock import Clock
from receiver.config.settings import CALLBACK, Settings
from receiver.text import Secret, one_line
from receiver.web.auth.csrf import CsrfProtection
from receiver.web.auth.principal import (
    AuthMethod,
    Identity,
    Principal,
    Role,
    Roles,
    clean_name,
    current_principal,
    find_proxy_identity,
    parse_ip,
)
from receiver.web.auth.sessions import build_sessions
from receiver.web.server.errors import error_response, wants_html
from receiver.web.server.listen import ListenAddress
from receiver.web.urls import parse_public_url


def has_valid_token(request: Request, tokens: tuple[Secret, ...]) -> bool:
    """Return whether the request carries one of *tokens*; always true where *tokens* is empty."""
    return not tokens or find_token(request, tokens) is not None


def find_token(request: Request, tokens: tuple[Secret, ...]) -> Secret | None:
    """Return the one of *tokens* that the request carries, as a bearer token or as the basic auth password.

    All tokens are compared, by their digests and in constant time, so that the response time reveals neither
    a token nor its length.
    """
    auth = request.authorization
    value = auth and {"basic": auth.password, "bearer": auth.token}.get(auth.type)
    presented = _digest(value or "")
    matches = [token for token in tokens if hmac.compare_digest(presented, _digest(token.reveal()))]
    return matches[0] if matches else None


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


# Above this number, the key that was used least recently is dropped: an attacker with more addresses than
# this is not limited by the count.
MAX_KEYS = 10_000


@dataclass
class IpRateLimiter:
    """A token bucket for each key: *burst* requests at once, refilled at *per_s* per second."""

    burst: int
    per_s: float
    clock: Clock
    _full_at: OrderedDict[str, float] = field(default_factory=OrderedDict)  # when its bucket is full again

    def acquire(self, key: str) -> float:
        """Take one token and return 0; else take none and return the seconds until there is one."""
        now, whole_s = self.clock(), self.burst / self.per_s
        # After a clock was set back, the wait is never longer than for a full bucket.
        full_at = min(max(self._full_at.pop(key, now), now), now + whole_s)
        wait_s = full_at + 1 / self.per_s - now - whole_s
        self._full_at[key] = full_at if wait_s > 1e-9 else full_at + 1 / self.per_s
        if len(self._full_at) > MAX_KEYS:
            self._full_at.popitem(last=False)
        return wait_s if wait_s > 1e-9 else 0.0


def client_key(address: str | None) -> str:
    """Return the rate limit key of a client: its IPv4 address or IPv6 /64 network; empty on a Unix socket."""
    found = parse_ip(address or "")
    if isinstance(found, IPv6Address):
        return str(ip_network((found, 64), strict=False).network_address)
    return str(found or "")


class Authenticator:
    """Finds out who sent a request. A valid token takes precedence over a proxy's header and a session."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._tokens = ((settings.api_tokens, Role.RESPONDER), (settings.viewer_tokens, Role.VIEWER))
        self._settings, self._roles = settings, Roles(settings)
        self._sessions = build_sessions(settings, clock) if settings.oidc_issuer else None

    def authenticate(self, request: Request) -> Principal | Identity | None:
        """Return a Principal; an Identity that has no role; None for an unauthenticated request."""
        if not self._settings.requires_auth:
            return Principal(_find_login(request), Role.RESPONDER, AuthMethod.OPEN)
        if principal := self.find_by_token(request):
            return principal
        if identity := find_proxy_identity(request, self._settings):
            return self._authorize_identity(identity, AuthMethod.PROXY)
        signed_in = self._sessions.find_identity() if self._sessions is not None else None
        return self._authorize_identity(signed_in, AuthMethod.SIGN_IN) if signed_in is not None else None

    def find_by_token(self, request: Request) -> Principal | None:
        """Return the principal of a valid API or viewer token."""
        for tokens, role in self._tokens:
            if token := find_token(request, tokens):
                return Principal(_find_login(request), role, AuthMethod.TOKEN, token.digest)
        return None

    def _authorize_identity(self, identity: Identity, auth_method: AuthMethod) -> Principal | Identity:
        role = self._roles.find_role(identity.attributes)
        return Principal(identity.name, role, auth_method) if role else identity


def _find_login(request: Request) -> str:
    """Return the user name sent with basic auth beside a token; it is not verified."""
    auth = request.authorization
    return clean_name(auth.username or "") if auth and auth.type == "basic" else ""


logger = logging.getLogger(__name__)
_OPEN_PATHS = frozenset({"/healthz", "/readyz"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# Where Prometheus, a ruler or vmalert posts its alerts, as to an Alertmanager.
ALERTS_API = "/api/v2/alerts"
# Slack and PagerDuty sign their webhooks, so these need no token.
_SIGNED_WEBHOOKS = ("/webhooks/slack", "/webhooks/pagerduty")
_BELOW_SIGNED = tuple(f"{path}/" for path in _SIGNED_WEBHOOKS)
SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"
# Maximum body size of a form or an API request.
MAX_BODY = 64 * 1024


class RateLimits:
    """The rate limits on requests, counted separately in each web process.

    Authenticated requests are counted by token and name. Sign-ins have a limit of their own, by address:
    behind one proxy all clients share an address, and unauthenticated requests there must not block users who
    are signed in. A valid token is accepted however many wrong ones came before.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.failures = IpRateLimiter(burst=20, per_s=20 / 60, clock=clock)
        self.sign_ins = IpRateLimiter(burst=60, per_s=1, clock=clock)
        self.requests = IpRateLimiter(burst=300, per_s=50, clock=clock)


class RequestGuard:
    """Checks authentication, rate limits and the origin of every request."""

    def __init__(self, settings: Settings, clock: Clock, run_id: str, rate_limits: RateLimits | None) -> None:
        """Without *rate_limits* requests are not rate-limited. *run_id* names the `run` we belong to."""
        self._settings, self._rate_limits = settings, rate_limits
        self._sign_in_paths = {SIGN_IN, CALLBACK, SIGN_OUT} if settings.oidc_issuer else set()
        self._authenticator = Authenticator(settings, clock)
        self._public = parse_public_url(settings.public_url)
        secrets = (*settings.api_tokens, *filter(None, [settings.oidc_client_secret]))
        self._csrf = CsrfProtection(secrets, run_id, settings.public_url)

    def init_app(self, app: Flask) -> None:
        """Check the requests to all routes of *app* except the webhooks, which have their own checks."""
        app.jinja_env.globals["csrf_field"] = self._csrf.render_field
        app.jinja_env.globals["is_open_to_all"] = self.is_open_to_all
        app.jinja_env.globals["current_principal"] = current_principal
        app.jinja_env.globals["can_respond"] = can_respond
        app.jinja_env.globals["can_sign_in"] = bool(self._sign_in_paths)
        app.jinja_env.globals["sign_in_url"] = self._sign_in_url
        app.before_request(self._check_request)
        app.after_request(self._csrf.save_cookie)

    def require_token(self, tokens: tuple[Secret, ...], name: str) -> Response | None:
        """Return a 401 unless the request carries one of *tokens*, the values of setting *name*."""
        return None if has_valid_token(request, tokens) else self._refuse_without_token(name)

    def require_api_token(self) -> Response | None:
        """Return a 401 unless the request carries an API or viewer token; it makes a browser ask for one."""
        if self._authenticator.find_by_token(request):
            return None
        return self._refuse_without_token("RECEIVER_API_TOKEN")

    def deny_unlisted(self, identity: Identity) -> Response:
        """Return a 403 for an identity without a role."""
        lists = "RECEIVER_RESPONDERS nor in RECEIVER_VIEWERS"
        return _refuse_request(
            "unlisted", 403, f"you are {identity.name} and neither in {lists}", title="Not you"
        )

    def record_failure(self) -> Response | None:
        """Count a failed authentication of the client's address; return a 429 if there were too many."""
        limits = self._rate_limits
        wait_s = limits.failures.acquire(client_key(request.remote_addr)) if limits is not None else 0.0
        message = "too many wrong tokens came from your address"
        return _refuse_request("too_many_failures", 429, message, wait_s) if wait_s else None

    def is_open_to_all(self) -> bool:
        """Return whether other hosts can reach us without a token, because of --insecure."""
        is_open = not (self._settings.requires_auth and self._settings.webhook_tokens)
        return is_open and not _is_on_loopback()

    def _check_request(self) -> BaseResponse | None:
        path = request.path
        if path in _OPEN_PATHS or path.startswith("/static/"):
            return None
        if path.startswith("/webhooks/") or path == ALERTS_API:
            # Each webhook checks its own token; for an unknown path, an unauthenticated client gets 401
            # instead of 404.
            is_ours, tokens = request.url_rule is not None, self._settings.webhook_tokens
            return None if is_ours else self.require_token(tokens, "RECEIVER_WEBHOOK_TOKEN")
        request.max_content_length = MAX_BODY
        is_signing_in = path in self._sign_in_paths
        if not is_signing_in and (response := self._authenticate_request()):
            return response
        if path == "/metrics":
            return None
        if wait_s := self._acquire_request(is_signing_in=is_signing_in):
            return _refuse_request("too_many_requests", 429, "too many requests came from you", wait_s)
        is_safe = request.method in _SAFE_METHODS
        return None if is_safe else self._refuse_unsafe_request(is_form=not path.startswith("/api/"))

    def _acquire_request(self, *, is_signing_in: bool) -> float:
        """Count a request against its rate limit; return the seconds to wait if that is exceeded, else 0."""
        if self._rate_limits is None:
            return 0.0
        limiter = self._rate_limits.sign_ins if is_signing_in else self._rate_limits.requests
        principal = current_principal()
        if is_signing_in or principal is None or principal.auth_method is AuthMethod.OPEN:
            return limiter.acquire(client_key(request.remote_addr))
        return limiter.acquire(f"{principal.auth_method} {principal.digest} {principal.name}")

    def refuse_other_site(self) -> Response | None:
        """Refuse what another site's page made a browser send, on routes that need no token.

        The same-origin policy does not protect us if the attacker's host name resolves to our address (DNS
        rebinding), and it lets any page send `text/plain` to us. So if we listen on loopback only, we answer
        only to host names that an attacker can't point at us; otherwise to any name, or to those of
        RECEIVER_ALLOWED_HOSTS if it is set.
        """
        if self._requires_token(request.path):
            return None
        if not self._is_allowed_host(request.host):
            refusal = f"without a token we do not answer to the name {one_line(request.host, 80)}"
            return _refuse_request(
                "unknown_host", 403, f"{refusal}: set PUBLIC_URL or RECEIVER_ALLOWED_HOSTS, or a token"
            )
        if not self._is_same_origin() and not _is_navigation():
            return _refuse_cross_site()
        return None

    def _requires_token(self, path: str) -> bool:
        if path.startswith("/webhooks/") or path == ALERTS_API:
            tokens = self._settings.webhook_tokens
            return bool(tokens) or path in _SIGNED_WEBHOOKS or path.startswith(_BELOW_SIGNED)
        return self._settings.requires_auth

    def _is_allowed_host(self, host: str) -> bool:
        """Return whether *host* is allowed, or one that an attacker can't point at us: an IP address,
        localhost or the host of PUBLIC_URL.
        """
        name = _parse_hostname(host)
        is_ip_or_localhost = name == "localhost" or name.replace(".", "").isdigit() or ":" in name
        if is_ip_or_localhost or name == _parse_hostname(self._public.host) != "":
            return True
        allowed = self._settings.allowed_hosts
        return name in allowed if allowed else not _is_on_loopback()

    def _authenticate_request(self) -> BaseResponse | None:
        """Set `g.principal`, or return a response that refuses the request or redirects it to the sign-in."""
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
            # An open page polls in the background: HX-Refresh reloads it, which redirects to the provider.
            # The browser's own password prompt would be of no use.
            refused.headers.pop("WWW-Authenticate", None)
            refused.headers["HX-Refresh"] = "true"
        return refused

    def _sign_in_url(self) -> str:
        """Return the URL of the sign-in at PUBLIC_URL, where the provider redirects and cookies belong."""
        is_at_public_url = request.host.lower() == self._public.host and not self._public.path
        return SIGN_IN if is_at_public_url else f"{self._public.url}{SIGN_IN}"

    def _refuse_without_token(self, name: str) -> Response:
        if "Authorization" in request.headers and self._rate_limits is not None:
            if refused := self.record_failure():
                return refused
            fields = {"path": request.path, "from": request.remote_addr}
            logger.warning("wrong token", extra={"fields": fields, "state": "wrong token"})
        return _refuse_request("token", 401, f"send {name} as a bearer token or as basic auth's password")

    def _refuse_unsafe_request(self, *, is_form: bool) -> Response | None:
        """Refuse an unsafe request if another site's page sent it or the principal may only read."""
        if not self._is_same_origin():
            return _refuse_cross_site()
        if request.path not in self._sign_in_paths and not can_respond():
            return _refuse_request("viewer", 403, _describe_read_only(), title="You may only read")
        # A page has no form for this method: the answer is 405.
        is_allowed = not isinstance(request.routing_exception, MethodNotAllowed)
        if is_form and is_allowed and not self._csrf.is_valid():
            return _refuse_request("form", 403, "this form is not of the page you last saw; load it again")
        return None

    def _is_same_origin(self) -> bool:
        """Return whether one of our pages sent the request, or a client that is no browser.

        Browsers send Sec-Fetch-Site or Origin, other programs do not. Compare net/http.CrossOriginProtection:
        https://pkg.go.dev/net/http#CrossOriginProtection
        """
        environ = request.environ  # runs for every webhook; werkzeug's headers are ten times slower
        site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN")
        if site is not None:
            return site in ("same-origin", "none")
        return origin is None or self._is_our_origin(origin)

    def _is_our_origin(self, origin: str) -> bool:
        """Return whether *origin* is the origin of our pages.

        Behind a proxy the Host header may be an internal name, while browsers use PUBLIC_URL. If PUBLIC_URL
        uses TLS, an origin with the same host but plain HTTP is refused: an attacker on the network may have
        sent the page.
        """
        host = _parse_origin_host(origin)
        if host and host == self._public.host:
            return origin.lower().startswith("https:") or not self._public.is_secure
        return bool(host) and host == request.host.lower()


def can_respond() -> bool:
    """Return whether the current principal may change anything."""
    principal = current_principal()
    return principal is not None and principal.can_respond


def _requested_path() -> str:
    """Return the path and the query of the request, percent-encoded."""
    query = request.query_string.decode("latin-1")
    return f"{quote(request.path)}?{query}" if query else quote(request.path)


def _describe_read_only() -> str:
    principal = current_principal()
    if principal is None or principal.auth_method is AuthMethod.TOKEN:
        return "this token only reads; one of RECEIVER_API_TOKEN may answer, too"
    return f"you are {principal.name}, a viewer, and only read; RECEIVER_RESPONDERS says who may answer"


def _is_on_loopback() -> bool:
    return ListenAddress(request.environ["SERVER_NAME"], 0).is_loopback


def _is_navigation() -> bool:
    """Return whether the browser follows a link to us; the linking page can't read the response."""
    headers = request.headers
    is_opening = (headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest")) == ("navigate", "document")
    return is_opening and request.method in ("GET", "HEAD")


@lru_cache(maxsize=128)
def _parse_hostname(host: str) -> str:
    """Return the name in `name:port` in lower case; empty where it can't be parsed."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _parse_origin_host(origin: str) -> str:
    """Return `host` or `host:port`; empty for `null` or where it can't be parsed, which matches no host."""
    try:
        url = urlsplit(origin)
        return url.netloc.lower() if url.hostname else ""
    except ValueError:
        return ""


def _refuse_cross_site() -> Response:
    return _refuse_request("cross_site", 403, "this was sent by a page of somebody else; see PUBLIC_URL")


def _refuse_request(
    reason: str, status: int, message: str, wait_s: float = 0.0, *, title: str = ""
) -> Response:
    metrics.HTTP_REJECTED.labels(reason).inc()
    response = error_response(status, message, title=title)
    if wait_s:
        response.headers["Retry-After"] = str(math.ceil(wait_s))
    return response
