"""The Flask application: all blueprints, request guards and response headers are registered here."""

from __future__ import annotations

from flask import Flask, Response, request

from receiver.app.services import Services
from receiver.config.model import Routing
from receiver.config.settings import Settings
from receiver.web.api.routes import build_api
from receiver.web.auth.guard import RateLimits, RequestGuard
from receiver.web.misaddressed import MisaddressedWebhooks, ignore_slashes
from receiver.web.monitoring import build_health
from receiver.web.pages.blueprint import build_pages
from receiver.web.server.errors import register_error_handlers
from receiver.web.urls import make_relative, url_for
from receiver.web.webhooks import MAX_BODY, build_hooks, build_pagerduty_hooks, build_slack_hooks

# Pages load only our own scripts and styles, no inline scripts, nothing from other hosts, and in no frame.
_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Set on every response: a browser may also render an error or a JSON response as a page.
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With no-referrer, browsers would send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def create_app(
    services: Services,
    settings: Settings | None = None,
    routing: Routing | None = None,
    rate_limits: RateLimits | None = None,
) -> Flask:
    """Return the application on *services*; *settings* and *routing* are the ones *services* was built from.

    Without *rate_limits* requests are not rate-limited.
    """
    del settings, routing
    app = Flask("receiver.web")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY + 1
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the default provider has it
    app.jinja_env.globals["url_for"] = url_for
    app.wsgi_app = ignore_slashes(app.wsgi_app)  # type: ignore[method-assign, assignment]
    request_guard = RequestGuard(services, rate_limits)
    request_guard.guard_against_sites(app)
    MisaddressedWebhooks(services).init_app(
        app
    )  # before tokens are checked: a misaddressed webhook gets its 404 everywhere
    request_guard.init_app(app)
    app.register_blueprint(build_pagerduty_hooks(services))
    app.register_blueprint(build_slack_hooks(services))
    for blueprint in (
        build_hooks(services, request_guard),
        build_api(services),
        build_health(services),
        build_pages(services),
    ):
        app.register_blueprint(blueprint)
    if services.settings.oidc_issuer:
        from receiver.web.auth.login import build_signing_in

        app.register_blueprint(build_signing_in(services, request_guard))
    register_error_handlers(app)

    @app.after_request
    def finish(response: Response) -> Response:
        if request.path.startswith("/webhooks/"):  # read by programs only: skip the rest for speed
            response.headers["X-Content-Type-Options"] = "nosniff"
            return response
        here = request.host_url  # absolute where werkzeug redirects from `//` to `/`
        if (location := response.headers.get("Location", "")).startswith(here):
            response.headers["Location"] = make_relative("/" + location.removeprefix(here))
        for name, value in _HEADERS.items():
            response.headers[name] = value
        if request.endpoint == "static":
            response.headers["Cache-Control"] = "max-age=300"
        return response

    return app
