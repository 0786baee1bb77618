"""What the receiver writes to its log, with states that last written as `setup_logs` has them written."""

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
    """Hand out the lines that are written within this context, as JSON."""
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
    """Count the lines by event and by the lane or the part of the worker that they name."""
    lines = map(json.loads, log.getvalue().splitlines())
    return Counter((line["event"], line.get("queue") or line.get("what") or "") for line in lines)
