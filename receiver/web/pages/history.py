"""The page of the past."""

from __future__ import annotations

from flask import Blueprint, render_template, request

from receiver.clock import format_duration
from receiver.web.board import describe_state
from receiver.web.charts import draw_days, draw_ranks
from receiver.web.past import HistoryPageQuery, build_history_report, format_delay
from receiver.web.questions import read_query
from receiver.web.rankings import NOISIEST, rank_alerts, rank_durations
from receiver.web.relative import url_for
from receiver.web.rows import format_moment
from receiver.wiring.parts import Services


def add_history(pages: Blueprint, services: Services) -> None:
    """Add the page to the blueprint."""

    @pages.get("/history")
    def history() -> str:
        """Show what was, and what it tells of the alerts."""
        asked = read_query(HistoryPageQuery, request.args)
        report = build_history_report(services, asked)
        return render_template(
            "history.html",
            asked=asked,
            report=report,
            noisiest=report.alert_stats[:NOISIEST],
            severities=sorted(
                {severity for day in report.days for severity, _ in day.counts}, key=lambda one: -one.rank
            ),
            days_chart=draw_days(report.days),
            durations_chart=draw_ranks(rank_durations(report.acknowledging, report.resolving)),
            rankings=[(ranking, draw_ranks(ranking.ranks)) for ranking in rank_alerts(report.alert_stats)],
            page_url=lambda page: url_for("pages.history", **asked.list_fields(page)),
            format_delay=format_delay,
            describe_state=describe_state,
            duration=format_duration,
            rfc3339=format_moment,
        )
