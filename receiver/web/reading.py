"""Reading bodies so that a large one holds up nobody: piece by piece, others first in between."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import IO

from flask import Request

from receiver.web.line import ClientConnection

# Below this a body comes at once; one of 32 MiB takes longer than a small webhook may wait.
PIECE = 256 * 1024


def drain(stream: IO[bytes]) -> bytes:
    """Return what *stream* holds; whoever bounds it bounds this."""
    body = bytearray()
    while piece := stream.read(PIECE):
        body += piece
        yield_to_others()
    return bytes(body)


def read_unverified_body(request: Request) -> bytes:
    """Return the body of a *request* by which its signature is to be checked. Anybody may have sent it, so
    it is broken off where there is no room for others.
    """
    connection = request.environ.get("gunicorn.socket")
    with connection.mark_unverified() if isinstance(connection, ClientConnection) else nullcontext():
        return request.get_data(cache=True, parse_form_data=False)


def yield_to_others() -> None:
    """Let others go first: under gevent, whoever always finds more to read there would never give way."""
    time.sleep(0)
