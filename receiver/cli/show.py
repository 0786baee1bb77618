"""`receiver show ID`: all that is known of one incident."""

from __future__ import annotations

import os

import click

from receiver import clock
from receiver.cli.api import build_api
from receiver.cli.api_model import read_incident
from receiver.cli.examples import show_examples
from receiver.cli.incident_text import render_incident
from receiver.cli.terminal import print_json, print_text


@click.command(epilog=show_examples("receiver show 3f9k", "receiver show 3f9kc2m7w0xa-1hq8zj5v2 --json"))
@click.argument("incident_id", metavar="ID")
@click.option("--json", "is_json", is_flag=True, help="The API's own JSON.")
def show(incident_id: str, is_json: bool) -> None:
    """Show one incident: its alerts, who was told, who is next, and what happened.

    Of an open incident's ID the beginning is enough. Times are those of your own time zone.
    """
    raw = build_api(os.environ).get_incident(incident_id)
    if is_json:
        print_json(raw)
    else:
        print_text(render_incident(read_incident(raw), clock.now()))
