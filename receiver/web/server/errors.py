"""Error handlers of the application: an HTML page for browsers, JSON for programs."""

from __future__ import annotations

import logging

from flask import Flask, Response, render_template, request
from gunicorn.http.errors import ParseException
from msgspec import json
from werkzeug.exceptions import ClientDisconnected, HTTPException, MethodNotAllowed

from receiver.errors import NotFound, PayloadError, ReceiverError, StoreError
from receiver.web.server.malformed import INTERNAL_ERROR, find_malformed_request, render_error_body

_JSON_PATHS = ("/api/", "/webhooks/", "/static/", "/metrics", "/healthz", "/readyz")
_TITLES = {
    401: "Who are you?",
    403: "Not from there",
    404: "There is no such page",
    429: "Too many at once",
    500: "That went wrong",
    502: "That went wrong",
    503: "The receiver can't answer now",
}


def wants_html() -> bool:
    """Return whether a browser sent the request: it accepts HTML, and the path is not one for programs."""
    return not request.path.startswith(_JSON_PATHS) and "text/html" in request.headers.get("Accept", "")


logger = logging.getLogger(__name__)


class RequestError(ReceiverError):
    """A request that is refused with *status*; the message is a sentence for the client."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


def json_response(body: object) -> Response:
    """Return *body* encoded as a JSON response."""
    return Response(json.encode(body) + b"\n", content_type="application/json")


def error_response(status: int, message: str, kind: str = "", *, title: str = "") -> Response:
    """Return an error in the common form: JSON, or for browsers an HTML page headed *title*.

    *kind* is the `type` of the JSON error where the status does not determine it. The page does not read from
    Redis, which may be the reason for the error.
    """
    if wants_html():
        heading = title or _TITLES.get(status, "That can't be done")
        sentence = f"{message[:1].upper()}{message[1:].rstrip('.')}."
        page = render_template("error.html", status=status, heading=heading, message=sentence)
        response = Response(page, status, content_type="text/html; charset=utf-8")
    else:
        response = Response(render_error_body(status, message, kind), status, content_type="application/json")
    if status == 401:
        # Makes a browser prompt for a password, which is the token; the user name is arbitrary.
        response.headers["WWW-Authenticate"] = 'Basic realm="receiver", charset="UTF-8"'
    return response


def register_error_handlers(app: Flask) -> None:
    """Answer every error that a view of *app* can raise."""
    app.register_error_handler(Exception, _render_error)


def _render_error(error: Exception) -> Response:
    match error:
        case NotFound():
            closed = "; it may have been closed longer ago than is kept" if error.kind == "incident" else ""
            status, message = 404, f"{error}{closed}"
        case RequestError():
            status, message = error.status, str(error)
        case PayloadError():
            status, message = 400, error.reason
        case StoreError():
            # One log line for all paths: Alertmanager, browsers and monitoring all repeat their requests.
            fields = {"path": request.path, "error": str(error)}
            logger.warning("redis unavailable", extra={"fields": fields, "state": "requests"})
            status, message = 503, "the store can't take it now, send it again"
            if wants_html():
                advice = error.advice or "it refuses a command: see the receiver's log"
                message = f"the receiver keeps its incidents in Redis, and {advice}"
        case ClientDisconnected():
            status, message = 408, "the body came too slowly or was incomplete"
        case HTTPException():
            status, message = error.code or 500, error.description or error.name
        case ParseException() if (malformed := find_malformed_request(error)) is not None:
            # gunicorn raises this while the body is read: invalid chunked encoding.
            status, message = malformed
        case _:
            fields = {"path": request.path}
            logger.error("unhandled error in request", exc_info=error, extra={"fields": fields})
            status, message = 500, INTERNAL_ERROR
    response = error_response(status, message)
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response
