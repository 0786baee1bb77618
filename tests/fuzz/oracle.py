"""The check of the fuzz tests: no 5xx response, and no traceback in the log."""

from __future__ import annotations

import logging
from typing import Any

import pytest


class LoggedErrors:
    """The tracebacks that were logged since the last check."""

    def __init__(self, log: pytest.LogCaptureFixture) -> None:
        self._log = log

    def assert_none(self, answer: Any = None) -> None:
        """Assert that no traceback was logged, and that the response *answer* is no 5xx."""
        records = [record for record in self._log.records if record.exc_info]
        self._log.clear()
        assert not records, logging.Formatter().format(records[0])
        if answer is not None:
            assert answer.status_code < 500, (answer.status_code, answer.text[:500])
