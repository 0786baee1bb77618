"""The webhooks' doors."""

from __future__ import annotations

import logging
from functools import cache

from flask import Blueprint, Response, request
from gunicorn.http.errors import ParseException
from msgspec import json
from prometheus_client import Counter
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from receiver import telemetry
from receiver.config.model import Routing
from receiver.domain.alert import ReceivedAlerts
from receiver.domain.journey import find_severity_warnings
from receiver.errors import PayloadError, PayloadTooLarge
from receiver.sources import alertmanager
from receiver.text import one_line
from receiver.web.answers import refuse
from receiver.web.doors import Doors
from receiver.web.in_time import answer_in_time
from receiver.web.lost_alerts import LostAlerts
from receiver.web.misframed import find_misframed
from receiver.web.reading import PIECE, read_whole
from receiver.wiring import Parts

logger = logging.getLogger(__name__)

MAX_BODY = 32 * 1024 * 1024
_MAX_SOURCE = 100
_MAX_WARNINGS = 10


def build_hooks(parts: Parts, doors: Doors) -> Blueprint:
    """Return the routes that Alertmanager posts to."""
    hooks = Blueprint("hooks", __name__, url_prefix="/webhooks")

    @hooks.post("/alertmanager")
    def receive_alertmanager() -> Response:
        """Take a webhook; 200 only when everything in it is in the store. With `?warnings=true` the answer
        also tells what is odd about its severities, as `receiver fire` shows it.
        """
        if stranger := doors.refuse_stranger(parts.settings.webhook_tokens, "RECEIVER_WEBHOOK_TOKEN"):
            return stranger
        now = parts.clock()
        source = one_line(request.args.get("source", ""), _MAX_SOURCE) if request.query_string else ""
        batch = alertmanager.parse_webhook(_read_body(), source, now)
        with answer_in_time():
            accepted = parts.ingester.ingest(batch.groups, now)
        counts = {
            "new": accepted.new,
            "duplicates": accepted.duplicates,
            "resolved": accepted.resolved,
            "rejected": batch.rejected,
        }
        _count(counts, batch.repaired)
        parts.last_webhooks.record(source, now)
        answer = {"alerts": batch.total, **counts, "incidents": accepted.incidents}
        if request.query_string and request.args.get("warnings") == "true":
            answer["warnings"] = _list_warnings(parts.routing, batch)
        return Response(json.encode(answer), content_type="application/json")

    @hooks.after_request
    def count(answer: Response) -> Response:
        _webhooks(answer.status_code).inc()
        return answer

    _refuse_faults(hooks, LostAlerts(parts.notices, parts.clock))
    return hooks


def _refuse_faults(hooks: Blueprint, lost: LostAlerts) -> None:
    """Have what can't be taken refused in words. Alertmanager drops what we answer 4xx, so that is a lost
    alert: it is said where people look.
    """

    @hooks.errorhandler(PayloadError)
    def unreadable(error: PayloadError) -> Response:
        _alerts("rejected").inc()
        _say_lost(lost, error.reason)
        return refuse(413 if isinstance(error, PayloadTooLarge) else 400, error.reason)

    @hooks.errorhandler(RequestEntityTooLarge)
    def too_large(_: RequestEntityTooLarge) -> Response:
        _say_lost(lost, "too large; see max_alerts in Alertmanager")
        return refuse(
            413, f"the body is larger than {MAX_BODY // 1024 // 1024} MiB; see max_alerts in Alertmanager"
        )

    @hooks.errorhandler(ParseException)
    def misframed(error: ParseException) -> Response:
        # gunicorn finds out while we read the body: chunks that are none.
        if (found := find_misframed(error)) is None:
            raise error
        _say_lost(lost, found.message)
        return refuse(found.status, found.message)

    @hooks.errorhandler(ClientDisconnected)
    def broken_off(_: ClientDisconnected) -> Response:
        # Too slow, or gone: a 5xx is what Alertmanager sends again for.
        logger.warning("webhook broke off", extra={"fields": {"from": request.remote_addr}})
        return refuse(503, "the body came too slowly or broke off, send it again")


def _say_lost(lost: LostAlerts, reason: str) -> None:
    logger.error("webhook refused", extra={"fields": {"reason": reason, "from": request.remote_addr}})
    lost.add(reason, str(request.remote_addr))


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
    body = request.get_data(cache=False) if is_small else read_whole(request.stream)
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
    return telemetry.WEBHOOKS.labels(str(code))


@cache
def _alerts(outcome: str) -> Counter:
    return telemetry.ALERTS.labels(outcome)


def _count(counts: dict[str, int], repaired: int) -> None:
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
