"""The webhook endpoints of Alertmanager, Slack and PagerDuty."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial
from hashlib import sha256

from flask import Blueprint, Response, jsonify, request
from gunicorn.http.errors import ParseException
from msgspec import json
from prometheus_client import Counter
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from receiver import metrics
from receiver.clock import Clock
from receiver.config.model import Routing
from receiver.engine.jobs import JobQueue
from receiver.errors import PayloadError, PayloadTooLarge
from receiver.incidents.ingest import IncidentIngester
from receiver.incidents.routing_preview import find_severity_warnings
from receiver.integrations.alertmanager import webhook as alertmanager_webhook
from receiver.integrations.pagerduty import webhook as pagerduty_webhook
from receiver.integrations.pagerduty.sync import EVENTS
from receiver.integrations.slack import requests as slack_requests
from receiver.integrations.slack.interactions import SlackInteractions
from receiver.integrations.slack.requests import Request
from receiver.last_webhooks import LastWebhooks
from receiver.model.alert import ReceivedAlerts
from receiver.notices import RejectedWebhooks
from receiver.text import Secret, one_line
from receiver.web.auth.guard import ALERTS_API
from receiver.web.server.connection import PIECE, drain, read_unverified_body, request_timeout
from receiver.web.server.errors import error_response
from receiver.web.server.malformed import find_malformed_request

logger = logging.getLogger(__name__)
MAX_BODY = 32 * 1024 * 1024
_MAX_SOURCE = 100
_MAX_WARNINGS = 10


def build_hooks(
    require_token: Callable[[], Response | None],
    *,
    ingester: IncidentIngester,
    routing: Routing,
    last_webhooks: LastWebhooks,
    rejected: RejectedWebhooks,
    clock: Clock,
) -> Blueprint:
    """Return the blueprint of Alertmanager's webhook, and of its API for alerts; *require_token* returns the
    answer to a request without a valid token.
    """
    hooks = Blueprint("hooks", __name__)

    @hooks.post(ALERTS_API)
    @hooks.post("/webhooks/alertmanager")
    def receive_alertmanager() -> Response:
        """Ingest a webhook or an array of alerts; answers 200 only once all of it is stored in Redis.

        With `?warnings=true` the response also lists warnings about severities, which `receiver fire` shows.
        """
        if unauthorized := require_token():
            return unauthorized
        now = clock()
        source = one_line(request.args.get("source", ""), _MAX_SOURCE) if request.query_string else ""
        batch = alertmanager_webhook.parse_webhook(_read_body(), source, now)
        with request_timeout():
            result = ingester.ingest(batch.groups, now)
        counts = {
            "new": result.new,
            "duplicates": result.duplicates,
            "resolved": result.resolved,
            "rejected": batch.rejected,
        }
        for name, number in {**counts, "repaired": batch.repaired}.items():
            if number:
                _alerts("duplicate" if name == "duplicates" else name).inc(number)
        last_webhooks.record_webhook(source, now)
        response = {"alerts": batch.total, **counts, "incidents": result.incidents}
        if request.query_string and request.args.get("warnings") == "true":
            response["warnings"] = _list_warnings(routing, batch)
        return Response(json.encode(response), content_type="application/json")

    @hooks.after_request
    def count(response: Response) -> Response:
        _webhooks(response.status_code).inc()
        return response

    _handle_rejections(hooks, rejected)
    return hooks


def _handle_rejections(hooks: Blueprint, rejected: RejectedWebhooks) -> None:
    """Answer webhooks that can't be ingested with an error message, and record them in *rejected*."""

    def refuse(status: int, message: str, reason: str = "") -> Response:
        fields = {"reason": reason or message, "from": request.remote_addr}
        logger.error("webhook refused", extra={"fields": fields})
        rejected.record_rejection(reason or message, str(request.remote_addr))
        return error_response(status, message)

    @hooks.errorhandler(PayloadError)
    def invalid_payload(error: PayloadError) -> Response:
        _alerts("rejected").inc()
        return refuse(413 if isinstance(error, PayloadTooLarge) else 400, error.reason)

    @hooks.errorhandler(RequestEntityTooLarge)
    def too_large(_: RequestEntityTooLarge) -> Response:
        message = f"the body is larger than {MAX_BODY // 1024 // 1024} MiB; see max_alerts in Alertmanager"
        return refuse(413, message, "too large; see max_alerts in Alertmanager")

    @hooks.errorhandler(ParseException)
    def malformed_request(error: ParseException) -> Response:
        # gunicorn raises this while the body is read: invalid chunked encoding.
        if (found := find_malformed_request(error)) is None:
            raise error
        return refuse(*found)

    @hooks.errorhandler(ClientDisconnected)
    def client_disconnected(_: ClientDisconnected) -> Response:
        # The client was too slow or disconnected. Alertmanager retries after a 5xx.
        logger.warning("webhook aborted by client", extra={"fields": {"from": request.remote_addr}})
        return error_response(503, "the body came too slowly or was incomplete, send it again")


def _read_body() -> bytes:
    """Return the body; raises RequestEntityTooLarge above MAX_BODY, and PayloadError for a compressed one.

    Werkzeug cuts a chunked body at `max_content_length` without an error, so Flask's limit is MAX_BODY + 1.
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
    """Return the warnings about the severities of the firing alerts, each once, for `?warnings=true`."""
    found: dict[str, None] = {}
    for alert in (alert for group in batch.groups for alert in group.alerts if alert.is_firing):
        if len(found) >= _MAX_WARNINGS:
            break
        if not any(heartbeat.matches(alert.labels) for heartbeat in routing.heartbeats):
            found |= dict.fromkeys(find_severity_warnings(routing, alert.labels))
    return list(found)


# Looking up a metric by its labels takes as long as incrementing it.
@cache
def _webhooks(code: int) -> Counter:
    return metrics.WEBHOOKS.labels(str(code))


@cache
def _alerts(outcome: str) -> Counter:
    return metrics.ALERTS.labels(outcome)


def _refuse_unsigned(reason: str) -> Response:
    """Answer a vendor's request without a valid signature with 401, and log it.

    Any client can cause this, so the log is limited to one line a minute for each path, with a count.
    """
    fields = {"path": request.path, "from": request.remote_addr, "reason": reason}
    logger.warning("request refused", extra={"fields": fields, "state": request.path})
    return error_response(401, reason)


# Slack's signatures are valid for five minutes before and after their timestamp.
_SIGNED_FOR_S = 660


def build_slack_hooks(
    interactions: SlackInteractions, job_queue: JobQueue, secret: Secret, clock: Clock
) -> Blueprint:
    """Return the blueprint of Slack's webhooks.

    Each answers within Slack's limit of 3 s, and with 200 only once the request is stored in Redis. A request
    is accepted within five minutes of its signed timestamp; a repeated one has no effect.
    """
    hooks = Blueprint("slack_hooks", __name__, url_prefix="/webhooks/slack")

    @hooks.before_request
    def verify_signature() -> Response | None:
        request.max_content_length = slack_requests.MAX_BODY
        # The body of an unsigned request is not read.
        is_signed = secret and "X-Slack-Signature" in request.headers
        if is_signed and slack_requests.verify_signature(
            secret, request.headers.items(), read_unverified_body(request), clock()
        ):
            return None
        return _refuse_unsigned("the signature is missing, wrong, too old, or SLACK_SIGNING_SECRET is unset")

    def receive_request(parse: Callable[[bytes], Request | None]) -> Response:
        """Handle and answer the request; the follow-up message is sent after the response."""
        slack_request = parse(request.get_data(cache=True))
        if slack_request is None:
            return Response(status=200)
        signature = request.headers.get("X-Slack-Signature", "")
        result = interactions.handle_request(
            slack_request, lambda: job_queue.record_once("slack", signature, _SIGNED_FOR_S)
        )
        response = Response(status=200) if result.body is None else jsonify(result.body)
        if not result.is_saved:
            response.status_code = 503
        response.call_on_close(lambda: interactions.send_followup(result))
        return response

    parsers = {"interactions": slack_requests.parse_interaction, "commands": slack_requests.parse_command}
    for name, parse in parsers.items():
        hooks.add_url_rule(f"/{name}", name, partial(receive_request, parse), methods=["POST"])

    @hooks.errorhandler(PayloadError)
    def invalid_payload(error: PayloadError) -> Response:
        logger.warning("unreadable request from Slack", extra={"fields": {"reason": error.reason}})
        return error_response(400, error.reason)

    @hooks.errorhandler(RequestEntityTooLarge)
    def too_large(_: RequestEntityTooLarge) -> Response:
        return error_response(413, f"the body is larger than {slack_requests.MAX_BODY // 1024} KiB")

    return hooks


_MAX_ID = 200


def build_pagerduty_hooks(job_queue: JobQueue, secret: Secret, clock: Clock) -> Blueprint:
    """Return the blueprint of PagerDuty's webhook."""
    hooks = Blueprint("pagerduty_hooks", __name__, url_prefix="/webhooks")

    @hooks.post("/pagerduty")
    def receive_pagerduty() -> Response | tuple[Response, int]:
        """Enqueue an event; answers 202 once it is stored or ignored. A repeat is known for two days."""
        request.max_content_length = pagerduty_webhook.MAX_BODY
        header = request.headers.get("X-PagerDuty-Signature", "")
        # The body of an unsigned request is not read.
        body = read_unverified_body(request) if header and secret else b""
        if not pagerduty_webhook.verify_signature((secret,), header, body):
            return _refuse_unsigned("not signed with PAGERDUTY_WEBHOOK_SECRET")
        event = pagerduty_webhook.parse_event(body)
        if event is None or event.event_type not in EVENTS:
            return jsonify({"outcome": "ignored"}), 202
        # PagerDuty sends the same id with every delivery attempt. The id is not signed, so the digest of the
        # body is stored, too, to recognize a replayed body.
        name = one_line(request.headers.get("X-Webhook-Id", ""), _MAX_ID)
        names = [one for one in (name, sha256(body).hexdigest()) if one]
        with request_timeout():
            is_new = job_queue.enqueue("pagerduty", names[0], asdict(event), clock(), also=names[1:])
        return jsonify({"outcome": "taken" if is_new else "repeated"}), 202

    return hooks
