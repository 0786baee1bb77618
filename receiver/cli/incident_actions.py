"""The commands that change an incident (ack, unack, resolve, snooze, silence), and what they share."""

from __future__ import annotations

import os
from collections.abc import Callable

import click

from receiver import clock
from receiver.cli.api_client import build_api, parse_response
from receiver.cli.incident_text import format_next_step
from receiver.cli.options import MAX_NAME, by_option
from receiver.cli.terminal import print_text, render_until, show_examples
from receiver.text import one_line
from receiver.web.api.responses import IncidentDetail


def _build_command(
    name: str,
    action: str,
    describe_outcome: Callable[[IncidentDetail, str], str],
    text: str,
    *,
    examples: tuple[str, ...],
    options: tuple[Callable[[click.Command], click.Command], ...] = (),
) -> click.Command:
    """Return the command *name*: it sends *action* to the receiver, and prints *describe_outcome* of the
    returned incident and of who sent it.

    The values of *options* that are not blank go into the request body beside the name.
    """

    @click.command(name, help=text, epilog=show_examples(*examples))
    @click.argument("incident_id", metavar="ID")
    @by_option("Who it is, for the timeline and for Slack.")
    def send_action(incident_id: str, by: str, **more: str) -> None:
        who = one_line(by, MAX_NAME)
        if not who:
            raise click.BadParameter("is empty, expected a name", param_hint="--by")
        filled = {field: value for field, value in more.items() if value.strip()}
        raw = build_api(os.environ).change_incident(incident_id, action, who, **filled)
        print_text(describe_outcome(parse_response(raw, IncidentDetail), who) + ".")

    for option in options:
        option(send_action)
    return send_action


def _check_duration(_context: click.Context, _option: click.Parameter, text: str) -> str:
    """Return *text*, or raise click's error if it is no duration. The receiver checks the maximum."""
    try:
        seconds = clock.parse_duration(text)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise click.BadParameter(f"{one_line(text, 100)!r} is no time like 30m, 2h or 1h30m")
    return text


def _name_incident(incident: IncidentDetail) -> str:
    """Return the incident as named in a sentence."""
    return f"{one_line(incident.alertname, 100)} ({incident.severity}, {incident.id})"


def _name_resolved(incident: IncidentDetail) -> str:
    """Return the sentence that it is resolved, and by whom."""
    by = f" by {one_line(incident.resolved_by, MAX_NAME)}" if incident.resolved_by else ""
    return f"{_name_incident(incident)} is resolved{by}"


def _describe_acknowledged(incident: IncidentDetail, by: str) -> str:
    if incident.state == "resolved":
        return f"{_name_resolved(incident)}: nothing to acknowledge"
    holder = one_line(incident.acknowledged_by or by, MAX_NAME)
    already = "" if holder == by else "already "
    return f"{_name_incident(incident)} is {already}acknowledged by {holder}; the escalation has stopped"


def _describe_unacknowledged(incident: IncidentDetail, _by: str) -> str:
    if incident.state == "resolved":
        return f"{_name_resolved(incident)}: nothing to take back"
    upcoming = format_next_step(incident, clock.now())
    return f"{_name_incident(incident)} is not acknowledged{'; ' if upcoming else ''}{upcoming}"


def _describe_resolved(incident: IncidentDetail, _by: str) -> str:
    if not incident.firing:
        return _name_resolved(incident)
    count = "1 alert still fires" if incident.firing == 1 else f"{incident.firing} alerts still fire"
    return f"{_name_resolved(incident)}; {count}, and only a new one opens a new incident"


def _describe_snoozed(incident: IncidentDetail, by: str) -> str:
    if incident.state == "resolved":
        return f"{_name_resolved(incident)}: nothing to snooze"
    holder = one_line(incident.acknowledged_by or by, MAX_NAME)
    until = render_until(incident.snoozed_until, clock.now())
    return f"{_name_incident(incident)} is snoozed by {holder} until {until}; the escalation waits till then"


def _describe_silenced(incident: IncidentDetail, _by: str) -> str:
    until = render_until(incident.silences[-1].until, clock.now()) if incident.silences else ""
    end = f" until {until}" if until else ""
    return f"{_name_incident(incident)} is silenced in Alertmanager{end}; `receiver show` tells more"


_for = click.option(
    "--for", "for", metavar="DURATION", required=True, callback=_check_duration, help="Like 30m or 2h."
)
_comment = click.option("--comment", metavar="TEXT", default="", help="Why; shown in Alertmanager.")
ack = _build_command(
    "ack",
    "acknowledge",
    _describe_acknowledged,
    """Acknowledge an incident: its escalation stops.

    The beginning of its ID is enough. Given again a minute or more later, this is a new acknowledgement: the
    incident is yours from now on, and the time after which paging goes on (ack_timeout) starts again.
    """,
    examples=("receiver ack 3f9k", 'receiver ack 3f9k --by "Ana, from the train"'),
)
unack = _build_command(
    "unack",
    "unacknowledge",
    _describe_unacknowledged,
    """Take an acknowledgement back: the last notified responder is notified again, the escalation continues.

    The beginning of the incident's ID is enough. The second time changes nothing.
    """,
    examples=("receiver unack 3f9k",),
)
resolve = _build_command(
    "resolve",
    "resolve",
    _describe_resolved,
    """Close an incident by hand, here and in PagerDuty, even while its alerts still fire.

    Those alerts then count as duplicates; a new one, or one that ends and fires again, opens a new
    incident. The beginning of the ID is enough. The second time changes nothing.
    """,
    examples=("receiver resolve 3f9k --by ana",),
)
snooze = _build_command(
    "snooze",
    "snooze",
    _describe_snoozed,
    """Acknowledge an incident for a time: its escalation stops until then.

    Then, unless it is resolved or acknowledged, the last notified responder is notified again. The
    beginning of the ID is enough.
    """,
    examples=("receiver snooze 3f9k --for 1h",),
    options=(_for,),
)
silence = _build_command(
    "silence",
    "silence",
    _describe_silenced,
    """Silence the firing alerts of an incident in Alertmanager, by the labels they share.

    While all of them are silenced, the escalation waits; it continues if alerts still fire when the silence
    ends. The beginning of the ID is enough.
    """,
    examples=("receiver silence 3f9k --for 2h", 'receiver silence 3f9k --for 1d --comment "disk is ordered"'),
    options=(_for, _comment),
)
