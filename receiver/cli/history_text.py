"""Incidents of the past in words, for the terminal. Pure: the time zone is handed in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from receiver.cli.api_model import HistoryRow
from receiver.cli.terminal import render_moment, render_table
from receiver.clock import format_duration
from receiver.text import one_line

_HEAD = ("ID", "SEVERITY", "ALERT", "OPENED", "LASTED", "ACKNOWLEDGED", "SUMMARY")


def render_history(rows: Sequence[HistoryRow], width: int | None = None, zone: tzinfo | None = None) -> str:
    """Return incidents as a table, at most *width* columns wide where there is room."""
    return render_table(_HEAD, [_format_row(row, zone) for row in rows], width)


def format_lasted(row: HistoryRow) -> str:
    """Return `12m`, or how it stands while it isn't over."""
    return format_duration(row.duration_s) if row.duration_s is not None else f"still {row.state}"


def format_acknowledged(row: HistoryRow) -> str:
    """Return `after 2m by ana`; empty when nobody has it."""
    if row.acknowledged_after_s is None:
        return ""
    by = f" by {one_line(row.acknowledged_by, 40)}" if row.acknowledged_by else ""
    return f"after {format_duration(row.acknowledged_after_s)}{by}"


def _format_row(row: HistoryRow, zone: tzinfo | None) -> tuple[str, ...]:
    return (
        row.id,
        row.severity,
        one_line(row.alertname, 40),
        render_moment(row.opened_at, zone),
        format_lasted(row),
        format_acknowledged(row),
        row.summary,
    )
