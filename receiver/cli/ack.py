"""`receiver ack ID`: somebody has it."""

from __future__ import annotations

import click

from receiver.cli.answering import (
    MAX_NAME,
    describe_incident,
    describe_resolved,
    incident_command,
    send_action,
)
from receiver.cli.api_model import IncidentDetail
from receiver.cli.examples import show_examples
from receiver.text import one_line


@click.command(epilog=show_examples("receiver ack 3f9k", 'receiver ack 3f9k --by "Ana, from the train"'))
@incident_command
def ack(incident_id: str, by: str) -> None:
    """Acknowledge an incident: you have it, and nobody further is told.

    Of its ID the beginning is enough. Given again a minute or more later, this is a new acknowledgement: the
    incident is yours from now on, and the time after which paging goes on (ack_timeout) begins anew.
    """
    send_action(incident_id, "acknowledge", by, _describe_outcome)


def _describe_outcome(incident: IncidentDetail, by: str) -> str:
    if incident.state == "resolved":
        return f"{describe_resolved(incident)}: nothing to acknowledge"
    holder = one_line(incident.acknowledged_by or by, MAX_NAME)
    already = "" if holder == by else "already "
    return f"{describe_incident(incident)} is {already}acknowledged by {holder}; nobody further is told"
