"""Deliveries that were given up in words, for the terminal. Pure: the moment is handed in."""

from __future__ import annotations

from collections.abc import Sequence

from receiver.cli.api_model import FailedRow
from receiver.cli.terminal import render_age, render_table
from receiver.text import one_line

_HEAD = ("ID", "SEVERITY", "ALERT", "WHERE", "WHAT", "TRIES", "GIVEN UP", "WHY")


def render_failed(rows: Sequence[FailedRow], now: float, width: int | None = None) -> str:
    """Return deliveries as a table, at most *width* columns wide where there is room."""
    return render_table(_HEAD, [_format_row(row, now) for row in rows], width)


def _format_row(row: FailedRow, now: float) -> tuple[str, ...]:
    return (
        row.id,
        row.severity,
        one_line(row.alertname, 40),
        one_line(row.target, 60),
        one_line(row.what, 60),
        str(row.attempts),
        render_age(row.failed_at, now),
        ": ".join(filter(None, (row.reason, row.detail))),
    )
