"""The commands that change an incident (ack, unack, resolve, snooze, silence), and what they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import click

from receiver import clock
from receiver.cli.api_client import build_api, parse_response
from receiver.cli.incident_text import format_next_step
from receiver.cli.terminal import MAX_NAME, by_option, print_text, render_until, show_examples
from receiver.text import one_line
from receiver.web.api.responses import IncidentDetail

Describe = Callable[[IncidentDetail, str], str]


def _action_command(
    action: str, *examples: str, options: Sequence[Callable[..., Any]] = (), nothing_to: str = ""
) -> Callable[[Describe], click.Command]:
    """Return a decorator that makes a function a command of its name, with its docstring as help.

    The command sends *action* to the receiver and prints what the function returns for the returned incident
    and the name of who sent it; for a resolved incident, that there is *nothing_to* do. The values of
    *options* that are not blank go into the request body beside the name.
    """

    def build_command(describe_outcome: Describe) -> click.Command:
        @click.command(
            describe_outcome.__name__, help=describe_outcome.__doc__, epilog=show_examples(*examples)
        )
        @click.argument("incident_id", metavar="ID")
        @by_option("Who it is, for the timeline and for Slack.")
        def send_action(incident_id: str, by: str, **more: str) -> None:
            who = one_line(by, MAX_NAME)
            if not who:
                raise click.BadParameter("is empty, expected a name", param_hint="--by")
            filled = {field: value for field, value in more.items() if value.strip()}
            raw = build_api().call_incident(incident_id, action, by=who, **filled)
            incident = parse_response(raw, IncidentDetail)
            if nothing_to and incident.state == "resolved":
                print_text(f"{_name_resolved(incident)}: nothing to {nothing_to}.")
            else:
                print_text(describe_outcome(incident, who) + ".")

        for option in options:
            option(send_action)
        return send_action

    return build_command


def _check_duration(_context: click.Context, _option: click.Parameter, text: str) -> str:
    """Return *text*, or raise click's error if it is no duration. The receiver checks the maximum."""
    with suppress(ValueError):
        if clock.parse_duration(text) > 0:
            return text
    raise click.BadParameter(f"{one_line(text, 100)!r} is no time like 30m, 2h or 1h30m")


def _name_incident(incident: IncidentDetail) -> str:
    """Return the incident as named in a sentence."""
    return f"{one_line(incident.alertname, 100)} ({incident.severity}, {incident.id})"


def _name_resolved(incident: IncidentDetail) -> str:
    """Return the sentence that it is resolved, and by whom."""
    by = f" by {one_line(incident.resolved_by, MAX_NAME)}" if incident.resolved_by else ""
    return f"{_name_incident(incident)} is resolved{by}"


_for = click.option(
    "--for", "for", metavar="DURATION", required=True, callback=_check_duration, help="Like 30m or 2h."
)
_comment = click.option("--comment", metavar="TEXT", default="", help="Why; shown in Alertmanager.")


@_action_command(
    "acknowledge",
    "receiver ack 3f9k",
    'receiver ack 3f9k --by "Ana, from the train"',
    nothing_to="acknowledge",
)
def ack(incident: IncidentDetail, by: str) -> str:
    """Acknowledge an incident: its escalation stops.

    The beginning of its ID is enough. Given again a minute or more later, this is a new acknowledgement: the
    incident is yours from now on, and the time after which paging goes on (ack_timeout) starts again.
    """
    holder = one_line(incident.acknowledged_by or by, MAX_NAME)
    already = "" if holder == by else "already "
    return f"{_name_incident(incident)} is {already}acknowledged by {holder}; the escalation has stopped"


@_action_command("unacknowledge", "receiver unack 3f9k", nothing_to="take back")
def unack(incident: IncidentDetail, _by: str) -> str:
    """Take an acknowledgement back: the last notified responder is notified again, the escalation continues.

    The beginning of the incident's ID is enough. The second time changes nothing.
    """
    upcoming = format_next_step(incident, clock.now())
    return f"{_name_incident(incident)} is not acknowledged{'; ' if upcoming else ''}{upcoming}"


@_action_command("resolve", "receiver resolve 3f9k --by ana")
def resolve(incident: IncidentDetail, _by: str) -> str:
    """Close an incident by hand, here and in PagerDuty, even while its alerts still fire.

    Those alerts then count as duplicates; a new one, or one that ends and fires again, opens a new
    incident. The beginning of the ID is enough. The second time changes nothing.
    """
    if not incident.firing:
        return _name_resolved(incident)
    count = "1 alert still fires" if incident.firing == 1 else f"{incident.firing} alerts still fire"
    return f"{_name_resolved(incident)}; {count}, and only a new one opens a new incident"


@_action_command("snooze", "receiver snooze 3f9k --for 1h", options=[_for], nothing_to="snooze")
def snooze(incident: IncidentDetail, by: str) -> str:
    """Acknowledge an incident for a time: its escalation stops until then.

    Then, unless it is resolved or acknowledged, the last notified responder is notified again. The
    beginning of the ID is enough.
    """
    holder = one_line(incident.acknowledged_by or by, MAX_NAME)
    until = render_until(incident.snoozed_until, clock.now())
    return f"{_name_incident(incident)} is snoozed by {holder} until {until}; the escalation waits till then"


@_action_command(
    "silence",
    "receiver silence 3f9k --for 2h",
    'receiver silence 3f9k --for 1d --comment "disk is ordered"',
    options=[_for, _comment],
)
def silence(incident: IncidentDetail, _by: str) -> str:
    """Silence the firing alerts of an incident in Alertmanager, by the labels they share.

    While all of them are silenced, the escalation waits; it continues if alerts still fire when the silence
    ends. The beginning of the ID is enough.
    """
    until = render_until(incident.silences[-1].until, clock.now()) if incident.silences else ""
    end = f" until {until}" if until else ""
    return f"{_name_incident(incident)} is silenced in Alertmanager{end}; `receiver show` tells more"
