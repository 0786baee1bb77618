"""The webhooks' doors."""

from __future__ import annotations

import logging
from functools import cache

from flask import Blueprint, Response, request
from gunicorn.http.errors import ParseException
from msgspec import json
from prometheus_client import Counter
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from receiver import metrics
from receiver.config.model import Routing
from receiver.errors import PayloadError, PayloadTooLarge
from receiver.incidents.routing_preview import find_severity_warnings
from receiver.integrations.alertmanager import webhook as alertmanager_webhook
from receiver.model.alert import ReceivedAlerts
from receiver.text import one_line
from receiver.web.answers import error_response
from receiver.web.doors import RequestGuard
from receiver.web.in_time import request_timeout
from receiver.web.lost_alerts import RejectedWebhooks
from receiver.web.misframed import find_malformed_request
from receiver.web.reading import PIECE, drain
from receiver.wiring.parts import Services

logger = logging.getLogger(__name__)

MAX_BODY = 32 * 1024 * 1024
_MAX_SOURCE = 100
_MAX_WARNINGS = 10


def build_hooks(services: Services, request_guard: RequestGuard) -> Blueprint:
    """Return the routes that Alertmanager posts to."""
    hooks = Blueprint("hooks", __name__, url_prefix="/webhooks")

    @hooks.post("/alertmanager")
    def receive_alertmanager() -> Response:
        """Take a webhook; 200 only when everything in it is in the store. With `?warnings=true` the answer
        also tells what is odd about its severities, as `receiver fire` shows it.
        """
        if unauthorized := request_guard.require_token(
            services.settings.webhook_tokens, "RECEIVER_WEBHOOK_TOKEN"
        ):
            return unauthorized
        now = services.clock()
        source = one_line(request.args.get("source", ""), _MAX_SOURCE) if request.query_string else ""
        batch = alertmanager_webhook.parse_webhook(_read_body(), source, now)
        with request_timeout():
            result = services.ingester.ingest(batch.groups, now)
        counts = {
            "new": result.new,
            "duplicates": result.duplicates,
            "resolved": result.resolved,
            "rejected": batch.rejected,
        }
        _count_alerts(counts, batch.repaired)
        services.last_webhooks.record(source, now)
        response = {"alerts": batch.total, **counts, "incidents": result.incidents}
        if request.query_string and request.args.get("warnings") == "true":
            response["warnings"] = _list_warnings(services.routing, batch)
        return Response(json.encode(response), content_type="application/json")

    @hooks.after_request
    def count(response: Response) -> Response:
        _webhooks(response.status_code).inc()
        return response

    _handle_rejections(hooks, RejectedWebhooks(services.notices, services.clock))
    return hooks


def _handle_rejections(hooks: Blueprint, rejected: RejectedWebhooks) -> None:
    """Have what can't be taken refused in words. Alertmanager drops what we answer 4xx, so that is a lost
    alert: it is said where people look.
    """

    @hooks.errorhandler(PayloadError)
    def invalid_payload(error: PayloadError) -> Response:
        _alerts("rejected").inc()
        _record_rejected(rejected, error.reason)
        return error_response(413 if isinstance(error, PayloadTooLarge) else 400, error.reason)

    @hooks.errorhandler(RequestEntityTooLarge)
    def too_large(_: RequestEntityTooLarge) -> Response:
        _record_rejected(rejected, "too large; see max_alerts in Alertmanager")
        return error_response(
            413, f"the body is larger than {MAX_BODY // 1024 // 1024} MiB; see max_alerts in Alertmanager"
        )

    @hooks.errorhandler(ParseException)
    def malformed_request(error: ParseException) -> Response:
        # gunicorn finds out while we read the body: chunks that are none.
        if (found := find_malformed_request(error)) is None:
            raise error
        _record_rejected(rejected, found.message)
        return error_response(found.status, found.message)

    @hooks.errorhandler(ClientDisconnected)
    def client_disconnected(_: ClientDisconnected) -> Response:
        # Too slow, or gone: a 5xx is what Alertmanager sends again for.
        logger.warning("webhook broke off", extra={"fields": {"from": request.remote_addr}})
        return error_response(503, "the body came too slowly or broke off, send it again")


def _record_rejected(rejected: RejectedWebhooks, reason: str) -> None:
    logger.error("webhook refused", extra={"fields": {"reason": reason, "from": request.remote_addr}})
    rejected.record_rejection(reason, str(request.remote_addr))


def _read_body() -> bytes:
    """Return the body. One that comes in chunks is cut at the limit without a word, so the limit
    that Flask holds is one byte more than ours.
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise PayloadError(
            "alertmanager", f"the body is compressed ({one_line(encoding, 40)!r}), expected plain"
        )
    length = request.content_length
    is_small = length is not None and length <= PIECE
    body = request.get_data(cache=False) if is_small else drain(request.stream)
    if len(body) > MAX_BODY:
        raise RequestEntityTooLarge
    return body


def _list_warnings(routing: Routing, batch: ReceivedAlerts) -> list[str]:
    """Return what to warn of in the severities of what fires, each once; for who sends test alerts."""
    found: dict[str, None] = {}
    for alert in (alert for group in batch.groups for alert in group.alerts if alert.is_firing):
        if len(found) >= _MAX_WARNINGS:
            break
        if not any(heartbeat.matches(alert.labels) for heartbeat in routing.heartbeats):
            found |= dict.fromkeys(find_severity_warnings(routing, alert.labels))
    return list(found)


# Finding a metric by its labels takes as long as counting with it.
@cache
def _webhooks(code: int) -> Counter:
    return metrics.WEBHOOKS.labels(str(code))


@cache
def _alerts(outcome: str) -> Counter:
    return metrics.ALERTS.labels(outcome)


def _count_alerts(counts: dict[str, int], repaired: int) -> None:
    """Count what became of the alerts, under the names of the metric."""
    for outcome, number in (
        ("new", counts["new"]),
        ("duplicate", counts["duplicates"]),
        ("resolved", counts["resolved"]),
        ("rejected", counts["rejected"]),
        ("repaired", repaired),
    ):
        if number:
            _alerts(outcome).inc(number)
