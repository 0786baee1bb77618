"""Slack's doors: buttons and forms, and the slash command."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from receiver.errors import PayloadError
from receiver.integrations.slack import requests as slack_requests
from receiver.integrations.slack.interactions import InteractionResult, SlackInteractions
from receiver.integrations.slack.requests import Request
from receiver.web.answers import error_response
from receiver.web.reading import read_unverified_body
from receiver.wiring.parts import Services
from receiver.wiring.porter import build_slack_interactions

logger = logging.getLogger(__name__)

# A signature is good for five minutes either way.
_SIGNED_FOR_S = 660


def build_slack_hooks(services: Services, interactions: SlackInteractions | None = None) -> Blueprint:
    """Return the routes that Slack posts to.

    Each answers within Slack's 3 s, with 200 only when what was asked is in the store. Slack signs
    when it sends; a request is taken within five minutes, and one that comes again is not done again.
    """
    hooks = Blueprint("slack_hooks", __name__, url_prefix="/webhooks/slack")
    interactions = interactions or build_slack_interactions(services)

    @hooks.before_request
    def verify_signature() -> Response | None:
        request.max_content_length = slack_requests.MAX_BODY
        secret = services.settings.slack_signing_secret
        # Who signs nothing has nothing read.
        is_signed = secret and "X-Slack-Signature" in request.headers
        if is_signed and slack_requests.verify_signature(
            secret, request.headers, read_unverified_body(request), services.clock()
        ):
            return None
        # Anybody can send such: a line a minute, with their number.
        logger.warning("unsigned request refused", extra={"fields": {"path": request.path}, "state": "slack"})
        return error_response(
            401, "the signature is missing, wrong, too old, or SLACK_SIGNING_SECRET is unset"
        )

    @hooks.post("/interactions")
    def receive_interaction() -> Response:
        """Take a button or a form."""
        return _handle_request(
            services, interactions, slack_requests.parse_interaction(request.get_data(cache=True))
        )

    @hooks.post("/commands")
    def receive_command() -> Response:
        """Take a command."""
        return _handle_request(
            services, interactions, slack_requests.parse_command(request.get_data(cache=True))
        )

    @hooks.errorhandler(PayloadError)
    def invalid_payload(error: PayloadError) -> Response:
        logger.warning("unreadable request from Slack", extra={"fields": {"reason": error.reason}})
        return error_response(400, error.reason)

    @hooks.errorhandler(RequestEntityTooLarge)
    def too_large(_: RequestEntityTooLarge) -> Response:
        return error_response(413, f"the body is larger than {slack_requests.MAX_BODY // 1024} KiB")

    return hooks


def _handle_request(services: Services, interactions: SlackInteractions, asked: Request | None) -> Response:
    """Have done what is asked, and answer; what is left to say is said once Slack has the answer."""
    if asked is None:
        return Response(status=200)
    signature = request.headers.get("X-Slack-Signature", "")
    result: InteractionResult = interactions.handle(
        asked, lambda: services.job_queue.record_once("slack", signature, _SIGNED_FOR_S)
    )
    response = Response(status=200) if result.body is None else jsonify(result.body)
    if not result.is_saved:
        response.status_code = 503
    response.call_on_close(lambda: interactions.send_followup(result))
    return response
