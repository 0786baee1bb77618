"""`receiver ack ID`: somebody has it."""

from __future__ import annotations

import click

from receiver.cli.answering import MAX_NAME, answering, give_answer, say_resolved, say_which
from receiver.cli.api_model import Whole
from receiver.cli.examples import show_examples
from receiver.text import one_line


@click.command(epilog=show_examples("receiver ack 3f9k", 'receiver ack 3f9k --by "Ana, from the train"'))
@answering
def ack(incident_id: str, by: str) -> None:
    """Acknowledge an incident: you have it, and nobody further is told.

    Of its ID the beginning is enough. Given again a minute or more later, this is a new acknowledgement: the
    incident is yours from now on, and the time after which paging goes on (ack_timeout) begins anew.
    """
    give_answer(incident_id, "acknowledge", by, _say)


def _say(incident: Whole, by: str) -> str:
    if incident.state == "resolved":
        return f"{say_resolved(incident)}: nothing to acknowledge"
    holder = one_line(incident.acknowledged_by or by, MAX_NAME)
    already = "" if holder == by else "already "
    return f"{say_which(incident)} is {already}acknowledged by {holder}; nobody further is told"
