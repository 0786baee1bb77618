"""`receiver incidents`, `show`, `history` and `failed`, and `retry` of what the last one lists."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from shutil import get_terminal_size

import click

from receiver import clock
from receiver.cli import terminal
from receiver.cli.api_client import Json, ReceiverApi, ReceiverApiError, build_api, parse_response
from receiver.cli.incident_text import format_firing, format_state, format_storm, render_incident
from receiver.cli.maintenance import format_maintenance
from receiver.cli.terminal import json_option, print_json, print_text, show_examples
from receiver.clock import format_duration
from receiver.errors import NotFound
from receiver.text import one_line
from receiver.web.api.responses import FailedDelivery, HistoryRow, IncidentDetail, IncidentRow, MaintenanceRow

_NOTHING_FAILED = "Nothing has failed permanently."


def _print_page(page: Json, rows: Sequence[Mapping[str, str]], nothing: str) -> None:
    """Print the *rows* of a *page* of the API or *nothing*, and whether there are more."""
    width = get_terminal_size().columns if sys.stdout.isatty() else None
    text = terminal.render_table(rows, width) if rows else nothing
    print_text(f"{text}\n… and older ones." if page["next_cursor"] else text)


def _format_incident(row: IncidentRow | FailedDelivery) -> dict[str, str]:
    return {"ID": row.id, "SEVERITY": row.severity, "ALERT": one_line(row.alertname, 40)}


def format_open_row(row: IncidentRow, now: float) -> dict[str, str]:
    """Return the cells of an incident in the list by column."""
    return _format_incident(row) | {
        "FIRING": format_firing(row),
        "OPENED": terminal.render_age(row.opened_at, now),
        "STATE": format_state(row, now),
        "SUMMARY": row.summary,
    }


def format_history_row(row: HistoryRow, zone: tzinfo | None = None) -> dict[str, str]:
    """Return the cells of an incident in the history by column, with times in *zone* or the local one."""
    acknowledged = ""
    if row.acknowledged_after_s is not None:
        by = f" by {one_line(row.acknowledged_by, 40)}" if row.acknowledged_by else ""
        acknowledged = f"after {format_duration(row.acknowledged_after_s)}{by}"
    return _format_incident(row) | {
        "OPENED": terminal.render_timestamp(row.opened_at, zone),
        "LASTED": f"still {row.state}" if row.duration_s is None else format_duration(row.duration_s),
        "ACKNOWLEDGED": acknowledged,
        "SUMMARY": row.summary,
    }


def _format_failed_row(row: FailedDelivery, now: float) -> dict[str, str]:
    return _format_incident(row) | {
        "WHERE": one_line(row.target, 60),
        "WHAT": one_line(row.what, 60),
        "TRIES": str(row.attempts),
        "FAILED": terminal.render_age(row.failed_at, now),
        "WHY": ": ".join(filter(None, (row.reason, row.detail))),
    }


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
    api = build_api()
    page = api.list_rows("incidents", state="" if is_all else "open")
    if is_json:
        print_json(page)
        return
    if maintenance := _find_maintenance(api):
        print_text(maintenance + ".\n")
    for storm in api.list_storms():
        print_text(format_storm(storm))
    rows = [format_open_row(parse_response(row, IncidentRow), clock.now()) for row in page["incidents"]]
    _print_page(page, rows, "No incidents." if is_all else "No open incidents.")


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
    raw = build_api().call_incident(incident_id)
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
    page = build_api().list_rows("history", alertname=alertname, since=since)
    if is_json:
        print_json(page)
        return
    rows = [format_history_row(parse_response(row, HistoryRow)) for row in page["incidents"]]
    _print_page(page, rows, "No incidents since then.")


@click.command(
    epilog=show_examples("receiver failed", "receiver failed --json | jq -r '.deliveries[].reason'")
)
@json_option
def failed(is_json: bool) -> None:
    """List the deliveries that failed permanently and were not sent since, newest first.

    Asks the receiver at RECEIVER_URL (http://127.0.0.1:9080 if unset) with RECEIVER_API_TOKEN.
    """
    page = build_api().list_rows("deliveries", state="failed")
    if is_json:
        print_json(page)
        return
    rows = [
        _format_failed_row(parse_response(row, FailedDelivery), clock.now()) for row in page["deliveries"]
    ]
    _print_page(page, rows, _NOTHING_FAILED)


@click.command(epilog=show_examples("receiver retry --all", "receiver retry x1qepmtzfr3f-1m84ss6xd.4813494d"))
@click.argument("failure_id", metavar="[ID]", required=False, default="")
@click.option("--all", "is_all", is_flag=True, help="Everything that `receiver failed` lists.")
@terminal.by_option("Who asks, for the timeline.")
def retry(failure_id: str, is_all: bool, by: str) -> None:
    """Send again what failed permanently: one delivery, all of an incident, or everything.

    ID is one that `receiver failed` lists, its beginning, or an incident's. What nobody needs any more
    only leaves the list.
    """
    if bool(failure_id) == is_all:
        raise click.UsageError("give an ID that `receiver failed` lists, or --all")
    api = build_api()
    page = api.list_rows("deliveries", state="failed")
    rows = [parse_response(row, FailedDelivery) for row in page["deliveries"]]
    found = rows if is_all else _choose_rows(rows, failure_id)
    who = one_line(by, terminal.MAX_NAME) or "cli"
    for row in found:
        after = parse_response(api.retry_delivery(row.id, who), FailedDelivery)
        what = one_line(f"{after.what} to {after.target} of {after.alertname}", 200)
        print_text(f"{row.id}: {what} is sent again")
    count = "1 delivery is" if len(found) == 1 else f"{len(found)} deliveries are"
    print_text(f"{count} sent again." if found else _NOTHING_FAILED)


def _choose_rows(rows: list[FailedDelivery], failure_id: str) -> list[FailedDelivery]:
    """Return the rows that *failure_id* names; none if a prefix matches several incidents."""
    found = [row for row in rows if row.id.startswith(failure_id)]
    if not found:
        raise NotFound("delivery that failed permanently,", one_line(failure_id, 100))
    if len({row.incident for row in found}) > 1:
        raise click.UsageError(f"several incidents begin with {one_line(failure_id, 100)}")
    return found
