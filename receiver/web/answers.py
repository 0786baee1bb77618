"""What every door answers alike: errors, as JSON with a type and a sentence."""

from __future__ import annotations

import logging

from flask import Flask, Response, request
from gunicorn.http.errors import ParseException
from msgspec import json
from werkzeug.exceptions import ClientDisconnected, HTTPException, MethodNotAllowed

from receiver.errors import NotFound, PayloadError, ReceiverError, StoreError
from receiver.web.error_page import is_for_reader, render_error_page
from receiver.web.errors import OUR_FAULT, render_error
from receiver.web.misframed import find_misframed

logger = logging.getLogger(__name__)


class Refusal(ReceiverError):
    """A request can't be done; the message is a sentence for whoever sent it."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


def send(body: object) -> Response:
    """Return *body* as a JSON answer."""
    return Response(json.encode(body) + b"\n", content_type="application/json")


def refuse(status: int, message: str, kind: str = "", *, title: str = "") -> Response:
    """Return an error in the form all of ours have: JSON, and for people a page, with *title* above it."""
    if is_for_reader():
        answer = render_error_page(status, message, title)
    else:
        answer = Response(render_error(status, message, kind), status, content_type="application/json")
    if status == 401:
        # Lets a browser ask for the token, as the password with any name.
        answer.headers["WWW-Authenticate"] = 'Basic realm="receiver", charset="UTF-8"'
    return answer


def handle_errors(app: Flask) -> None:
    """Give *app* an answer for each error it may meet."""

    @app.errorhandler(NotFound)
    def not_found(error: NotFound) -> Response:
        closed = "; it may have been closed longer ago than is kept" if error.kind == "incident" else ""
        return refuse(404, f"{error}{closed}")

    @app.errorhandler(Refusal)
    def refused(error: Refusal) -> Response:
        return refuse(error.status, str(error))

    @app.errorhandler(PayloadError)
    def unreadable(error: PayloadError) -> Response:
        return refuse(400, error.reason)

    @app.errorhandler(StoreError)
    def store_away(error: StoreError) -> Response:
        # Once for all paths: Alertmanager, browsers and monitoring all ask again while it is away.
        fields = {"path": request.path, "error": str(error)}
        logger.warning("redis unavailable", extra={"fields": fields, "state": "requests"})
        return refuse(503, "the store can't take it now, send it again")

    @app.errorhandler(ClientDisconnected)
    def broken_off(_: ClientDisconnected) -> Response:
        return refuse(408, "the body came too slowly or broke off")

    @app.errorhandler(ParseException)
    def misframed(error: ParseException) -> Response:
        # gunicorn finds out while we read the body: chunks that are none.
        found = find_misframed(error)
        return fault(error) if found is None else refuse(found.status, found.message)

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        answer = refuse(error.code or 500, error.description or error.name)
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            answer.headers["Allow"] = ", ".join(sorted(error.valid_methods))
        return answer

    @app.errorhandler(Exception)
    def fault(error: Exception) -> Response:
        logger.error("unhandled error in request", exc_info=error, extra={"fields": {"path": request.path}})
        return refuse(500, OUR_FAULT)
