"""PagerDuty's door: its v3 webhooks, which a worker works off.

A 4xx makes PagerDuty drop the event, and three in a row stop it for a day, with all that waits:
https://developer.pagerduty.com/docs/webhooks-overview. So whatever it signed is taken.
"""

from __future__ import annotations

from dataclasses import asdict
from hashlib import sha256

from flask import Blueprint, Response, jsonify, request

from receiver.integrations.pagerduty import webhook as pagerduty_webhook
from receiver.integrations.pagerduty.sync import EVENTS
from receiver.text import one_line
from receiver.web.answers import error_response
from receiver.web.in_time import request_timeout
from receiver.web.reading import read_unverified_body
from receiver.wiring.parts import Services

_KIND = "pagerduty"
_MAX_ID = 200


def build_pagerduty_hooks(services: Services) -> Blueprint:
    """Return the route that PagerDuty posts to."""
    hooks = Blueprint("pagerduty_hooks", __name__, url_prefix="/webhooks")

    @hooks.post("/pagerduty")
    def receive_pagerduty() -> Response:
        """Take an event; 202 only when it is kept, or nobody needs it. A repeat is known for two days."""
        request.max_content_length = pagerduty_webhook.MAX_BODY
        header = request.headers.get("X-PagerDuty-Signature", "")
        # Who signs nothing has nothing read.
        body = read_unverified_body(request) if header and services.settings.pagerduty_webhook_secret else b""
        if not pagerduty_webhook.verify_signature(
            (services.settings.pagerduty_webhook_secret,), header, body
        ):
            return error_response(401, "not signed with PAGERDUTY_WEBHOOK_SECRET")
        event = pagerduty_webhook.parse_event(body)
        if event is None or event.event_type not in EVENTS:
            return _accepted("ignored")
        # Every attempt to deliver a webhook carries the same id; but the id is not signed, so a body
        # that was captured is known by itself as well.
        name = one_line(request.headers.get("X-Webhook-Id", ""), _MAX_ID)
        names = [one for one in (name, sha256(body).hexdigest()) if one]
        with request_timeout():
            is_new = services.job_queue.enqueue(
                _KIND, names[0], asdict(event), services.clock(), also=names[1:]
            )
        return _accepted("taken" if is_new else "repeated")

    return hooks


def _accepted(outcome: str) -> Response:
    response = jsonify({"outcome": outcome})
    response.status_code = 202
    return response
