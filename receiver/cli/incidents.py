"""`receiver incidents`: what is open."""

from __future__ import annotations

import os

import click

from receiver import clock
from receiver.cli.api import ReceiverApi, ReceiverApiError, build_api
from receiver.cli.api_model import read_maintenance, read_row
from receiver.cli.examples import show_examples
from receiver.cli.incident_text import format_storm, render_list
from receiver.cli.maintenance import format_maintenance
from receiver.cli.terminal import find_width, print_json, print_text


@click.command(
    epilog=show_examples(
        "receiver incidents",
        "receiver incidents --all",
        "receiver incidents --json | jq -r '.incidents[].id'",
    )
)
@click.option("--all", "is_all", is_flag=True, help="Resolved ones too.")
@click.option("--json", "is_json", is_flag=True, help="The API's own JSON.")
def incidents(is_all: bool, is_json: bool) -> None:
    """List the open incidents, newest first, and who hears of them next.

    Asks the receiver at RECEIVER_URL (http://127.0.0.1:9080 if unset) with RECEIVER_API_TOKEN.
    """
    api = build_api(os.environ)
    page = api.list_incidents("" if is_all else "open")
    if is_json:
        print_json(page)
        return
    if maintenance := _find_maintenance(api):
        print_text(maintenance + ".\n")
    for storm in api.list_storms():
        print_text(format_storm(storm))
    rows = [read_row(row) for row in page["incidents"]]
    if not rows:
        print_text("No incidents." if is_all else "No open incidents.")
        return
    print_text(render_list(rows, clock.now(), find_width()))
    if page["next_cursor"]:
        print_text("… and older ones.")


def _find_maintenance(api: ReceiverApi) -> str:
    """Return the line about maintenance; empty where there is none, or the receiver knows of none."""
    try:
        return format_maintenance(read_maintenance(api.get_maintenance()), clock.now())
    except ReceiverApiError:
        return ""
