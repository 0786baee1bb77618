"""`receiver unack ID`: nobody has it any more."""

from __future__ import annotations

import click

from receiver.cli.answering import (
    describe_incident,
    describe_next_step,
    describe_resolved,
    incident_command,
    send_action,
)
from receiver.cli.api_model import IncidentDetail
from receiver.cli.examples import show_examples


@click.command(epilog=show_examples("receiver unack 3f9k"))
@incident_command
def unack(incident_id: str, by: str) -> None:
    """Take an acknowledgement back: who was told last is told again, and the escalation goes on.

    Of the incident's ID the beginning is enough. The second time changes nothing.
    """
    send_action(incident_id, "unacknowledge", by, _describe_outcome)


def _describe_outcome(incident: IncidentDetail, _by: str) -> str:
    if incident.state == "resolved":
        return f"{describe_resolved(incident)}: nothing to take back"
    return f"{describe_incident(incident)} is not acknowledged{describe_next_step(incident)}"
