"""What `ack`, `unack` and `resolve` share: whom to name, and how to say what came of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from receiver import clock
from receiver.cli.api import build_api
from receiver.cli.api_model import Whole, read_whole
from receiver.cli.incident_text import say_next
from receiver.cli.terminal import say
from receiver.text import one_line

F = TypeVar("F", bound=Callable[..., Any])

MAX_NAME = 200


def answering(command: F) -> F:
    """Give *command* its `ID` and `--by NAME`, as `incident_id` and `by`."""
    by = click.option(
        "--by",
        metavar="NAME",
        default=lambda: os.environ.get("USER") or "cli",
        show_default="$USER",
        help="Who it is, for the timeline and for Slack.",
    )
    return click.argument("incident_id", metavar="ID")(by(command))


def give_answer(incident_id: str, answer: str, by: str, say_outcome: Callable[[Whole, str], str]) -> None:
    """Send *answer* to the receiver at RECEIVER_URL, and print what *say_outcome* makes of the incident."""
    name = one_line(by, MAX_NAME)
    if not name:
        raise click.BadParameter("is empty, expected a name", param_hint="--by")
    raw = build_api(os.environ).answer_incident(incident_id, answer, name)
    incident = read_whole(raw)
    say(say_outcome(incident, name) + ".")


def say_which(incident: Whole) -> str:
    """Return the incident as a sentence names it."""
    return f"{one_line(incident.alertname, 100)} ({incident.severity}, {incident.id})"


def say_resolved(incident: Whole) -> str:
    """Return that it is resolved, and by whom."""
    by = f" by {one_line(incident.resolved_by, MAX_NAME)}" if incident.resolved_by else ""
    return f"{say_which(incident)} is resolved{by}"


def say_upcoming(incident: Whole) -> str:
    """Return who hears of it next, as the end of a sentence."""
    upcoming = say_next(incident, clock.now())
    return f"; {upcoming}" if upcoming else ""
