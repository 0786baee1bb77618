"""`receiver unack ID`: nobody has it any more."""

from __future__ import annotations

import click

from receiver.cli.answering import answering, give_answer, say_resolved, say_upcoming, say_which
from receiver.cli.api_model import Whole
from receiver.cli.examples import show_examples


@click.command(epilog=show_examples("receiver unack 3f9k"))
@answering
def unack(incident_id: str, by: str) -> None:
    """Take an acknowledgement back: who was told last is told again, and the escalation goes on.

    Of the incident's ID the beginning is enough. The second time changes nothing.
    """
    give_answer(incident_id, "unacknowledge", by, _say)


def _say(incident: Whole, _by: str) -> str:
    if incident.state == "resolved":
        return f"{say_resolved(incident)}: nothing to take back"
    return f"{say_which(incident)} is not acknowledged{say_upcoming(incident)}"
