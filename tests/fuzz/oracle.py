"""Looks whether the receiver stumbled: an answer of 5xx, or a traceback in its log."""

from __future__ import annotations

import logging
from typing import Any

import pytest


class Stumbles:
    """What was logged with a traceback since the last look."""

    def __init__(self, log: pytest.LogCaptureFixture) -> None:
        self._log = log

    def none(self, answer: Any = None) -> None:
        records = [record for record in self._log.records if record.exc_info]
        self._log.clear()
        assert not records, logging.Formatter().format(records[0])
        if answer is not None:
            assert answer.status_code < 500, (answer.status_code, answer.text[:500])
