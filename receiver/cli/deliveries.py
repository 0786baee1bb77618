"""`receiver failed` and `receiver retry`: list and retry failed deliveries."""

from __future__ import annotations

import os

import click

from receiver import clock
from receiver.cli.api_client import build_api, parse_response
from receiver.cli.options import MAX_NAME, by_option, json_option
from receiver.cli.terminal import (
    find_width,
    print_json,
    print_list,
    print_text,
    render_age,
    render_table,
    show_examples,
)
from receiver.errors import NotFound
from receiver.text import one_line
from receiver.web.api.responses import FailedDelivery

_HEAD = ("ID", "SEVERITY", "ALERT", "WHERE", "WHAT", "TRIES", "FAILED", "WHY")
_NOTHING_FAILED = "Nothing has failed permanently."


def _format_row(row: FailedDelivery, now: float) -> tuple[str, ...]:
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


@click.command(
    epilog=show_examples("receiver failed", "receiver failed --json | jq -r '.deliveries[].reason'")
)
@json_option
def failed(is_json: bool) -> None:
    """List the deliveries that failed permanently and were not sent since, newest first.

    Asks the receiver at RECEIVER_URL (http://127.0.0.1:9080 if unset) with RECEIVER_API_TOKEN.
    """
    page = build_api(os.environ).list_rows("deliveries", state="failed")
    if is_json:
        print_json(page)
        return
    rows = [parse_response(row, FailedDelivery) for row in page["deliveries"]]
    table = render_table(_HEAD, [_format_row(row, clock.now()) for row in rows], find_width())
    print_list(page, table if rows else _NOTHING_FAILED)


@click.command(epilog=show_examples("receiver retry --all", "receiver retry x1qepmtzfr3f-1m84ss6xd.4813494d"))
@click.argument("failure_id", metavar="[ID]", required=False, default="")
@click.option("--all", "is_all", is_flag=True, help="Everything that `receiver failed` lists.")
@by_option("Who asks, for the timeline.")
def retry(failure_id: str, is_all: bool, by: str) -> None:
    """Send again what failed permanently: one delivery, all of an incident, or everything.

    ID is one that `receiver failed` lists, its beginning, or an incident's. What nobody needs any more
    only leaves the list.
    """
    if bool(failure_id) == is_all:
        raise click.UsageError("give an ID that `receiver failed` lists, or --all")
    api = build_api(os.environ)
    rows = [
        parse_response(row, FailedDelivery)
        for row in api.list_rows("deliveries", state="failed")["deliveries"]
    ]
    found = rows if is_all else _choose_rows(rows, failure_id)
    who = one_line(by, MAX_NAME) or "cli"
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
