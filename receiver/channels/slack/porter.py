"""The porter: carries what people ask in Slack to the desk, and what it says back to Slack.

The same for requests over HTTP and over a socket; whoever received them answers with `Carried.body`
and then, when Slack has its answer, calls `say`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from receiver.channels.slack.answerers import Answerers
from receiver.channels.slack.client import Client, post_words
from receiver.channels.slack.modal import render_faults, render_silence_form
from receiver.channels.slack.spoken import render_spoken
from receiver.domain.request import (
    FIELD_CHOICE,
    Answer,
    Command,
    Details,
    FormFaults,
    ModalSubmit,
    OpenModal,
    Outcome,
    Request,
)
from receiver.errors import DeliveryError, StoreError
from receiver.text import Secret

logger = logging.getLogger(__name__)

# Slack waits 3 s for an answer, and a form can be opened no longer than that:
# https://docs.slack.dev/interactivity/handling-user-interaction
_TIMEOUT_S = 2.0
# Where Slack takes words for somebody who pressed or typed something.
_WORDS_HOSTS = (".slack.com", ".slack-gov.com")
_AWAY = "The store can't take it now, so nothing was done. Try again in a moment."


@dataclass(frozen=True)
class Carried:
    """How a request ended. *body* is Slack's answer, None for an empty one.

    *is_kept* is false where the store could not take it: then nothing was done. *words* are for who
    asked, to be said at *response_url* where the body could not tell them.
    """

    body: Mapping[str, Any] | None = None
    is_kept: bool = True
    words: Mapping[str, Any] | None = None
    response_url: str = ""


class Porter:
    """Carries requests. Threads may share it.

    Without a *token* forms can't be opened, and Slack is not asked who somebody is. *take* is the desk's, and
    may raise StoreError. *responders* are those of `slack.responders`, see `Answerers`.
    """

    def __init__(
        self,
        take: Callable[[Request], Outcome],
        token: Secret,
        base_url: str = "https://slack.com/api/",
        *,
        clock: Callable[[], float] = time.time,
        responders: tuple[str, ...] = (),
    ) -> None:
        self._take = take
        self._client = Client(token, base_url, _TIMEOUT_S) if token else None
        self._answerers = Answerers(self._client, clock, responders) if self._client else None
        self._own_host = urlsplit(base_url).netloc

    def carry(self, request: Request, is_new: Callable[[], bool] = lambda: True) -> Carried:
        """Have it done and return what Slack is answered, within Slack's 3 s. Raises nothing.

        *is_new* tells whether this very request never came before; a repeat is not done again.
        """
        refusal = self._answerers.refuse(request) if self._answerers is not None else ""
        if refusal:
            fields = {"by": request.by.name, "user": request.by.slack_id, "team": request.team}
            logger.warning("answer refused", extra={"fields": fields, "state": refusal})
            return _word(request, Answer(refusal))
        try:
            outcome = self._take(request) if is_new() else None
        except StoreError as error:
            fields = {"by": request.by.name, "error": str(error)}
            logger.warning("redis unavailable", extra={"fields": fields, "state": "requests"})
            return _word(request, Answer(_AWAY), is_kept=False)
        if isinstance(outcome, OpenModal):
            outcome = self._open(outcome)
        return _word(request, outcome) if outcome is not None else Carried()

    def _open(self, form: OpenModal) -> Answer | None:
        """Open the form; return what to say where that failed."""
        if self._client is None:
            return Answer("The form can't be opened without SLACK_BOT_TOKEN. Use the command: silence ID 2h")
        view = render_silence_form(form.incident, form.opening_at, form.zone)
        try:
            self._client.post("views.open", {"trigger_id": form.trigger_id, "view": view})
        except DeliveryError as error:
            fields = {"incident": form.incident.id, "reason": error.reason, "detail": error.detail}
            logger.warning("silence form not opened", extra={"fields": fields})
            command = f"silence {form.incident.id} 2h"
            return Answer(f"Slack did not open the form ({error.reason}). Press again, or say: {command}")
        return None

    def say(self, carried: Carried) -> None:
        """Say what is still to be said to who asked; a failure is only logged. Takes 2 s at most."""
        if carried.words is None or not self._is_slacks(carried.response_url):
            return
        try:
            post_words(carried.response_url, carried.words, _TIMEOUT_S)
        except DeliveryError as error:
            fields = {"reason": error.reason, "detail": error.detail}
            logger.warning("slack follow-up not delivered", extra={"fields": fields})

    def _is_slacks(self, url: str) -> bool:
        """Tell whether *url* is Slack's, or the place that stands in for it."""
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
        except ValueError:
            return False
        is_slack = parts.scheme == "https" and host.endswith(_WORDS_HOSTS)
        return is_slack or (parts.scheme in ("http", "https") and parts.netloc == self._own_host)


def _word(request: Request, outcome: Answer | Details | FormFaults, *, is_kept: bool = True) -> Carried:
    """Return *outcome* as Slack takes it: a form and a command are answered at once, a button is not."""
    if isinstance(request, ModalSubmit):
        faults = outcome.fields if isinstance(outcome, FormFaults) else {FIELD_CHOICE: _text(outcome)}
        return Carried(render_faults(faults), is_kept=is_kept)
    if isinstance(outcome, FormFaults):
        outcome = Answer(" ".join(outcome.fields.values()))
    said = render_spoken(outcome)
    if isinstance(request, Command) and is_kept:
        return Carried(said)
    # Slack shows no body of an answer that says no, but over a socket it does.
    body = said if isinstance(request, Command) else None
    return Carried(body, is_kept, said, request.response_url)


def _text(outcome: Answer | Details) -> str:
    return outcome.text if isinstance(outcome, Answer) else outcome.incident.alertname
