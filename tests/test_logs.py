"""The content of log lines."""

from __future__ import annotations

import ast
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from receiver import logs
from receiver.logs import STATE_EVERY_S, JsonFormatter, StateHandler, TextFormatter, hide_secrets
from receiver.text import Secret


@dataclass(frozen=True)
class Keys:
    tokens: tuple[Secret, ...]
    short: Secret


@pytest.fixture(params=[JsonFormatter, TextFormatter])
def line(request: pytest.FixtureRequest) -> Iterator[object]:
    """Return a function that logs one event and returns its line."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(request.param())
    logger = logging.Logger("receiver.test")  # noqa: LOG001  # one that no other test can have configured
    logger.addHandler(handler)

    def write(event: str, *args: object, error: Exception | None = None, **fields: object) -> str:
        logger.warning(event, *args, extra={"fields": fields}, exc_info=error)
        return stream.getvalue()

    known, patterns = set(logs._secrets), list(logs._patterns)
    yield write
    logs._secrets.clear()
    logs._secrets.update(known)
    logs._patterns[:] = patterns


def test_values_can_not_forge_a_log_line(line) -> None:
    written = line("event %s", 'a\n{"event": "forged"}', summary="x\r\n12:00 critical forged\x1b[2J\u2028y")
    assert written.count("\n") == 1
    assert written.endswith("\n")
    assert "\x1b" not in written


def test_a_secret_is_hidden_everywhere(line) -> None:
    hide_secrets(Keys((Secret("xoxb-very-secret"),), Secret("ab")), {"pager": [Secret("routing-key-1")]})
    error = ValueError("refused: https://x/?token=xoxb-very-secret")
    written = line("sent xoxb-very-secret", key="routing-key-1", nested=["routing-key-1"], error=error)
    assert "xoxb-very-secret" not in written
    assert "routing-key-1" not in written
    assert "ab" not in logs._secrets


def test_a_secret_value_is_printed_as_stars(line) -> None:
    assert "***" in line("event", token=Secret("tok"))


def test_a_long_value_is_cut(line) -> None:
    assert len(line("event", value="x" * 100_000)) < 3_000


def test_json_has_time_level_event_and_the_fields() -> None:
    record = logging.LogRecord("receiver.x", logging.INFO, "x.py", 1, "step notified", (), None)
    record.created = 1_700_000_000.5
    record.fields = {"incident": "a1", "after": 1.5, "level": "not ours", "odd": float("nan")}
    assert json.loads(JsonFormatter().format(record)) == {
        "time": "2023-11-14T22:13:20.500Z",
        "level": "info",
        "event": "step notified",
        "logger": "receiver.x",
        "incident": "a1",
        "after": 1.5,
        "odd": "nan",
    }


def test_no_field_has_the_name_of_a_part_of_each_line() -> None:
    """It would be dropped from the JSON, as the type of PagerDuty's events was."""
    found = set()
    for path in (Path(__file__).parents[1] / "receiver").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_assigned = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "fields"
            if is_assigned and isinstance(node.value, ast.Dict):
                found |= {(path.name, ast.unparse(key)) for key in node.value.keys if key}
            if isinstance(node, ast.keyword) and node.arg == "extra" and isinstance(node.value, ast.Dict):
                rows = [value for value in node.value.values if isinstance(value, ast.Dict)]
                found |= {(path.name, ast.unparse(key)) for row in rows for key in row.keys if key}
    assert len(found) > 50
    assert {one for one in found if one[1] in ("'time'", "'level'", "'event'", "'logger'")} == set()


def test_text_quotes_only_what_needs_it() -> None:
    record = logging.LogRecord("receiver.x", logging.INFO, "x.py", 1, "step notified", (), None)
    record.fields = {"incident": "a1", "summary": "disk full"}
    assert TextFormatter().format(record).endswith('info    step notified incident=a1 summary="disk full"')


# --- lasting states ---


class Lines:
    """Logs with a clock set by the test, and records the written events with their counts."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.stream = io.StringIO()
        self.handler = StateHandler(self.stream, clock=lambda: self.at)
        self.handler.setFormatter(JsonFormatter())
        self._logger = logging.Logger("receiver.test")  # noqa: LOG001  # no other test can have configured it
        self._logger.addHandler(self.handler)

    def log(self, event: str, state: str | None, after_s: float = 0.0, **fields: object) -> None:
        """Log *event* at *after_s*."""
        self.at += after_s
        self._logger.warning(event, extra={"fields": fields, "state": state})

    def written(self) -> list[tuple[str, int]]:
        """Return the written events with their counts, 0 for a line without a count."""
        lines = map(json.loads, self.stream.getvalue().splitlines())
        return [(line["event"], line.get("count", 0)) for line in lines]


def test_a_state_is_written_at_once_and_then_once_a_minute_with_its_count() -> None:
    lines = Lines()
    for _ in range(2 * 150):  # twice a second for two and a half minutes
        lines.log("work queue unavailable", "slack", after_s=0.5)
    assert lines.written() == [
        ("work queue unavailable", 0),
        ("work queue unavailable", 120),
        ("work queue unavailable", 120),
    ]


def test_each_queue_and_each_event_is_a_state_of_its_own() -> None:
    lines = Lines()
    for _ in range(3):
        lines.log("work queue unavailable", "slack")
        lines.log("work queue unavailable", "pagerduty")
        lines.log("redis unavailable", "slack")
    assert lines.written() == [
        ("work queue unavailable", 0),
        ("work queue unavailable", 0),
        ("redis unavailable", 0),
    ]


def test_an_event_that_is_no_state_is_always_written() -> None:
    lines = Lines()
    for _ in range(3):
        lines.log("webhook refused", None)
    assert lines.written() == [("webhook refused", 0)] * 3


def test_a_state_that_was_absent_for_a_minute_is_written_at_once_with_a_new_count() -> None:
    lines = Lines()
    for _ in range(10):
        lines.log("redis unavailable", "heartbeat", after_s=1.0)
    lines.log("redis unavailable", "heartbeat", after_s=STATE_EVERY_S)
    lines.log("redis unavailable", "heartbeat", after_s=1.0)
    assert lines.written() == [("redis unavailable", 0), ("redis unavailable", 0)]


def test_an_intermittent_state_is_written_once_a_minute() -> None:
    lines = Lines()
    for _ in range(60):
        lines.log("redis unavailable", "heartbeat", after_s=2.0)
        lines.log("redis available again", "heartbeat", after_s=2.0)
    assert len(lines.written()) == 2 * 4


def test_the_number_of_stored_states_is_bounded() -> None:
    lines = Lines()
    for n in range(3_000):
        lines.log("not delivered", f"slack {n}")
    assert len(lines.handler._states) == 1_000
    lines.log("not delivered", "slack 2999")
    assert len(lines.written()) == 3_000


def test_the_count_is_written_with_the_fields_of_the_last_event() -> None:
    lines = Lines()
    for n in range(62):
        lines.log("redis unavailable", "requests", after_s=1.0, path=f"/{n}")
    last = json.loads(lines.stream.getvalue().splitlines()[-1])
    assert (last["path"], last["count"]) == ("/60", 60)
