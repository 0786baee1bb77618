"""`receiver silence ID`: silenced in Alertmanager."""

from __future__ import annotations

import click

from receiver import clock
from receiver.cli.answering import describe_incident, duration_option, incident_command, send_action
from receiver.cli.api_model import IncidentDetail
from receiver.cli.examples import show_examples
from receiver.cli.terminal import render_until


@click.command(
    epilog=show_examples(
        "receiver silence 3f9k --for 2h", 'receiver silence 3f9k --for 1d --comment "disk is ordered"'
    )
)
@incident_command
@duration_option
@click.option("--comment", metavar="TEXT", default="", help="Why, for whoever finds it in Alertmanager.")
def silence(incident_id: str, by: str, for_: str, comment: str) -> None:
    """Silence in Alertmanager what fires of an incident, by the labels its alerts share.

    While all of it is silenced nobody further is told; what still fires when it ends goes on. Of the
    ID the beginning is enough.
    """
    more = {"comment": comment} if comment.strip() else {}
    send_action(incident_id, "silence", by, _describe_outcome, **{"for": for_}, **more)


def _describe_outcome(incident: IncidentDetail, _by: str) -> str:
    until = render_until(incident.silences[-1].until, clock.now()) if incident.silences else ""
    end = f" until {until}" if until else ""
    return f"{describe_incident(incident)} is silenced in Alertmanager{end}; `receiver show` tells more"
