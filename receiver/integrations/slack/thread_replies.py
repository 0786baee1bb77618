"""The replies in an incident's thread: for changes that need a notification, which an edit does not send."""

from __future__ import annotations

from collections.abc import Callable

from receiver.clock import format_duration
from receiver.engine.notification import IncidentNotification
from receiver.integrations.slack.alert_section import find_shared_labels, short_lines, sort_alerts
from receiver.integrations.slack.blocks import MAX_TEXT, FormattingLevel, Message, actions, button, section
from receiver.integrations.slack.escalation_section import render_fallback_reply, render_left_open, title
from receiver.integrations.slack.headline import lasted, severity_mark, severity_word
from receiver.integrations.slack.mrkdwn import (
    MAX_BY,
    code,
    disable_mentions,
    escape_line,
    format_timestamp,
    is_user,
    join_lines,
    mention,
    mention_on_call,
)
from receiver.integrations.slack.silence_section import render_suppression
from receiver.model.actions import Reply
from receiver.model.delivery_keys import page_key
from receiver.model.heading import build_heading, find_heading
from receiver.model.incident import Incident
from receiver.model.routing import PAGERDUTY, SLACK, Step

BUTTONS = "reminder"  # the block_id by which a click on its button comes back


def render_reply(notification: IncidentNotification, reply: Reply, level: FormattingLevel) -> Message:
    """Return the message for *reply*, according to its `reply_kind`."""
    if reply.reply_kind == "step" and reply.step is not None:
        return Message(_step(notification, reply.step), links_names=True)
    if (
        reply.reply_kind in ("page_delayed", "unconfirmed", "resolved_there", "fallback")
        and reply.step is not None
    ):
        return render_fallback_reply(notification, reply.reply_kind, reply.step)
    if reply.reply_kind == "joined":
        return _joined(notification.incident, reply.fingerprints, level)
    if reply.reply_kind == "ack_reminder":
        return _ack_reminder(notification.incident, notification.now, level)
    return Message(_render_text(notification, reply))


def _render_text(notification: IncidentNotification, reply: Reply) -> str:
    render_kind = _RENDERERS.get(reply.reply_kind)
    if render_kind is not None:
        return render_kind(notification.incident)
    if reply.reply_kind == "reopened":
        return _reopened(notification)
    if reply.reply_kind == "left_open":
        return render_left_open(notification.incident, reply.key)
    if reply.reply_kind == "renamed":
        return _renamed(reply.instance)
    if reply.reply_kind == "silence_ends":
        return _silence_ends(notification.incident, reply.key)
    return _reminder(notification.incident, notification.now)


def _step(notification: IncidentNotification, step: Step) -> str:
    """Return who is notified and why. Sent with `link_names`, so each @ in labels is disabled."""
    incident = notification.incident
    target = step.responder.find_target(SLACK)
    is_paged = step.responder.find_target(PAGERDUTY) is not None
    handle = mention(target.address) if target else ""
    who = " ".join(filter(None, (title(step), handle, mention_on_call(notification.on_call))))
    receipt = incident.find_run_delivery(page_key(step.name)).receipt
    simulated = " (simulated)" if receipt is not None and receipt.is_simulated else ""
    heading = find_heading(incident)
    what = disable_mentions(escape_line(heading.counted_name or heading.counted_summary, 100))
    return (
        f"📟 {'Paging' if is_paged else 'Telling'} {who}{simulated}: {_why(notification, step)}\n"
        f"{severity_mark(incident.severity)} {severity_word(incident.severity)} · {what}"
    )


def _why(notification: IncidentNotification, step: Step) -> str:
    run, steps = notification.incident.run, notification.escalation.steps
    first = next((s.step.name for s in steps if not s.is_carried_over), None)
    if step.name != first:
        return f"not acknowledged for {format_duration(notification.now - run.started_at)}"
    if run.cause == "unacknowledged":
        return "not acknowledged any more"
    return "firing again" if run.cause == "reopened" else "a new incident"


def _joined(incident: Incident, fingerprints: tuple[str, ...], level: FormattingLevel) -> Message:
    joined = sort_alerts(incident, frozenset(fingerprints))
    count = len(fingerprints)
    alerts = [shown.alert for shown in joined]
    name = escape_line(build_heading(alerts, incident.group_labels).counted_name, 100) if alerts else ""
    head = f"➕ {count} {'alert' if count == 1 else 'alerts'} joined{f' · {name}' if name else ''}"
    shown = list(short_lines(joined, find_shared_labels(incident, sort_alerts(incident))))
    rest = f"… and {count - len(shown)} more" if count > len(shown) else ""
    said = join_lines([head, *shown, rest], MAX_TEXT)
    return Message(said) if level is FormattingLevel.PLAIN else Message(head, (section(said),))


def _resolved(incident: Incident) -> str:
    if not incident.resolved_by:
        return f"✅ Resolved after {lasted(incident)}"
    said = f"✅ Resolved by {escape_line(incident.resolved_by, MAX_BY)} after {lasted(incident)}"
    return f"{said}: {_still_firing(incident)}" if incident.firing else said


def _still_firing(incident: Incident) -> str:
    return "1 alert still fires" if incident.firing == 1 else f"{incident.firing} alerts still fire"


def _reopened(notification: IncidentNotification) -> str:
    incident = notification.incident
    said = f"🔁 Firing again {format_timestamp(incident.reopened_at)}"
    if incident.over_for:
        said += f", {format_duration(incident.over_for)} after it resolved"
    if incident.is_acknowledged:
        said += f" · still acknowledged by {escape_line(incident.acknowledged_by, MAX_BY)}"
    elif incident.former_by:
        said += f" · {_format_former_responder(notification)}, your acknowledgement ended when it resolved"
    return said + (" · flapping: no new page is sent" if incident.is_flapping else "")


def _format_former_responder(notification: IncidentNotification) -> str:
    """Return who had acknowledged it before it resolved: mentioned if the Slack ID is known, else by name."""
    incident = notification.incident
    if is_user(incident.former_ref):
        return mention(incident.former_ref)
    return mention_on_call(notification.on_call) or escape_line(incident.former_by, MAX_BY)


def _reminder(incident: Incident, now: float) -> str:
    ago = format_duration(now - incident.resolved_at)
    by = escape_line(incident.resolved_by, MAX_BY)
    return f"⏰ Closed by {by} {ago} ago, but {_still_firing(incident)}"


def _ack_reminder(incident: Incident, now: float, level: FormattingLevel) -> Message:
    """Return the reminder with a button that restarts the acknowledgement timeout."""
    ago = format_duration(now - incident.acknowledged_at)
    by = escape_line(incident.acknowledged_by, MAX_BY)
    said = (
        f"⏰ Acknowledged by {by} {ago} ago, and {_still_firing(incident)}. "
        "Paging goes on when as long again has passed, unless it is acknowledged again, snoozed or resolved"
    )
    if level is FormattingLevel.PLAIN:
        return Message(said)
    buttons = [button("Still on it", "acknowledge", incident.id, style="primary")]
    return Message(said, (section(said), actions(buttons, BUTTONS)))


def _renamed(label: str) -> str:
    return (
        f"💡 {code(label, 100)} is part of the labels: each new value of it is a new alert. "
        "In the rule, move it from `labels` to `annotations`. Its further changes are not reported here"
    )


def _silence_ends(incident: Incident, key: str) -> str:
    """Return the warning before a silence ends; *key* is `silence_ends:NUMBER`."""
    number = key.rpartition(":")[2]
    request = next((request for request in incident.silences if str(request.number) == number), None)
    if request is None or not request.until:
        return f"🔔 A silence ends soon, and {_still_firing(incident)}"
    by = escape_line(request.by, MAX_BY)
    return f"🔔 The silence by {by} ends {format_timestamp(request.until)}, and {_still_firing(incident)}"


def _suppressed(incident: Incident) -> str:
    return render_suppression(incident) or "⏸ No pages were sent for a while"


def _check_failed(_incident: Incident) -> str:
    return "⚠️ Alertmanager could not be asked whether this is silenced: paging all the same"


_RENDERERS: dict[str, Callable[[Incident], str]] = {
    "resolved": _resolved,
    "suppressed": _suppressed,
    "check_failed": _check_failed,
}
