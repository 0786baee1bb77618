"""The page of the past."""

from __future__ import annotations

from flask import Blueprint, render_template, request, url_for
from msgspec.structs import asdict

from receiver.clock import format_duration
from receiver.web.board import describe_state
from receiver.web.charts import draw_days, draw_ranks
from receiver.web.past import PastQuery, build_past, describe_wait
from receiver.web.questions import read_query
from receiver.web.rows import format_moment
from receiver.wiring import Parts

_NOISIEST = 10


def add_history(pages: Blueprint, parts: Parts) -> None:
    """Add the page to the blueprint."""

    @pages.get("/history")
    def history() -> str:
        """Show what was, and what it tells of the alerts."""
        asked = read_query(PastQuery, request.args)
        past = build_past(parts, asked)

        def turn(page: int) -> str:
            return url_for("pages.history", **{**{k: v for k, v in asdict(asked).items() if v}, "page": page})

        noisiest = past.habits[:_NOISIEST]
        return render_template(
            "history.html",
            asked=asked,
            past=past,
            noisiest=noisiest,
            days_chart=draw_days(past.days),
            ranks_chart=draw_ranks([(habit.alertname or "(no name)", habit.count) for habit in noisiest]),
            turn=turn,
            say_wait=describe_wait,
            say_state=describe_state,
            duration=format_duration,
            rfc3339=format_moment,
        )
