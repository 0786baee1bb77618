"""What is no HTTP, or more of it than we take: what was wrong with it, and what to send instead.

Nothing of a request is repeated: it may hold secrets, and whatever else a stranger wrote.
"""

from __future__ import annotations

from dataclasses import dataclass

from gunicorn.http.errors import ParseException

MAX_LINE = 4094
# Far more than browsers and proxies send, far less than gunicorn's own: every connection may fill them.
MAX_HEADERS = 64
MAX_HEADER = 8190


@dataclass(frozen=True)
class MalformedRequest:
    """Why a request could not be read: a status, and a sentence for whoever sent it."""

    status: int
    message: str


_NO_HTTP = MalformedRequest(400, "this is not HTTP/1.1: see RFC 9112")
_NO_HEADER = MalformedRequest(
    400,
    "a header can't be read, or there are two lengths of the body: send Name: value on a line of its own, "
    "and either Content-Length or Transfer-Encoding: chunked",
)
_NO_CHUNK = MalformedRequest(
    400, "a chunk of the body can't be read: send its size in hexadecimal, CR LF, its data and CR LF"
)
# By gunicorn's names for them: its older versions lack some.
_MALFORMED = {
    "LimitRequestLine": MalformedRequest(
        414, f"the request line is longer than {MAX_LINE} bytes: send a shorter address"
    ),
    "LimitRequestHeaders": MalformedRequest(
        431, f"there are more than {MAX_HEADERS} headers, or one of more than {MAX_HEADER} bytes: send less"
    ),
    "UnsupportedTransferCoding": MalformedRequest(
        501, "this transfer coding is not known: send the body as it is, or chunked"
    ),
    "ExpectationFailed": MalformedRequest(417, "only 100-continue can be expected: leave Expect out"),
    "InvalidRequestLine": MalformedRequest(
        400,
        "the request line is not HTTP/1.1: send METHOD PATH HTTP/1.1 and CR LF; TLS needs a proxy in front",
    ),
    "InvalidRequestMethod": MalformedRequest(
        400, "this is no method: send one in capitals, like GET or POST"
    ),
    "InvalidHTTPVersion": MalformedRequest(505, "this version of HTTP is not known: send HTTP/1.1"),
    "InvalidHeader": _NO_HEADER,
    "InvalidHeaderName": _NO_HEADER,
    "ObsoleteFolding": _NO_HEADER,
    "InvalidSchemeHeaders": MalformedRequest(
        400, "the proxy's headers contradict each other on https: have it send X-Forwarded-Proto alone"
    ),
    "InvalidChunkSize": _NO_CHUNK,
    "InvalidChunkExtension": _NO_CHUNK,
    "ChunkMissingTerminator": _NO_CHUNK,
}
# Not the sender's fault, though they are raised as if they were.
_NOT_MALFORMED = ("ConfigurationProblem", "InvalidResponseHeader", "InvalidResponseHeaderName")


def find_malformed_request(error: BaseException) -> MalformedRequest | None:
    """Return what is wrong with the request that gunicorn could not read; None where *error* is another."""
    name = type(error).__name__
    if not isinstance(error, ParseException) or name in _NOT_MALFORMED:
        return None
    return _MALFORMED.get(name, _NO_HTTP)
