"""`receiver incidents`, `show` and `history`: the lists of incidents, and one with its details."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import tzinfo

import click

from receiver import clock
from receiver.cli.api_client import ReceiverApi, ReceiverApiError, build_api, parse_response
from receiver.cli.incident_text import format_storm, render_incident, render_list
from receiver.cli.maintenance import format_maintenance
from receiver.cli.options import json_option
from receiver.cli.terminal import (
    find_width,
    print_json,
    print_list,
    print_text,
    render_table,
    render_timestamp,
    show_examples,
)
from receiver.clock import format_duration
from receiver.text import one_line
from receiver.web.api.responses import HistoryRow, IncidentDetail, IncidentRow, MaintenanceRow

_HEAD = ("ID", "SEVERITY", "ALERT", "OPENED", "LASTED", "ACKNOWLEDGED", "SUMMARY")


def render_history(rows: Sequence[HistoryRow], width: int | None = None, zone: tzinfo | None = None) -> str:
    """Return incidents as a table, at most *width* columns wide where there is room."""
    return render_table(_HEAD, [_format_row(row, zone) for row in rows], width)


def _format_row(row: HistoryRow, zone: tzinfo | None) -> tuple[str, ...]:
    lasted = format_duration(row.duration_s) if row.duration_s is not None else f"still {row.state}"
    acknowledged = ""
    if row.acknowledged_after_s is not None:
        by = f" by {one_line(row.acknowledged_by, 40)}" if row.acknowledged_by else ""
        acknowledged = f"after {format_duration(row.acknowledged_after_s)}{by}"
    return (
        row.id,
        row.severity,
        one_line(row.alertname, 40),
        render_timestamp(row.opened_at, zone),
        lasted,
        acknowledged,
        row.summary,
    )


@click.command(
    epilog=show_examples(
        "receiver incidents",
        "receiver incidents --all",
        "receiver incidents --json | jq -r '.incidents[].id'",
    )
)
@click.option("--all", "is_all", is_flag=True, help="Resolved ones too.")
@json_option
def incidents(is_all: bool, is_json: bool) -> None:
    """List the open incidents, newest first, and who hears of them next.

    Asks the receiver at RECEIVER_URL (http://127.0.0.1:9080 if unset) with RECEIVER_API_TOKEN.
    """
    api = build_api(os.environ)
    page = api.list_rows("incidents", state="" if is_all else "open")
    if is_json:
        print_json(page)
        return
    if maintenance := _find_maintenance(api):
        print_text(maintenance + ".\n")
    for storm in api.list_storms():
        print_text(format_storm(storm))
    rows = [parse_response(row, IncidentRow) for row in page["incidents"]]
    table = render_list(rows, clock.now(), find_width())
    print_list(page, table if rows else "No incidents." if is_all else "No open incidents.")


def _find_maintenance(api: ReceiverApi) -> str:
    """Return the line about maintenance; empty if there is none, or the receiver has no such endpoint."""
    try:
        return format_maintenance(parse_response(api.get_maintenance(), MaintenanceRow), clock.now())
    except ReceiverApiError:
        return ""


@click.command(epilog=show_examples("receiver show 3f9k", "receiver show 3f9kc2m7w0xa-1hq8zj5v2 --json"))
@click.argument("incident_id", metavar="ID")
@json_option
def show(incident_id: str, is_json: bool) -> None:
    """Show one incident: its alerts, who was notified, who is next, and what happened.

    Of an open incident's ID the beginning is enough. Times are those of your own time zone.
    """
    raw = build_api(os.environ).get_incident(incident_id)
    if is_json:
        print_json(raw)
    else:
        print_text(render_incident(parse_response(raw, IncidentDetail), clock.now()))


@click.command(
    epilog=show_examples(
        "receiver history",
        "receiver history HighCPUUsage --since 90d",
        "receiver history --since 2026-11-01",
        "receiver history --json | jq '[.incidents[].duration_s]'",
    )
)
@click.argument("alertname", required=False, default="")
@click.option(
    "--since",
    metavar="WHEN",
    default="7d",
    show_default=True,
    help="Those that opened since: a duration back, a day (UTC), or a moment in RFC 3339.",
)
@json_option
def history(alertname: str, since: str, is_json: bool) -> None:
    """List closed and open incidents, newest first: how long they lasted, and who had them how soon.

    Asks the receiver at RECEIVER_URL (http://127.0.0.1:9080 if unset) with RECEIVER_API_TOKEN.
    """
    page = build_api(os.environ).list_rows("history", alertname=alertname, since=since)
    if is_json:
        print_json(page)
        return
    rows = [parse_response(row, HistoryRow) for row in page["incidents"]]
    print_list(page, render_history(rows, find_width()) if rows else "No incidents since then.")
