"""The Flask application: all blueprints, request guards and response headers are registered here."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Flask, Response, request

from receiver.app.services import Services
from receiver.incidents.open_incidents import OpenIncidents
from receiver.web.api.incidents import IncidentHandler
from receiver.web.api.routes import DocumentHandler, build_api
from receiver.web.api.status import MaintenanceHandler, StatusHandler, StormHandler
from receiver.web.auth.guard import RateLimits, RequestGuard
from receiver.web.misaddressed import add_misaddressed_check, ignore_slashes
from receiver.web.monitoring import ProcessMonitor, build_health
from receiver.web.pages.blueprint import build_pages
from receiver.web.pages.dashboard import IncidentListBuilder, add_dashboard, add_maintenance_forms, add_storm
from receiver.web.pages.history import add_history
from receiver.web.pages.incident import add_incident
from receiver.web.pages.routing import add_routing
from receiver.web.pages.runbooks import add_runbooks
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


def create_app(services: Services, rate_limits: RateLimits | None) -> Flask:
    """Return the application on *services*; without *rate_limits* requests are not rate-limited."""
    app = Flask("receiver.web")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY + 1
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the default provider has it
    app.jinja_env.globals["url_for"] = url_for
    app.wsgi_app = ignore_slashes(app.wsgi_app)  # type: ignore[method-assign, assignment]
    settings, clock = services.settings, services.clock
    request_guard = RequestGuard(settings, clock, services.run_id, rate_limits)
    app.before_request(request_guard.refuse_other_site)
    # Before tokens are checked: a misaddressed webhook gets its 404 everywhere.
    add_misaddressed_check(app, services)
    request_guard.init_app(app)
    for blueprint in (
        build_pagerduty_hooks(services),
        build_slack_hooks(services),
        build_hooks(services, request_guard),
        *_build_api_and_pages(services),
    ):
        app.register_blueprint(blueprint)
    if settings.oidc_issuer:
        from receiver.web.auth.login import build_signing_in

        app.register_blueprint(build_signing_in(settings, clock, request_guard))
    register_error_handlers(app)
    app.after_request(_finish_response)
    return app


def _build_api_and_pages(services: Services) -> Iterator[Blueprint]:
    clock = services.clock
    processes = ProcessMonitor(services)
    open_incidents = OpenIncidents(services.incidents)
    yield build_health(services, processes, open_incidents)

    incidents, storms = IncidentHandler(services), StormHandler(services)
    maintenance, status = MaintenanceHandler(services), StatusHandler(services, processes)
    yield build_api(incidents, storms, maintenance, status, DocumentHandler(services))

    pages = build_pages(maintenance, clock)
    lists = IncidentListBuilder(services, open_incidents)
    add_dashboard(pages, services, lists, status)
    add_incident(pages, services, incidents, status)
    add_storm(pages, storms, lists, status)
    add_history(pages, services)
    add_runbooks(pages, services)
    add_routing(pages, services)
    add_maintenance_forms(pages, maintenance, services)
    yield pages


def _finish_response(response: Response) -> Response:
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
