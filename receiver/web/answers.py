"""What every door answers alike: errors, as JSON with a type and a sentence."""

from __future__ import annotations

import logging

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from receiver.errors import NotFound, PayloadError, StoreError

logger = logging.getLogger(__name__)

_TYPES = {
    400: "bad_request",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    503: "unavailable",
}


def refuse(status: int, message: str, kind: str = "") -> Response:
    """Return an error in the form all of ours have."""
    answer = jsonify({"error": {"type": kind or _TYPES.get(status, "error"), "message": message}})
    answer.status_code = status
    if status == 401:
        # Lets a browser ask for the token, as the password with any name.
        answer.headers["WWW-Authenticate"] = 'Basic realm="receiver", charset="UTF-8"'
    return answer


def handle_errors(app: Flask) -> None:
    """Give *app* an answer for each error it may meet."""

    @app.errorhandler(NotFound)
    def not_found(error: NotFound) -> Response:
        return refuse(404, f"{error}; it may have been closed longer ago than is kept")

    @app.errorhandler(PayloadError)
    def unreadable(error: PayloadError) -> Response:
        return refuse(400, error.reason)

    @app.errorhandler(StoreError)
    def store_away(error: StoreError) -> Response:
        logger.warning("store out of reach", extra={"fields": {"path": request.path, "error": str(error)}})
        return refuse(503, "the store can't take it now, send it again")

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        return refuse(error.code or 500, error.description or error.name)

    @app.errorhandler(Exception)
    def fault(error: Exception) -> Response:
        logger.error("fault while answering", exc_info=error, extra={"fields": {"path": request.path}})
        return refuse(500, "a fault of ours; the log of the receiver tells more", "internal")
