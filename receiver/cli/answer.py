"""The commands that change an incident (ack, unack, resolve, snooze, silence), and what they share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from receiver import clock
from receiver.cli.api_client import build_api, read_answer
from receiver.cli.incident_text import format_next_step
from receiver.cli.terminal import print_text, render_until, show_examples
from receiver.text import one_line
from receiver.web.api.responses import IncidentDetail

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
    """Send *action* to the receiver at RECEIVER_URL, and print *describe_outcome* of the returned incident.

    *more* goes into the request body beside the name.
    """
    name = one_line(by, MAX_NAME)
    if not name:
        raise click.BadParameter("is empty, expected a name", param_hint="--by")
    raw = build_api(os.environ).change_incident(incident_id, action, name, **more)
    incident = read_answer(raw, IncidentDetail)
    print_text(describe_outcome(incident, name) + ".")


def _check_duration(_context: click.Context, _option: click.Parameter, text: str) -> str:
    """Return *text*, or raise click's error if it is no duration. The receiver checks the maximum."""
    try:
        seconds = clock.parse_duration(text)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise click.BadParameter(f"{one_line(text, 100)!r} is no time like 30m, 2h or 1h30m")
    return text


def describe_incident(incident: IncidentDetail) -> str:
    """Return the incident as named in a sentence."""
    return f"{one_line(incident.alertname, 100)} ({incident.severity}, {incident.id})"


def describe_resolved(incident: IncidentDetail) -> str:
    """Return the sentence that it is resolved, and by whom."""
    by = f" by {one_line(incident.resolved_by, MAX_NAME)}" if incident.resolved_by else ""
    return f"{describe_incident(incident)} is resolved{by}"


def describe_next_step(incident: IncidentDetail) -> str:
    """Return which responder is notified next, as the end of a sentence."""
    upcoming = format_next_step(incident, clock.now())
    return f"; {upcoming}" if upcoming else ""


@click.command(epilog=show_examples("receiver ack 3f9k", 'receiver ack 3f9k --by "Ana, from the train"'))
@incident_command
def ack(incident_id: str, by: str) -> None:
    """Acknowledge an incident: you have it, and nobody further is told.

    Of its ID the beginning is enough. Given again a minute or more later, this is a new acknowledgement: the
    incident is yours from now on, and the time after which paging goes on (ack_timeout) begins anew.
    """
    send_action(incident_id, "acknowledge", by, _describe_acknowledged)


def _describe_acknowledged(incident: IncidentDetail, by: str) -> str:
    if incident.state == "resolved":
        return f"{describe_resolved(incident)}: nothing to acknowledge"
    holder = one_line(incident.acknowledged_by or by, MAX_NAME)
    already = "" if holder == by else "already "
    return f"{describe_incident(incident)} is {already}acknowledged by {holder}; nobody further is told"


@click.command(epilog=show_examples("receiver unack 3f9k"))
@incident_command
def unack(incident_id: str, by: str) -> None:
    """Take an acknowledgement back: who was told last is told again, and the escalation goes on.

    Of the incident's ID the beginning is enough. The second time changes nothing.
    """
    send_action(incident_id, "unacknowledge", by, _describe_unacknowledged)


def _describe_unacknowledged(incident: IncidentDetail, _by: str) -> str:
    if incident.state == "resolved":
        return f"{describe_resolved(incident)}: nothing to take back"
    return f"{describe_incident(incident)} is not acknowledged{describe_next_step(incident)}"


@click.command(epilog=show_examples("receiver resolve 3f9k --by ana"))
@incident_command
def resolve(incident_id: str, by: str) -> None:
    """Close an incident by hand, here and in PagerDuty, even while its alerts still fire.

    Those alerts then count as duplicates; a new one, or one that ends and fires again, opens a new
    incident. Of the ID the beginning is enough. The second time changes nothing.
    """
    send_action(incident_id, "resolve", by, _describe_resolved)


def _describe_resolved(incident: IncidentDetail, _by: str) -> str:
    if not incident.firing:
        return describe_resolved(incident)
    count = "1 alert still fires" if incident.firing == 1 else f"{incident.firing} alerts still fire"
    return f"{describe_resolved(incident)}; {count}, and only a new one opens a new incident"


@click.command(epilog=show_examples("receiver snooze 3f9k --for 1h"))
@incident_command
@duration_option
def snooze(incident_id: str, by: str, for_: str) -> None:
    """Acknowledge an incident for a time: nobody further is told until it is over.

    Then, unless it is resolved or acknowledged by somebody, who was told last is told again. Of the
    ID the beginning is enough.
    """
    send_action(incident_id, "snooze", by, _describe_snoozed, **{"for": for_})


def _describe_snoozed(incident: IncidentDetail, by: str) -> str:
    if incident.state == "resolved":
        return f"{describe_resolved(incident)}: nothing to snooze"
    holder = one_line(incident.acknowledged_by or by, MAX_NAME)
    until = render_until(incident.snoozed_until, clock.now())
    return (
        f"{describe_incident(incident)} is snoozed by {holder} until {until}; "
        "nobody further is told till then"
    )


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
    send_action(incident_id, "silence", by, _describe_silenced, **{"for": for_}, **more)


def _describe_silenced(incident: IncidentDetail, _by: str) -> str:
    until = render_until(incident.silences[-1].until, clock.now()) if incident.silences else ""
    end = f" until {until}" if until else ""
    return f"{describe_incident(incident)} is silenced in Alertmanager{end}; `receiver show` tells more"
