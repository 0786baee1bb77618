"""Structured logs: one line for each event, on stderr, with all secrets masked.

    logger.warning("work queue unavailable", extra={"fields": {"queue": queue}, "state": queue})

The message is a fixed phrase that can be searched for; variable data goes into `fields`. On a terminal a line
is text for people, anywhere else it is one JSON object. In both, line ends and control characters in
untrusted text are escaped, so that a sender can't forge a log line. A loop that repeats a failure names it as
a `state`: the first such line is written, and then one a minute with a `count` of those since the last one.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from functools import lru_cache
from math import isfinite
from types import TracebackType
from typing import Any, TextIO
from urllib.parse import unquote

from receiver.clock import format_iso_time
from receiver.errors import ConfigError
from receiver.text import Secret, clean_text, truncate_text

MAX_VALUE = 2_000
MAX_TRACEBACK = 20_000
STATE_EVERY_S = 60.0
# Far more states than are in use; over the limit, the least recently written one is removed.
_STATES_AT_MOST = 1_000
# Masking shorter secrets would mask ordinary words, and they protect nothing.
_MIN_SECRET = 6

_PLAIN = re.compile(r"[\w./:@#%+,*-]+")
_LOGIN = re.compile(r"://([^/?#\s]+)@")
_secrets: set[str] = set()
_patterns: list[re.Pattern[str]] = []  # one that matches any of the secrets


def hide_secrets(*holders: Any) -> None:
    """Log `***` instead of every Secret in *holders* from now on, also in the errors of libraries.

    A holder is a Secret, or a dataclass, mapping or collection. The password in a URL is a secret, too.
    """
    for secret in _find_secrets(holders):
        if len(text := secret.reveal()) >= _MIN_SECRET:
            _secrets.add(text)
    if _secrets:  # the longest first, as one may contain another
        _patterns[:] = [re.compile("|".join(map(re.escape, sorted(_secrets, key=len, reverse=True))))]


def setup_logs(stream: TextIO | None = None) -> None:
    """Send every log line of this process, and uncaught errors, to *stream* (default stderr)."""
    target = stream if stream is not None else sys.stderr
    handler = StateHandler(target)
    handler.setFormatter(TextFormatter() if target.isatty() else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("receiver").setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda thread: _log_uncaught(*thread[:3])
    # No line has these: https://docs.python.org/3/howto/logging.html#optimization
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = ""  # noqa: SLF001


def log_problems(error: ConfigError) -> None:
    """Log each problem of a refused new configuration."""
    logger = logging.getLogger(__name__)
    for problem in error.problems:
        logger.error("configuration refused", extra={"fields": {"problem": str(problem)}})


class StateHandler(logging.StreamHandler[TextIO]):
    """Writes log lines; of lines with a `state` (of a logger and message), one a minute with their count.

    A state ends when no line of it came for a minute; the next line is then written at once.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._clock = clock
        self._states: dict[tuple[str, str, str], _RepeatedRecord] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*, unless its state was written less than a minute ago."""
        # Called with the handler's lock held, which logging also reinitializes in a forked child.
        state = getattr(record, "state", None)
        count = 1 if state is None else self._count_lines(record, str(state))
        if count > 1:
            record = logging.makeLogRecord({**vars(record), "fields": {**_fields(record), "count": count}})
        if count:
            super().emit(record)

    def _count_lines(self, record: logging.LogRecord, name: str) -> int:
        """Return how many lines of this state *record* stands for; 0 means do not write it yet."""
        key, now = (record.name, str(record.msg), name), self._clock()
        state, count = self._states.get(key), 1
        if state is not None and now - state.met_at < STATE_EVERY_S:
            if now - state.written_at < STATE_EVERY_S:
                state.met_at = now
                state.unwritten += 1
                return 0
            count += state.unwritten
        self._states.pop(key, None)  # keep the dict ordered by the time of writing
        self._states[key] = _RepeatedRecord(written_at=now, met_at=now)
        if len(self._states) > _STATES_AT_MOST:
            del self._states[next(iter(self._states))]
        return count


@dataclass
class _RepeatedRecord:
    """A repeated state: when its last line was written, when it last occurred, and how often in between."""

    written_at: float
    met_at: float
    unwritten: int = 0


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, event, logger, then the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": f"{_format_second(int(record.created))}{int(record.created % 1 * 1000):03}Z",
            "level": record.levelname.lower(),
            "event": _safe(record.getMessage(), MAX_VALUE),
            "logger": record.name,
        }
        for name, value in _fields(record).items():
            line.setdefault(name, value)
        if error := _error(record):
            line["error"] = error
        # ASCII only: untrusted text can't confuse a terminal or a log store.
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    """`12:00:01 warning step timed out incident=a1 step=on-call`, for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        event = json.dumps(_safe(record.getMessage(), MAX_VALUE), ensure_ascii=False)[1:-1]
        parts = [at, f"{record.levelname.lower():<7}", event]
        for name, value in _fields(record).items():
            is_plain = isinstance(value, str) and _PLAIN.fullmatch(value)
            parts.append(f"{name}={value if is_plain else json.dumps(value, ensure_ascii=False)}")
        if error := _error(record):
            # The only multi-line part: indented, so that it can't be taken for a separate log line.
            parts.append("\n    " + error.rstrip().replace("\n", "\n    "))
        return " ".join(parts)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    found = getattr(record, "fields", None)
    return {str(name): _plain(value) for name, value in found.items()} if isinstance(found, Mapping) else {}


def _plain(value: Any) -> Any:
    """Return *value* as a JSON value; types that JSON lacks become text."""
    if isinstance(value, str):
        return _safe(value, MAX_VALUE)
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value)):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return _safe(str(value), MAX_VALUE)


def _error(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    return _safe("".join(traceback.format_exception(record.exc_info[1])), MAX_TRACEBACK)


def _find_secrets(holder: Any) -> Iterator[Secret]:
    if isinstance(holder, Secret):
        yield holder
        yield from _find_logins(holder.reveal())
    elif isinstance(holder, str):
        yield from _find_logins(holder)
    elif is_dataclass(holder):
        for field in fields(holder):
            value = getattr(holder, field.name)
            if isinstance(value, str) and field.metadata.get("kind") == "secret":
                yield Secret(value)  # a URL that is a secret as a whole
            yield from _find_secrets(value)
    elif isinstance(holder, Mapping):
        yield from _find_secrets(list(holder.values()))
    elif isinstance(holder, list | tuple | set | frozenset):
        for item in holder:
            yield from _find_secrets(item)


def _find_logins(text: str) -> Iterator[Secret]:
    """Yield the login and password in a URL, percent-encoded and decoded."""
    for login in _LOGIN.findall(text):
        password = login.partition(":")[2] or login
        yield from (Secret(login), Secret(password), Secret(unquote(password)))


@lru_cache(maxsize=1)
def _format_second(second: int) -> str:
    return format_iso_time(second).removesuffix("000Z")


def _safe(text: str, limit: int) -> str:
    for pattern in _patterns:
        text = pattern.sub("***", text)
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    return truncate_text(clean_text(text), limit)


def _log_uncaught(
    kind: type[BaseException], error: BaseException | None, where: TracebackType | None
) -> None:
    if error is not None and not issubclass(kind, KeyboardInterrupt):
        logging.getLogger("receiver").critical("uncaught error", exc_info=(kind, error, where))
