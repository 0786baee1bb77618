"""`receiver history`: what was, and how long it took."""

from __future__ import annotations

import os

import click

from receiver.cli.api import build_api
from receiver.cli.api_model import read_history_row
from receiver.cli.examples import show_examples
from receiver.cli.history_text import render_history
from receiver.cli.terminal import find_width, print_json, print_text


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
@click.option("--json", "is_json", is_flag=True, help="The API's own JSON.")
def history(alertname: str, since: str, is_json: bool) -> None:
    """List closed and open incidents, newest first: how long they lasted, and who had them how soon.

    Asks the receiver at RECEIVER_URL (http://127.0.0.1:9080 if unset) with RECEIVER_API_TOKEN.
    """
    page = build_api(os.environ).list_history(alertname, since)
    if is_json:
        print_json(page)
        return
    rows = [read_history_row(row) for row in page["incidents"]]
    if not rows:
        print_text("No incidents since then.")
        return
    print_text(render_history(rows, find_width()))
    if page["next_cursor"]:
        print_text("… and older ones.")
