"""`receiver resolve ID`: closed by hand."""

from __future__ import annotations

import click

from receiver.cli.answering import describe_resolved, incident_command, send_action
from receiver.cli.api_model import IncidentDetail
from receiver.cli.examples import show_examples


@click.command(epilog=show_examples("receiver resolve 3f9k --by ana"))
@incident_command
def resolve(incident_id: str, by: str) -> None:
    """Close an incident by hand, here and in PagerDuty, even while its alerts still fire.

    Those alerts then count as duplicates; a new one, or one that ends and fires again, opens a new
    incident. Of the ID the beginning is enough. The second time changes nothing.
    """
    send_action(incident_id, "resolve", by, _describe_outcome)


def _describe_outcome(incident: IncidentDetail, _by: str) -> str:
    if not incident.firing:
        return describe_resolved(incident)
    count = "1 alert still fires" if incident.firing == 1 else f"{incident.firing} alerts still fire"
    return f"{describe_resolved(incident)}; {count}, and only a new one opens a new incident"
