"""`receiver failed`: what could not be delivered."""

from __future__ import annotations

import os

import click

from receiver import clock
from receiver.cli.api import build_api
from receiver.cli.api_model import read_failed
from receiver.cli.examples import show_examples
from receiver.cli.failed_text import render_failed
from receiver.cli.terminal import find_width, print_json, print_text


@click.command(
    epilog=show_examples("receiver failed", "receiver failed --json | jq -r '.deliveries[].reason'")
)
@click.option("--json", "is_json", is_flag=True, help="The API's own JSON.")
def failed(is_json: bool) -> None:
    """List the deliveries that were given up and not sent since, newest first.

    Asks the receiver at RECEIVER_URL (http://127.0.0.1:9080 if unset) with RECEIVER_API_TOKEN.
    """
    page = build_api(os.environ).list_failed()
    if is_json:
        print_json(page)
        return
    rows = [read_failed(row) for row in page["deliveries"]]
    if not rows:
        print_text("Nothing was given up.")
        return
    print_text(render_failed(rows, clock.now(), find_width()))
    if page["next_cursor"]:
        print_text("… and older ones.")
