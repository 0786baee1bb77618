"""Alertmanager's webhooks, and alerts of its API v2, that are sent to a wrong path of the receiver.

Their senders drop what is answered 404, so these alerts are lost. The response names the right URL,
and a notice tells the operators.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO, TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from flask import Flask, Response, request
from gunicorn.http.errors import ParseException
from msgspec import DecodeError, Raw, Struct, json

from receiver import metrics
from receiver.config.settings import Settings
from receiver.config.yaml_tree import quote_text
from receiver.notices import RejectedWebhooks
from receiver.text import Secret
from receiver.web.auth.guard import ALERTS_API, has_valid_token
from receiver.web.server.connection import PIECE, yield_to_others
from receiver.web.server.errors import error_response

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger(__name__)

HOOK = "/webhooks/alertmanager"
_SIGNED = frozenset({"/webhooks/pagerduty", "/webhooks/slack/interactions", "/webhooks/slack/commands"})
_SIGNATURES = ("X-PagerDuty-Signature", "X-Slack-Signature")
MAX_READ = 1024 * 1024
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_HOST = re.compile(r"[\w.-]{1,255}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?", re.ASCII)
# Alertmanager writes `version` after the alerts, so the head of a large body does not contain it.
_ALERTS = re.compile(rb'"alerts"\s*:\s*\[')
_LABELS = re.compile(rb'"labels"\s*:\s*\{')
_VERSION = re.compile(rb'"version"\s*:\s*"[14]"')
_SENDERS = ("Alertmanager/", "Grafana")


class _Alert(Struct, gc=False):
    labels: dict[str, Raw]


class _Webhook(Struct, gc=False):
    """The fields that identify a webhook of Alertmanager (version 4) or Grafana (version 1)."""

    version: Literal["4", "1"]
    alerts: Raw


_decoder = json.Decoder(_Webhook)
_array_decoder = json.Decoder(list[_Alert])


def ignore_slashes(application: WSGIApplication) -> WSGIApplication:
    """Return *application* wrapped so that superfluous slashes in the path of a webhook are ignored.

    Senders drop a webhook that is answered 404, and a PUBLIC_URL with a trailing `/` leads to `//webhooks/…`.
    """

    def wsgi_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.endswith("/") or "//" in path:
            plain = "/" + "/".join(filter(None, path.split("/")))
            if plain in (HOOK, ALERTS_API) or plain in _SIGNED:
                environ["PATH_INFO"] = plain
        return application(environ, start_response)

    return wsgi_app


def add_misaddressed_check(app: Flask, settings: Settings, rejected: RejectedWebhooks) -> None:
    """Answer misaddressed webhooks to *app*, before any other check of a request.

    Where webhook tokens are set, only requests with one of them; others get the usual response.
    """
    public_url, tokens = settings.public_url, settings.webhook_tokens

    @app.before_request
    def refuse_misaddressed() -> Response | None:
        if request.method != "POST" or request.path == HOOK or not _may_be_webhook(tokens):
            return None
        body = request.environ["wsgi.input"] = _RewoundStream(request.environ["wsgi.input"])
        head, sender = body.read_head(), request.headers.get("User-Agent", "")
        hook = HOOK
        if request.path != ALERTS_API and _is_array(head):
            hook = ALERTS_API
        elif not _is_webhook(head, sender):
            return None
        if request.path != ALERTS_API:  # there, all responses are counted
            metrics.WEBHOOKS.labels("404").inc()
        metrics.ALERTS.labels("rejected").inc()
        # The path may contain a secret, so anything that looks like a token is masked.
        path, sender = quote_text(request.path), str(request.remote_addr)
        fields = {"path": path, "from": sender}
        logger.error("webhook at a wrong address", extra={"fields": fields, "state": "wrong address"})
        reason = f"it came to {path}; point its sender at {public_url}{hook}"
        rejected.record_rejection(reason, sender, "webhooks at a wrong address")
        expected = f"POST them to {find_hook_url(public_url, hook)}"
        return error_response(404, f"alerts are not taken here, and these are lost: {expected}")


def _may_be_webhook(tokens: tuple[Secret, ...]) -> bool:
    """Tell by the headers whether the request may be a webhook: no form, and not sent by a browser.

    At a signed webhook's path, only a body that is declared as JSON and has no signature is read.
    """
    headers = request.headers
    if "Origin" in headers or "Sec-Fetch-Site" in headers or request.mimetype in _FORMS:
        return False
    if request.path in _SIGNED and (not request.is_json or any(name in headers for name in _SIGNATURES)):
        return False
    return has_valid_token(request, tokens)


def find_hook_url(public_url: str, hook: str = HOOK) -> str:
    """Return the URL of the path *hook*, with the host name of the current request.

    Where that is the host of PUBLIC_URL, the URL is based on PUBLIC_URL, which may contain a path prefix.
    """
    host = request.host
    if not _HOST.fullmatch(host):
        return public_url + hook
    is_public = urlsplit(public_url).netloc.rpartition("@")[2].lower() == host.lower()
    return (public_url if is_public else f"{request.scheme}://{host}") + hook


def _is_webhook(head: bytes, sender: str) -> bool:
    """Return whether a body that begins with *head* is a webhook of *sender*, a User-Agent. Never fails."""
    if len(head) < MAX_READ:
        try:
            _decoder.decode(head)
        except (DecodeError, UnicodeDecodeError, RecursionError):
            return False
        return True
    if not head.lstrip().startswith(b"{") or _ALERTS.search(head) is None:
        return False
    return sender.startswith(_SENDERS) or _VERSION.search(head) is not None


def _is_array(head: bytes) -> bool:
    """Return whether a body that begins with *head* is an array of alerts of API v2. Never fails."""
    if not head.lstrip().startswith(b"["):
        return False
    if len(head) >= MAX_READ:
        return _LABELS.search(head) is not None
    try:
        return bool(_array_decoder.decode(head))
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return False


@dataclass(eq=False, repr=False)
class _RewoundStream:
    """A stream whose first bytes were read ahead and are returned again by `read`."""

    stream: IO[bytes]
    head: BytesIO = field(default_factory=BytesIO)
    error: ParseException | None = None

    def read_head(self) -> bytes:
        """Return the first MAX_READ bytes, or all if there are fewer; `read` raises its ParseException."""
        head = bytearray()
        try:
            while len(head) < MAX_READ and (piece := self.stream.read(min(PIECE, MAX_READ - len(head)))):
                head += piece
                yield_to_others()
        except ParseException as error:
            self.error = error
        self.head = BytesIO(head)
        return bytes(head)

    def read(self, size: int = -1) -> bytes:
        """Return up to *size* bytes; all remaining ones for a negative *size*."""
        head = self.head.read(size)
        if head and size >= 0:
            return head
        if self.error is not None:
            raise self.error
        return head + self.stream.read(size)
