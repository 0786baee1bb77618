"""What the answers to an incident share: whom to name, for how long, and how to say what came of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from receiver import clock
from receiver.cli.api import build_api
from receiver.cli.api_model import IncidentDetail, read_incident
from receiver.cli.incident_text import format_next_step
from receiver.cli.terminal import print_text
from receiver.text import one_line

F = TypeVar("F", bound=Callable[..., Any])

MAX_NAME = 200


def incident_command(command: F) -> F:
    """Give *command* its `ID` and `--by NAME`, as `incident_id` and `by`."""
    by = click.option(
        "--by",
        metavar="NAME",
        default=lambda: os.environ.get("USER") or "cli",
        show_default="$USER",
        help="Who it is, for the timeline and for Slack.",
    )
    return click.argument("incident_id", metavar="ID")(by(command))


def duration_option(command: F) -> F:
    """Give *command* its `--for DURATION`, as `for_`."""
    return click.option(
        "--for", "for_", metavar="DURATION", required=True, callback=_check_duration, help="Like 30m or 2h."
    )(command)


def send_action(
    incident_id: str,
    action: str,
    by: str,
    describe_outcome: Callable[[IncidentDetail, str], str],
    **more: str,
) -> None:
    """Send *answer* to the receiver at RECEIVER_URL, and print what *say_outcome* makes of the incident.

    *more* is what the answer says beside the name.
    """
    name = one_line(by, MAX_NAME)
    if not name:
        raise click.BadParameter("is empty, expected a name", param_hint="--by")
    raw = build_api(os.environ).change_incident(incident_id, action, name, **more)
    incident = read_incident(raw)
    print_text(describe_outcome(incident, name) + ".")


def _check_duration(_context: click.Context, _option: click.Parameter, text: str) -> str:
    """Return *text* for click; its error for what is no duration. How long it may be, the receiver says."""
    try:
        seconds = clock.parse_duration(text)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise click.BadParameter(f"{one_line(text, 100)!r} is no time like 30m, 2h or 1h30m")
    return text


def describe_incident(incident: IncidentDetail) -> str:
    """Return the incident as a sentence names it."""
    return f"{one_line(incident.alertname, 100)} ({incident.severity}, {incident.id})"


def describe_resolved(incident: IncidentDetail) -> str:
    """Return that it is resolved, and by whom."""
    by = f" by {one_line(incident.resolved_by, MAX_NAME)}" if incident.resolved_by else ""
    return f"{describe_incident(incident)} is resolved{by}"


def describe_next_step(incident: IncidentDetail) -> str:
    """Return who hears of it next, as the end of a sentence."""
    upcoming = format_next_step(incident, clock.now())
    return f"; {upcoming}" if upcoming else ""
