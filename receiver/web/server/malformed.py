"""The common JSON form of errors, and the responses to requests that gunicorn can't parse.

Does not import Flask: some of these are sent before the application sees a request, and gunicorn's master
imports this module.
"""

from __future__ import annotations

from http import HTTPStatus

from gunicorn.http.errors import ParseException
from msgspec import Struct, json


class ErrorBody(Struct, frozen=True):
    """What is wrong: a short word for programs and a sentence for people."""

    type: str
    message: str


class ErrorAnswer(Struct, frozen=True):
    """The form that every error has."""

    error: ErrorBody


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
    """Return the JSON body of an error; *kind* is its `type` where the status does not determine it."""
    return json.encode(ErrorAnswer(ErrorBody(kind or _TYPES.get(status, "error"), message))) + b"\n"


def render_final_response(status: int, message: str, *headers: str) -> bytes:
    """Return a complete HTTP response with an error, for a connection that is closed after it."""
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


MAX_LINE = 4094
# More than browsers and proxies send, but far less than gunicorn's defaults: every connection may use it up.
MAX_HEADERS = 64
MAX_HEADER = 8190


_NO_HTTP = (400, "this is not HTTP/1.1: see RFC 9112")
_UNREADABLE_HEADER = (
    "a header can't be read, or there are two lengths of the body: send Name: value on a line of its own, "
    "and either Content-Length or Transfer-Encoding: chunked"
)
_NO_HEADER = (400, _UNREADABLE_HEADER)
_NO_CHUNK = (
    400,
    "a chunk of the body can't be read: send its size in hexadecimal, CR LF, its data and CR LF",
)
# Keyed by the names of gunicorn's exceptions, since older versions lack some of the classes.
_MALFORMED = {
    "LimitRequestLine": (414, f"the request line is longer than {MAX_LINE} bytes: send a shorter address"),
    "LimitRequestHeaders": (
        431,
        f"there are more than {MAX_HEADERS} headers, or one of more than {MAX_HEADER} bytes: send less",
    ),
    "UnsupportedTransferCoding": (
        501,
        "this transfer coding is not known: send the body as it is, or chunked",
    ),
    "ExpectationFailed": (417, "only 100-continue can be expected: leave Expect out"),
    "InvalidRequestLine": (
        400,
        "the request line is not HTTP/1.1: send METHOD PATH HTTP/1.1 and CR LF; TLS needs a proxy in front",
    ),
    "InvalidRequestMethod": (400, "this is no method: send one in capitals, like GET or POST"),
    "InvalidHTTPVersion": (505, "this version of HTTP is not known: send HTTP/1.1"),
    "InvalidHeader": _NO_HEADER,
    "InvalidHeaderName": _NO_HEADER,
    "ObsoleteFolding": _NO_HEADER,
    "InvalidSchemeHeaders": (
        400,
        "the proxy's headers contradict each other on https: have it send X-Forwarded-Proto alone",
    ),
    "InvalidChunkSize": _NO_CHUNK,
    "InvalidChunkExtension": _NO_CHUNK,
    "ChunkMissingTerminator": _NO_CHUNK,
}
# Subclasses of ParseException that are not the client's fault.
_NOT_MALFORMED = ("ConfigurationProblem", "InvalidResponseHeader", "InvalidResponseHeaderName")


def find_malformed_request(error: BaseException) -> tuple[int, str] | None:
    """Return the status and a sentence for a request that gunicorn can't parse; None for another *error*."""
    name = type(error).__name__
    if not isinstance(error, ParseException) or name in _NOT_MALFORMED:
        return None
    return _MALFORMED.get(name, _NO_HTTP)
