"""The porter: carries what people ask in Slack to the desk, and what it says back to Slack.

The same for requests over HTTP and over a socket; whoever received them answers with `InteractionResult.body`
and then, when Slack has its answer, calls `send_followup`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from receiver.channels.slack.answerers import SlackResponderCheck
from receiver.channels.slack.client import SlackClient, post_response
from receiver.channels.slack.modal import render_form_errors, render_silence_form
from receiver.channels.slack.spoken import render_ephemeral
from receiver.domain.request import (
    FIELD_CHOICE,
    Command,
    FormErrors,
    IncidentDetails,
    InteractionResponse,
    ModalSubmit,
    OpenModal,
    Request,
    TextReply,
)
from receiver.errors import DeliveryError, StoreError
from receiver.text import Secret

logger = logging.getLogger(__name__)

# Slack waits 3 s for an answer, and a form can be opened no longer than that:
# https://docs.slack.dev/interactivity/handling-user-interaction
_TIMEOUT_S = 2.0
# Where Slack takes words for somebody who pressed or typed something.
_RESPONSE_HOSTS = (".slack.com", ".slack-gov.com")
_STORE_UNAVAILABLE = "The store can't take it now, so nothing was done. Try again in a moment."


@dataclass(frozen=True)
class InteractionResult:
    """How a request ended. *body* is Slack's answer, None for an empty one.

    *is_saved* is false where the store could not take it: then nothing was done. *followup* is for who
    asked, to be said at *response_url* where the body could not tell them.
    """

    body: Mapping[str, Any] | None = None
    is_saved: bool = True
    followup: Mapping[str, Any] | None = None
    response_url: str = ""


class SlackInteractions:
    """Carries requests. Threads may share it.

    Without a *token* forms can't be opened, and Slack is not asked who somebody is.
    *handle_request* is the request handler's, and may raise StoreError.
    *responders* are those of `slack.responders`, see `SlackResponderCheck`.
    """

    def __init__(
        self,
        handle_request: Callable[[Request], InteractionResponse],
        token: Secret,
        base_url: str = "https://slack.com/api/",
        *,
        clock: Callable[[], float] = time.time,
        responders: tuple[str, ...] = (),
    ) -> None:
        self._handle_request = handle_request
        self._client = SlackClient(token, base_url, _TIMEOUT_S) if token else None
        self._responder_check = SlackResponderCheck(self._client, clock, responders) if self._client else None
        self._own_host = urlsplit(base_url).netloc

    def handle(self, request: Request, is_new: Callable[[], bool] = lambda: True) -> InteractionResult:
        """Have it done and return what Slack is answered, within Slack's 3 s. Raises nothing.

        *is_new* tells whether this very request never came before; a repeat is not done again.
        """
        refusal = (
            self._responder_check.find_refusal_reason(request) if self._responder_check is not None else ""
        )
        if refusal:
            fields = {"by": request.by.name, "user": request.by.slack_id, "team": request.team}
            logger.warning("answer refused", extra={"fields": fields, "state": refusal})
            return _build_result(request, TextReply(refusal))
        try:
            outcome = self._handle_request(request) if is_new() else None
        except StoreError as error:
            fields = {"by": request.by.name, "error": str(error)}
            logger.warning("redis unavailable", extra={"fields": fields, "state": "requests"})
            return _build_result(request, TextReply(_STORE_UNAVAILABLE), is_saved=False)
        if isinstance(outcome, OpenModal):
            outcome = self._open_modal(outcome)
        return _build_result(request, outcome) if outcome is not None else InteractionResult()

    def _open_modal(self, form: OpenModal) -> TextReply | None:
        """Open the form; return what to say where that failed."""
        if self._client is None:
            return TextReply(
                "The form can't be opened without SLACK_BOT_TOKEN. Use the command: silence ID 2h"
            )
        view = render_silence_form(form.incident, form.next_business_day_at, form.zone)
        try:
            self._client.post("views.open", {"trigger_id": form.trigger_id, "view": view})
        except DeliveryError as error:
            fields = {"incident": form.incident.id, "reason": error.reason, "detail": error.detail}
            logger.warning("silence form not opened", extra={"fields": fields})
            command = f"silence {form.incident.id} 2h"
            return TextReply(f"Slack did not open the form ({error.reason}). Press again, or say: {command}")
        return None

    def send_followup(self, result: InteractionResult) -> None:
        """Say what is still to be said to who asked; a failure is only logged. Takes 2 s at most."""
        if result.followup is None or not self._is_slack_url(result.response_url):
            return
        try:
            post_response(result.response_url, result.followup, _TIMEOUT_S)
        except DeliveryError as error:
            fields = {"reason": error.reason, "detail": error.detail}
            logger.warning("slack follow-up not delivered", extra={"fields": fields})

    def _is_slack_url(self, url: str) -> bool:
        """Tell whether *url* is Slack's, or the place that stands in for it."""
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
        except ValueError:
            return False
        is_slack = parts.scheme == "https" and host.endswith(_RESPONSE_HOSTS)
        return is_slack or (parts.scheme in ("http", "https") and parts.netloc == self._own_host)


def _build_result(
    request: Request, outcome: TextReply | IncidentDetails | FormErrors, *, is_saved: bool = True
) -> InteractionResult:
    """Return *outcome* as Slack takes it: a form and a command are answered at once, a button is not."""
    if isinstance(request, ModalSubmit):
        errors = outcome.fields if isinstance(outcome, FormErrors) else {FIELD_CHOICE: _format_text(outcome)}
        return InteractionResult(render_form_errors(errors), is_saved=is_saved)
    if isinstance(outcome, FormErrors):
        outcome = TextReply(" ".join(outcome.fields.values()))
    message = render_ephemeral(outcome)
    if isinstance(request, Command) and is_saved:
        return InteractionResult(message)
    # Slack shows no body of an answer that says no, but over a socket it does.
    body = message if isinstance(request, Command) else None
    return InteractionResult(body, is_saved, message, request.response_url)


def _format_text(outcome: TextReply | IncidentDetails) -> str:
    return outcome.text if isinstance(outcome, TextReply) else outcome.incident.alertname
