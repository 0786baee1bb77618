"""The log lines of the receiver; lasting states are written as `setup_logs` configures it."""

from __future__ import annotations

import io
import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from receiver.logs import JsonFormatter, StateHandler


@contextmanager
def written_log() -> Iterator[io.StringIO]:
    """Return the list of lines, parsed from JSON, that are written within this context."""
    stream = io.StringIO()
    handler = StateHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("receiver")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield stream
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def count_lines(log: io.StringIO) -> Counter[tuple[str, str]]:
    """Count the lines by event and by the queue or thread of the worker that they name."""
    lines = map(json.loads, log.getvalue().splitlines())
    return Counter((line["event"], line.get("queue") or line.get("what") or "") for line in lines)
