"""Reading bodies so that a large one holds up nobody: piece by piece, others first in between."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import IO

from gunicorn.http.errors import ParseException

# Below this a body comes at once; one of 32 MiB takes longer than a small webhook may wait.
PIECE = 256 * 1024


def read_whole(stream: IO[bytes]) -> bytes:
    """Return what *stream* holds; whoever bounds it bounds this."""
    body = bytearray()
    while piece := stream.read(PIECE):
        body += piece
        give_way()
    return bytes(body)


def read_out(stream: IO[bytes]) -> None:
    """Drop what is left in *stream*, so that who sent it can read our answer.

    Left alone, gunicorn would drop it a kibibyte at a time and move the rest of its buffer each time: a
    body of 40 MiB that was refused unread took it seconds, in which nobody else was answered.
    """
    with suppress(OSError, ParseException):  # broken off, or no chunk: it is answered already
        while stream.read(PIECE):
            give_way()


def give_way() -> None:
    """Let others go first: under gevent, whoever always finds more to read there would never give way."""
    time.sleep(0)
