"""PagerDuty's door: its v3 webhooks, which a worker works off.

A 4xx makes PagerDuty drop the event, and three in a row stop it for a day, with all that waits:
https://developer.pagerduty.com/docs/webhooks-overview. So whatever it signed is taken.
"""

from __future__ import annotations

import logging
from dataclasses import asdict

from flask import Blueprint, Response, jsonify, request

from receiver.engine.pager_desk import EVENTS
from receiver.sources import pagerduty
from receiver.text import one_line
from receiver.web.answers import refuse
from receiver.wiring import Parts

logger = logging.getLogger(__name__)

_KIND = "pagerduty"
_MAX_ID = 200


def build_pagerduty_hooks(parts: Parts) -> Blueprint:
    """Return the route that PagerDuty posts to."""
    hooks = Blueprint("pagerduty_hooks", __name__, url_prefix="/webhooks")

    @hooks.post("/pagerduty")
    def receive_pagerduty() -> Response:
        """Take an event; 202 only when it is kept, or nobody needs it. A repeat is known for two days."""
        request.max_content_length = pagerduty.MAX_BODY
        body, header = request.get_data(cache=False), request.headers.get("X-PagerDuty-Signature", "")
        if not pagerduty.verify((parts.settings.pagerduty_webhook_secret,), header, body):
            return refuse(401, "not signed with PAGERDUTY_WEBHOOK_SECRET")
        news = pagerduty.parse(body)
        if news is None or news.event_type not in EVENTS:
            return _accept("ignored")
        name = one_line(request.headers.get("X-Webhook-Id", ""), _MAX_ID)
        is_new = parts.errands.put(
            kind=_KIND, id=name or news.event_id, payload=asdict(news), now=parts.clock()
        )
        return _accept("taken" if is_new else "repeated")

    return hooks


def _accept(outcome: str) -> Response:
    answer = jsonify({"outcome": outcome})
    answer.status_code = 202
    return answer
