"""`receiver maintenance`: start, show or end a maintenance, during which no pages are sent."""

from __future__ import annotations

import click

from receiver import clock
from receiver.cli import terminal
from receiver.cli.api_client import build_api, parse_response
from receiver.clock import format_duration, parse_time
from receiver.http_client import parse_timestamp
from receiver.text import one_line
from receiver.web.api.responses import MaintenanceRow


@click.command(
    epilog=terminal.show_examples(
        "receiver maintenance --for 2h --comment 'moving the database'",
        "receiver maintenance --until 14:00",
        "receiver maintenance",
        "receiver maintenance --end",
    )
)
@click.option("--for", "for_", metavar="DURATION", help="Send no pages for so long, like 30m or 2h.")
@click.option("--until", metavar="TIME", help="Send no pages until 14:00, or until 2026-11-23T14:00.")
@click.option("--end", "is_end", is_flag=True, help="End it: what still fires is paged at once.")
@click.option("--comment", metavar="TEXT", default="", help="Why; shown with the maintenance.")
@terminal.by_option("Who it is.")
@terminal.json_option
def maintenance(
    *, for_: str | None, until: str | None, is_end: bool, comment: str, by: str, is_json: bool
) -> None:
    """Send no pages for a time, seven days at most; without a flag, show the current maintenance.

    Messages, edits, acknowledgements and resolves continue. When it is over, what still fires is paged
    at once. Times are those of your own time zone.
    """
    if sum(map(bool, (for_, until, is_end))) > 1:
        raise click.UsageError("give one of --for, --until and --end")
    name, api = one_line(by, terminal.MAX_NAME), build_api()
    if is_end:
        raw = api.end_maintenance(name)
    elif for_ or until:
        when = {"for": for_} if for_ else {"until": _read_time(until or "")}
        raw = api.start_maintenance(name, comment=comment, **when)
    else:
        raw = api.get_maintenance()
    if is_json:
        terminal.print_json(raw)
        return
    sentence = format_maintenance(parse_response(raw, MaintenanceRow), clock.now())
    terminal.print_text(
        (sentence or ("Maintenance is over: paging goes on" if is_end else "No maintenance")) + "."
    )


def format_maintenance(row: MaintenanceRow, now: float) -> str:
    """Return `MAINTENANCE until … (in 2h) by ana: nobody is paged`; empty where there is none."""
    timestamp = parse_timestamp(row.until)
    if not timestamp:
        return ""
    left, by = format_duration(timestamp - now), one_line(row.by or "somebody", terminal.MAX_NAME)
    why = f" ({one_line(row.comment, 300)})" if row.comment else ""
    return (
        f"MAINTENANCE until {terminal.render_until(row.until, now)} (in {left}) by {by}{why}: nobody is paged"
    )


def _read_time(text: str) -> str:
    """Parse a time that a user typed into RFC 3339; without a zone it is in local time."""
    try:
        until = clock.to_datetime(parse_time(text, clock.now(), None), None).astimezone()
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(
            f"{one_line(text, 100)!r} is no time like 14:00 or 2026-11-23T14:00", param_hint="--until"
        ) from None
    return until.isoformat()
