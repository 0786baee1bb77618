"""The responses to Slack's requests: permission check, execution, the form for a silence, follow-ups."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from receiver.errors import DeliveryError, StoreError
from receiver.integrations.slack.client import SlackClient, post_response
from receiver.integrations.slack.permissions import SlackResponderCheck
from receiver.integrations.slack.requests import (
    Command,
    IncidentDetails,
    InteractionResponse,
    ModalSubmit,
    OpenModal,
    Request,
    TextReply,
)
from receiver.integrations.slack.views import render_ephemeral, render_form_error, render_silence_form
from receiver.text import Secret

logger = logging.getLogger(__name__)
# Slack waits 3 s for a response, and a form can be opened only within that time:
# https://docs.slack.dev/interactivity/handling-user-interaction
_TIMEOUT_S = 2.0
# The hosts of Slack's response URLs.
_RESPONSE_HOSTS = (".slack.com", ".slack-gov.com")
_STORE_UNAVAILABLE = "The store can't take it now, so nothing was done. Try again in a moment."


@dataclass(frozen=True)
class InteractionResult:
    """The result of a request. *body* is the response to Slack, None for an empty one.

    *is_saved* is false if the store was unavailable: then nothing was changed. *followup* is a message for
    the user, to be posted to *response_url* if the response body can't show it.
    """

    body: Mapping[str, Any] | None = None
    is_saved: bool = True
    followup: Mapping[str, Any] | None = None
    response_url: str = ""


class SlackInteractions:
    """Checks permissions, executes requests and builds the response to Slack. Threads may share it.

    Without a *token* forms can't be opened, and permissions are not checked.
    *execute_request* is `SlackInteractionHandler.execute_request` and may raise StoreError.
    *responders* are those of `slack.responders`, see `SlackResponderCheck`.
    """

    def __init__(
        self,
        execute_request: Callable[[Request], InteractionResponse],
        token: Secret,
        base_url: str = "https://slack.com/api/",
        *,
        clock: Callable[[], float] = time.time,
        responders: tuple[str, ...] = (),
    ) -> None:
        self._execute_request = execute_request
        self._client = SlackClient(token, base_url, _TIMEOUT_S) if token else None
        self._responder_check = SlackResponderCheck(self._client, clock, responders) if self._client else None
        self._own_host = urlsplit(base_url).netloc

    def handle_request(
        self, request: Request, is_new: Callable[[], bool] = lambda: True
    ) -> InteractionResult:
        """Execute *request* and return the response to Slack, within Slack's 3 s. Raises nothing.

        *is_new* returns false if the same request was received before; then it is not executed again.
        """
        check = self._responder_check
        if check is not None and (refusal := check.find_refusal_reason(request)):
            fields = {"by": request.by.name, "user": request.by.slack_id, "team": request.team}
            fields["reason"] = refusal
            logger.warning("request refused", extra={"fields": fields, "state": refusal})
            return _build_result(request, TextReply(refusal))
        try:
            outcome = self._execute_request(request) if is_new() else None
        except StoreError as error:
            fields = {"by": request.by.name, "error": str(error)}
            logger.warning("redis unavailable", extra={"fields": fields, "state": "requests"})
            return _build_result(request, TextReply(_STORE_UNAVAILABLE), is_saved=False)
        if isinstance(outcome, OpenModal):
            outcome = self._open_modal(outcome)
        return _build_result(request, outcome) if outcome is not None else InteractionResult()

    def _open_modal(self, form: OpenModal) -> TextReply | None:
        """Open the form in Slack; return the reply to the user if that failed."""
        if self._client is None:
            return TextReply(
                "The form can't be opened without SLACK_BOT_TOKEN. Use the command: silence ID 2h"
            )
        view = render_silence_form(form.incident, form.next_business_day_at, form.zone)
        try:
            self._client.post_json("views.open", {"trigger_id": form.trigger_id, "view": view})
        except DeliveryError as error:
            fields = {"incident": form.incident.id, "reason": error.reason, "detail": error.detail}
            logger.warning("silence form not opened", extra={"fields": fields})
            command = f"silence {form.incident.id} 2h"
            return TextReply(f"Slack did not open the form ({error.reason}). Press again, or say: {command}")
        return None

    def send_followup(self, result: InteractionResult) -> None:
        """Post the follow-up of *result*, if it has one; a failure is only logged. Takes 2 s at most."""
        if result.followup is None or not self._is_slack_url(result.response_url):
            return
        try:
            post_response(result.response_url, result.followup, _TIMEOUT_S)
        except DeliveryError as error:
            fields = {"reason": error.reason, "detail": error.detail}
            logger.warning("slack follow-up not delivered", extra={"fields": fields})

    def _is_slack_url(self, url: str) -> bool:
        """Return whether *url* is on a host of Slack or on the configured API host."""
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
        except ValueError:
            return False
        is_slack = parts.scheme == "https" and host.endswith(_RESPONSE_HOSTS)
        return is_slack or (parts.scheme in ("http", "https") and parts.netloc == self._own_host)


def _build_result(
    request: Request, outcome: TextReply | IncidentDetails, *, is_saved: bool = True
) -> InteractionResult:
    """Return the result with *outcome* in the response for a form or command, as a follow-up for a button."""
    if isinstance(request, ModalSubmit) and isinstance(outcome, TextReply):
        return InteractionResult(render_form_error(outcome), is_saved=is_saved)
    message = render_ephemeral(outcome)
    if isinstance(request, Command) and is_saved:
        return InteractionResult(message)
    # Slack ignores the body of an HTTP error, but shows that of a Socket Mode response.
    body = message if isinstance(request, Command) else None
    url = "" if isinstance(request, ModalSubmit) else request.response_url
    return InteractionResult(body, is_saved, message, url)
