"""The one form of every error: JSON with a type for programs and a sentence for people.

Knows no Flask: some are answered before the application hears of a request, and the master imports this.
"""

from __future__ import annotations

from http import HTTPStatus

from msgspec import json

from receiver.web.bodies import ErrorAnswer, ErrorBody

INTERNAL_ERROR = "a fault of ours; the log of the receiver tells more"

_TYPES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    409: "conflict",
    413: "too_large",
    414: "uri_too_long",
    417: "expectation_failed",
    429: "too_many_requests",
    431: "headers_too_large",
    500: "internal",
    501: "not_implemented",
    502: "bad_gateway",
    503: "unavailable",
    505: "version_not_supported",
}


def render_error_body(status: int, message: str, kind: str = "") -> bytes:
    """Return the body of an error; *kind* is its type where the status does not tell it."""
    return json.encode(ErrorAnswer(ErrorBody(kind or _TYPES.get(status, "error"), message))) + b"\n"


def render_final_response(status: int, message: str, *headers: str) -> bytes:
    """Return a whole answer with an error, for a connection that is closed after it."""
    body = render_error_body(status, message)
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
        "Connection: close",
        *headers,
    )
    return "\r\n".join((*head, "", "")).encode() + body
