"""The Flask application: every door in one place."""

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

# Pages are ours alone: no script but ours and none in the page, nothing from elsewhere, in nobody's frame.
_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# On every answer: a browser may show an error, or what it should not have asked for, as a page, too.
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With no-referrer, browsers would say `null` for the origin of our own forms.
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
    """Return the application on *parts*; *settings* and *routing* are those the parts were built of.

    Without *rate_limits* nobody comes too often.
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
    )  # before tokens are asked for: a lost webhook is told so everywhere
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
        if request.path.startswith("/webhooks/"):  # to programs, as fast as can be
            response.headers["X-Content-Type-Options"] = "nosniff"
            return response
        here = request.host_url  # before it, where werkzeug leads from two slashes to one
        if (location := response.headers.get("Location", "")).startswith(here):
            response.headers["Location"] = make_relative("/" + location.removeprefix(here))
        for name, value in _HEADERS.items():
            response.headers[name] = value
        if request.endpoint == "static":
            response.headers["Cache-Control"] = "max-age=300"
        return response

    return app
