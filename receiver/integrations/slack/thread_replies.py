"""The replies in an incident's thread, for changes that need a notification, which an edit does not send; and
the messages that notify in the place of a target that could not be reached.
"""

from __future__ import annotations

from receiver.clock import format_duration
from receiver.engine.notification import IncidentNotification
from receiver.integrations.slack.alert_section import find_shared_labels, short_lines, sort_alerts
from receiver.integrations.slack.blocks import MAX_TEXT, FormattingLevel, Message, actions, button, section
from receiver.integrations.slack.escalation_section import render_suppression, title
from receiver.integrations.slack.headline import SEVERITY_MARKS, lasted, severity_word
from receiver.integrations.slack.mrkdwn import (
    MAX_BY,
    code,
    disable_mentions,
    escape_line,
    format_timestamp,
    is_user,
    join_lines,
    link,
    mention,
    mention_on_call,
)
from receiver.model.actions import FallbackMention, Post, Reply, Update
from receiver.model.delivery import Delivery
from receiver.model.delivery_keys import (
    FALLBACK,
    MOVED,
    DeliveryKey,
    is_acknowledgement,
    is_page_key,
    page_key,
    parse_left_open_key,
)
from receiver.model.delivery_status import find_channel_failure, message_target
from receiver.model.heading import build_heading, find_heading
from receiver.model.incident import Incident
from receiver.model.routing import PAGERDUTY, SLACK, Step

BUTTONS = "reminder"  # the block_id by which a click on its button comes back


def render_reply(notification: IncidentNotification, reply: Reply, level: FormattingLevel) -> Message:
    """Return the message for *reply*, according to its `reply_kind`."""
    incident, kind, step = notification.incident, reply.reply_kind, reply.step
    if step is not None and kind == "step":
        return _render_step(notification, step)
    if step is not None and kind in ("page_delayed", "unconfirmed", "resolved_there", "fallback"):
        return _render_fallback_reply(notification, kind, step)
    if kind == "joined":
        return _joined(incident, reply.fingerprints, level)
    if kind == "ack_reminder":
        return _ack_reminder(incident, notification.now, level)
    return Message(_render_text(notification, reply))


def _render_text(notification: IncidentNotification, reply: Reply) -> str:
    incident = notification.incident
    match reply.reply_kind:
        case "resolved":
            text = _resolved(incident)
        case "suppressed":
            text = render_suppression(incident) or "⏸ No pages were sent for a while"
        case "check_failed":
            text = "⚠️ Alertmanager could not be asked whether this is silenced: paging all the same"
        case "reopened":
            text = _reopened(notification)
        case "left_open":
            text = _render_left_open(incident, reply.key)
        case "renamed":
            text = _renamed(reply.instance)
        case "silence_ends":
            text = _silence_ends(incident, reply.key)
        case _:
            ago = format_duration(notification.now - incident.resolved_at)
            by = escape_line(incident.resolved_by, MAX_BY)
            text = f"⏰ Closed by {by} {ago} ago, but {_still_firing(incident)}"
    return text


def _format_notifying(step: Step, on_call: str = "") -> str:
    target = step.responder.find_target(SLACK)
    who = filter(None, (title(step), mention(target.address) if target else "", on_call))
    verb = "Paging" if step.responder.find_target(PAGERDUTY) else "Telling"
    return f"📟 {verb} {' '.join(who)}"


def _render_step(notification: IncidentNotification, step: Step) -> Message:
    """Return who is notified and why."""
    receipt = notification.incident.find_run_delivery(page_key(step.name)).receipt
    simulated = " (simulated)" if receipt is not None and receipt.is_simulated else ""
    notifying = _format_notifying(step, mention_on_call(notification.on_call))
    return _render_mention(notification.incident, f"{notifying}{simulated}: {_why(notification, step)}")


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
    text = join_lines([head, *shown, rest], MAX_TEXT)
    return Message(text) if level is FormattingLevel.PLAIN else Message(head, (section(text),))


def _resolved(incident: Incident) -> str:
    if not incident.resolved_by:
        return f"✅ Resolved after {lasted(incident)}"
    text = f"✅ Resolved by {escape_line(incident.resolved_by, MAX_BY)} after {lasted(incident)}"
    return f"{text}: {_still_firing(incident)}" if incident.firing else text


def _still_firing(incident: Incident) -> str:
    return "1 alert still fires" if incident.firing == 1 else f"{incident.firing} alerts still fire"


def _reopened(notification: IncidentNotification) -> str:
    incident = notification.incident
    text = f"🔁 Firing again {format_timestamp(incident.reopened_at)}"
    if incident.over_for:
        text += f", {format_duration(incident.over_for)} after it resolved"
    if incident.is_acknowledged:
        text += f" · still acknowledged by {escape_line(incident.acknowledged_by, MAX_BY)}"
    elif incident.former_by:
        text += f" · {_format_former_responder(notification)}, your acknowledgement ended when it resolved"
    return text + (" · flapping: no new page is sent" if incident.is_flapping else "")


def _format_former_responder(notification: IncidentNotification) -> str:
    """Return who had acknowledged it before it resolved: mentioned if the Slack ID is known, else by name."""
    incident = notification.incident
    if is_user(incident.former_ref):
        return mention(incident.former_ref)
    return mention_on_call(notification.on_call) or escape_line(incident.former_by, MAX_BY)


def _ack_reminder(incident: Incident, now: float, level: FormattingLevel) -> Message:
    """Return the reminder with a button that restarts the acknowledgement timeout."""
    ago = format_duration(now - incident.acknowledged_at)
    by = escape_line(incident.acknowledged_by, MAX_BY)
    text = (
        f"⏰ Acknowledged by {by} {ago} ago, and {_still_firing(incident)}. "
        "Paging goes on when as long again has passed, unless it is acknowledged again, snoozed or resolved"
    )
    if level is FormattingLevel.PLAIN:
        return Message(text)
    buttons = [button("Still on it", "acknowledge", incident.id, style="primary")]
    return Message(text, (section(text), actions(buttons, BUTTONS)))


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


_MAX_NAME = 80
_MAX_REASON = 60
# Notifies the active members of the channel, if we know no person to mention.
_HERE = "<!here>"


def _render_fallback_reply(notification: IncidentNotification, reply_kind: str, step: Step) -> Message:
    """Return the reply of *reply_kind*: PagerDuty can't be reached (`page_delayed`), has no incident for an
    accepted page (`unconfirmed`), resolves the page automatically while it fires (`resolved_there`), or the
    fallback responder is notified (`fallback`).
    """
    incident = notification.incident
    page = incident.find_run_delivery(page_key(step.name))
    addressee = _addressee(notification, step)
    if reply_kind == "page_delayed":
        reason = _shorten_reason(page.reason or "no_answer")
        return _render_mention(incident, f"⚠️ PagerDuty can't be reached ({reason}): {addressee}")
    if reply_kind == "unconfirmed":
        text = f"⚠️ PagerDuty accepted the page and has no incident for it: {addressee}"
        causes = "Likely a maintenance window, a disabled service or an event rule; the page is sent again"
        return _render_mention(incident, f"{text}\n{causes}")
    if reply_kind == "resolved_there":
        text = f"⚠️ Something in PagerDuty resolves this page while it fires: {addressee}"
        causes = "Look for auto-resolve of the service, an event rule or another integration"
        return _render_mention(incident, f"{text}\n{causes}", _page_link(page))
    return _render_mention(incident, f"{_format_notifying(step)} in place of who could not be reached")


def _render_left_open(incident: Incident, key: DeliveryKey) -> str:
    """Return which PagerDuty incident has to be resolved or acknowledged manually.

    *key* is `left_open:` and the key of the event that had no effect, like `resolve:on-call`.
    """
    event_key = parse_left_open_key(key)
    event = incident.find_delivery(event_key)
    verb = "acknowledge" if is_acknowledgement(event_key) else "resolve"
    found = incident.deliveries.items()
    pages = (page for key, page in found if is_page_key(key) and page.target == event.target)
    page = next(filter(None, map(_page_link, (event, *pages))), "")
    which = f"PagerDuty incident {page}" if page else "PagerDuty's incident for this"
    who = escape_line(event.target.partition(":")[2], _MAX_NAME)
    if event.failed_at:
        return f"⚠️ {which} ({who}) could not be reached ({_shorten_reason(event.reason)}): {verb} it by hand"
    return f"⚠️ {which} ({who}) is still open after our resolves: {verb} it by hand"


def _page_link(event: Delivery) -> str:
    """Return PagerDuty's incident as a link, or its ID if the URL is not known; empty if there is none."""
    if event.check is None or not event.check.incident:
        return ""
    name = escape_line(event.check.incident, _MAX_NAME)
    return link(event.check.link, name) if event.check.link else name


def render_fallback_mention(notification: IncidentNotification, action: FallbackMention) -> Message:
    """Return the message in the fallback channel that mentions the responder of an undelivered step."""
    incident, step, why = notification.incident, action.step, _shorten_reason(action.why)
    if step is None:
        return _render_mention(incident, f"⚠️ Not delivered ({why}): {_HERE}")
    text = f"⚠️ {title(step)} could not be reached ({why}): {_addressee(notification, step)}"
    return _render_mention(incident, text, link(action.link, "message") if action.link else "")


def render_fallback_notice(notification: IncidentNotification) -> str:
    """Return for which channel the fallback message was sent, and why; empty for any other message."""
    incident, action = notification.incident, notification.action
    fallback = incident.find_delivery(FALLBACK)
    reference = fallback.receipt.reference if fallback.receipt is not None else ""
    is_edited = isinstance(action, Update) and action.message == reference
    if not is_edited and not (isinstance(action, Post) and action.key == FALLBACK):
        return ""
    loss = find_channel_failure(incident)
    reason = fallback.instance or (loss.reason if loss is not None else "")
    why = f" ({_shorten_reason(reason)})" if reason else ""
    return f"↪️ Here in place of {escape_line(incident.channel, _MAX_NAME)}, which could not be reached{why}"


def render_moved_notice(notification: IncidentNotification) -> str:
    """Return the link to the message that replaces a fallback message; empty for any other message."""
    action = notification.action
    message = notification.incident.message
    if not isinstance(action, Update) or action.key != MOVED or message is None or message.receipt is None:
        return ""
    place = message_target(notification.incident, message).address
    return f"goes on in {link(message.receipt.link, place)}"


def _addressee(notification: IncidentNotification, step: Step) -> str:
    """Return the step's title and a mention of the responder, else of who is on call, else `@here`."""
    target = step.responder.find_target(SLACK)
    handle = mention(target.address) if target else mention_on_call(notification.on_call)
    return f"{title(step)} {handle or _HERE}"


def _shorten_reason(reason: str) -> str:
    return disable_mentions(escape_line(reason, _MAX_REASON))


def _render_mention(incident: Incident, text: str, place: str = "") -> Message:
    """Return *text* and the heading of *incident*; with `links_names`, so each @ in labels is disabled."""
    heading = find_heading(incident)
    what = disable_mentions(escape_line(heading.counted_name or heading.counted_summary, 100))
    head = f"{SEVERITY_MARKS[incident.severity]} {severity_word(incident.severity)} · {what}"
    return Message(f"{text}\n{head}{f' · {place}' if place else ''}", links_names=True)
