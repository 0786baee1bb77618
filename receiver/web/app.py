"""The Flask application: all blueprints, request guards and response headers are registered here."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Flask, Response, request

from receiver.app.channels import build_notification_builder, build_slack_interactions
from receiver.app.services import Services
from receiver.incidents.open_incidents import OpenIncidents
from receiver.web.api.incidents import IncidentHandler
from receiver.web.api.routes import DocumentHandler, build_api
from receiver.web.api.status import (
    ChannelList,
    HeartbeatList,
    MaintenanceHandler,
    StatusHandler,
    StormHandler,
)
from receiver.web.auth.guard import RateLimits, RequestGuard
from receiver.web.misaddressed import add_misaddressed_check, ignore_slashes
from receiver.web.monitoring import GaugeUpdater, ProcessMonitor, build_health
from receiver.web.pages.blueprint import build_pages
from receiver.web.pages.dashboard import IncidentListBuilder, add_dashboard, add_maintenance_forms, add_storm
from receiver.web.pages.history import add_history
from receiver.web.pages.incident import add_incident
from receiver.web.pages.passages import clean_shown
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
    app.jinja_env.finalize = clean_shown
    app.wsgi_app = ignore_slashes(app.wsgi_app)  # type: ignore[method-assign, assignment]
    settings, clock = services.settings, services.clock
    request_guard = RequestGuard(settings, clock, services.run_id, rate_limits)
    app.before_request(request_guard.refuse_other_site)
    # Before tokens are checked: a misaddressed webhook gets its 404 everywhere.
    add_misaddressed_check(app, settings, services.rejected_webhooks)
    request_guard.init_app(app)
    job_queue, interactions = services.job_queue, build_slack_interactions(services)
    tokens = settings.webhook_tokens
    for blueprint in (
        build_pagerduty_hooks(job_queue, settings.pagerduty_webhook_secret, clock),
        build_slack_hooks(interactions, job_queue, settings.slack_signing_secret, clock),
        build_hooks(
            lambda: request_guard.require_token(tokens, "RECEIVER_WEBHOOK_TOKEN"),
            ingester=services.ingester,
            routing=services.routing,
            last_webhooks=services.last_webhooks,
            rejected=services.rejected_webhooks,
            clock=clock,
        ),
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
    clock, routing, settings = services.clock, services.routing, services.settings
    store, failures, runbooks = services.incidents, services.failures, services.runbooks
    processes = ProcessMonitor(services.work_queue, services.run_id, clock)
    open_incidents = OpenIncidents(store)
    gauges = GaugeUpdater(
        services.work_queue,
        failures,
        services.server_check,
        services.maintenance,
        services.config,
        services.last_webhooks,
        open_incidents,
    )
    yield build_health(services.server_check, processes, gauges, clock)

    notification_builder = build_notification_builder(services, rest=None)
    incidents = IncidentHandler(
        store,
        services.incident_service,
        failures,
        services.maintenance,
        routing,
        clock,
        notification_builder.list_links,
    )
    storms = StormHandler(services.storms, store, clock)
    maintenance = MaintenanceHandler(services.maintenance, services.maintenance_service, clock)
    status = StatusHandler(
        processes,
        ChannelList(services.health, routing, clock),
        HeartbeatList(routing.heartbeats, services.heartbeat_store),
        maintenance,
        services.storm_store,
        services.config,
        services.last_webhooks,
    )
    yield build_api(incidents, storms, maintenance, status, DocumentHandler(runbooks, settings))

    pages = build_pages(maintenance, clock)
    lists = IncidentListBuilder(store, open_incidents, routing, services.maintenance, clock)
    add_dashboard(pages, settings, failures, lists, status)
    add_incident(
        pages,
        incidents,
        status,
        notification_builder=notification_builder,
        runbooks=runbooks,
        simulated=services.simulated,
    )
    add_storm(pages, storms, failures, lists, status)
    add_history(pages, store, routing, clock)
    add_runbooks(pages, routing, runbooks, store, clock)
    add_routing(pages, routing, runbooks, services.ingester, clock)
    add_maintenance_forms(pages, maintenance, routing.zone)
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
