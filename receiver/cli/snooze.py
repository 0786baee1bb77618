"""`receiver snooze ID`: somebody has it, for a time."""

from __future__ import annotations

import click

from receiver import clock
from receiver.cli.answering import (
    MAX_NAME,
    describe_incident,
    describe_resolved,
    duration_option,
    incident_command,
    send_action,
)
from receiver.cli.api_model import IncidentDetail
from receiver.cli.examples import show_examples
from receiver.cli.terminal import render_until
from receiver.text import one_line


@click.command(epilog=show_examples("receiver snooze 3f9k --for 1h"))
@incident_command
@duration_option
def snooze(incident_id: str, by: str, for_: str) -> None:
    """Acknowledge an incident for a time: nobody further is told until it is over.

    Then, unless it is resolved or acknowledged by somebody, who was told last is told again. Of the
    ID the beginning is enough.
    """
    send_action(incident_id, "snooze", by, _describe_outcome, **{"for": for_})


def _describe_outcome(incident: IncidentDetail, by: str) -> str:
    if incident.state == "resolved":
        return f"{describe_resolved(incident)}: nothing to snooze"
    holder = one_line(incident.acknowledged_by or by, MAX_NAME)
    until = render_until(incident.snoozed_until, clock.now())
    return (
        f"{describe_incident(incident)} is snoozed by {holder} until {until}; "
        "nobody further is told till then"
    )
