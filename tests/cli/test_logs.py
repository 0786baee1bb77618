"""What a log line holds, and what it never does."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from receiver import logs
from receiver.logs import JsonFormatter, TextFormatter, hide
from receiver.text import Secret


@dataclass(frozen=True)
class Keys:
    tokens: tuple[Secret, ...]
    short: Secret


@pytest.fixture(params=[JsonFormatter, TextFormatter])
def line(request: pytest.FixtureRequest) -> Iterator[object]:
    """Logs one event and returns its line."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(request.param())
    logger = logging.Logger("receiver.test")  # noqa: LOG001  # one that no other test can have configured
    logger.addHandler(handler)

    def write(event: str, *args: object, error: Exception | None = None, **fields: object) -> str:
        logger.warning(event, *args, extra={"fields": fields}, exc_info=error)
        return stream.getvalue()

    known = set(logs._secrets)
    yield write
    logs._secrets.clear()
    logs._secrets.update(known)


def test_a_stranger_can_not_write_a_line_of_ours(line) -> None:
    written = line("event %s", 'a\n{"event": "forged"}', summary="x\r\n12:00 critical forged\x1b[2J\u2028y")
    assert written.count("\n") == 1
    assert written.endswith("\n")
    assert "\x1b" not in written


def test_a_secret_is_hidden_wherever_it_turns_up(line) -> None:
    hide(Keys((Secret("xoxb-very-secret"),), Secret("ab")), {"pager": [Secret("routing-key-1")]})
    error = ValueError("refused: https://x/?token=xoxb-very-secret")
    written = line("sent xoxb-very-secret", key="routing-key-1", nested=["routing-key-1"], error=error)
    assert "xoxb-very-secret" not in written
    assert "routing-key-1" not in written
    assert "ab" not in logs._secrets


def test_a_secret_as_a_value_prints_stars(line) -> None:
    assert "***" in line("event", token=Secret("tok"))


def test_a_long_value_is_cut(line) -> None:
    assert len(line("event", value="x" * 100_000)) < 3_000


def test_json_has_time_level_event_and_the_fields() -> None:
    record = logging.LogRecord("receiver.x", logging.INFO, "x.py", 1, "step told", (), None)
    record.created = 1_700_000_000.5
    record.fields = {"incident": "a1", "after": 1.5, "level": "not ours", "odd": float("nan")}
    assert json.loads(JsonFormatter().format(record)) == {
        "time": "2023-11-14T22:13:20.500Z",
        "level": "info",
        "event": "step told",
        "logger": "receiver.x",
        "incident": "a1",
        "after": 1.5,
        "odd": "nan",
    }


def test_text_quotes_only_what_needs_it() -> None:
    record = logging.LogRecord("receiver.x", logging.INFO, "x.py", 1, "step told", (), None)
    record.fields = {"incident": "a1", "summary": "disk full"}
    assert TextFormatter().format(record).endswith('info    step told incident=a1 summary="disk full"')
