"""The replies in an incident's thread, for changes that need a notification, which an edit does not send; and
the messages that notify in the place of a target that could not be reached.
"""

from __future__ import annotations

from receiver.clock import format_duration
from receiver.engine.notification import IncidentNotification
from receiver.integrations.slack import blocks, mrkdwn
from receiver.integrations.slack.alert_section import find_shared_labels, render_short_lines, sort_alerts
from receiver.integrations.slack.blocks import FormattingLevel, Message
from receiver.integrations.slack.escalation_section import MAX_TITLE, format_title, render_suppression
from receiver.integrations.slack.headline import SEVERITY_MARKS, format_severity, format_time_open
from receiver.integrations.slack.mrkdwn import escape_line, format_timestamp, link, mention, render_person
from receiver.model import delivery_keys
from receiver.model.actions import FallbackMention, Post, Reply, Update
from receiver.model.delivery import Delivery
from receiver.model.delivery_status import find_channel_failure, message_target
from receiver.model.heading import build_heading, find_heading
from receiver.model.incident import Incident, OnCallPerson
from receiver.model.routing import PAGERDUTY, SLACK, Step
from receiver.text import format_count

BUTTONS = "reminder"  # the block_id by which a click on its button comes back
_STEP_REPLIES = frozenset({"step", "page_delayed", "unconfirmed", "resolved_there", "fallback"})


def render_reply(notification: IncidentNotification, reply: Reply, level: FormattingLevel) -> Message:
    """Return the message for *reply*, according to its `reply_kind`."""
    if reply.step is not None and reply.reply_kind in _STEP_REPLIES:
        return _render_step_reply(notification, reply.reply_kind, reply.step)
    if reply.reply_kind == "joined":
        return _render_joined(notification.incident, reply.fingerprints, level)
    if reply.reply_kind == "ack_reminder":
        return _render_ack_reminder(notification.incident, notification.now, level)
    return Message(_render_text(notification, reply))


def _render_text(notification: IncidentNotification, reply: Reply) -> str:
    incident = notification.incident
    match reply.reply_kind:
        case "resolved":
            by = f" by {render_person(incident.resolved_by)}" if incident.resolved_by else ""
            text = f"✅ Resolved{by} after {format_time_open(incident)}"
            text += f": {_format_firing(incident)}" if by and incident.firing else ""
        case "suppressed":
            text = render_suppression(incident) or "⏸ No pages were sent for a while"
        case "check_failed":
            text = "⚠️ Alertmanager could not be asked whether this is silenced: paging all the same"
        case "reopened":
            text = _render_reopened(notification)
        case "left_open":
            text = _render_left_open(incident, reply.key)
        case "renamed":
            text = (
                f"💡 {mrkdwn.code(reply.instance, 100)} is part of the labels: each new value of it is a new "
                "alert. In the rule, move it from `labels` to `annotations`. Its further changes are not "
                "reported here"
            )
        case "silence_ends":
            text = _render_silence_end(incident, reply.key)
        case _:
            by, ago = incident.resolved_by, format_duration(notification.now - incident.resolved_at)
            text = f"⏰ Closed by {render_person(by)} {ago} ago, but {_format_firing(incident)}"
    return text


_MAX_NAME = 80
_MAX_REASON = 60
# Notifies the active members of the channel, if we know no person to mention.
_HERE = "<!here>"


def _render_step_reply(notification: IncidentNotification, reply_kind: str, step: Step) -> Message:
    """Return the reply of *reply_kind*: a step is notified (`step`), PagerDuty can't be reached
    (`page_delayed`), has no incident for an accepted page (`unconfirmed`), resolves the page automatically
    while it fires (`resolved_there`), or the fallback responder is notified (`fallback`).
    """
    incident, place = notification.incident, ""
    page = incident.find_run_delivery(delivery_keys.page_key(step.name))
    addressee = format_addressee(step, notification.on_call)
    match reply_kind:
        case "page_delayed":
            text = (
                f"⚠️ PagerDuty can't be reached ({_shorten_reason(page.reason or 'no_answer')}): {addressee}"
            )
        case "unconfirmed":
            text = (
                f"⚠️ PagerDuty accepted the page and has no incident for it: {addressee}\n"
                "Likely a maintenance window, a disabled service or an event rule; the page is sent again"
            )
        case "resolved_there":
            text = (
                f"⚠️ Something in PagerDuty resolves this page while it fires: {addressee}\n"
                "Look for auto-resolve of the service, an event rule or another integration"
            )
            place = _render_page_link(page)
        case "fallback":
            text = f"{format_notifying(step)} in place of who could not be reached"
        case _:
            simulated = " (simulated)" if page.receipt is not None and page.receipt.is_simulated else ""
            who, why = format_notifying(step, notification.on_call), _format_cause(notification, step)
            text = f"{who}{simulated}: {why}"
            if page.failed_at:  # before this reply could be sent; without `@here`, which `page_delayed` has
                addressee = addressee.removesuffix(f" {_HERE}")
                text = f"⚠️ {addressee} can't be paged ({_shorten_reason(page.reason)}): {why}"
    return _render_mention(incident, text, place)


def format_notifying(step: Step, on_call: tuple[OnCallPerson, ...] = (), limit: int = MAX_TITLE) -> str:
    """Return which responder *step* notifies, with the title in at most *limit* characters."""
    target = step.responder.find_target(SLACK)
    handle = mention(target.address) if target else ""
    who = filter(None, (format_title(step, limit), handle, mrkdwn.mention_on_call(on_call)))
    verb = "Paging" if step.responder.find_target(PAGERDUTY) else "Telling"
    return f"📟 {verb} {' '.join(who)}"


def format_addressee(step: Step, on_call: tuple[OnCallPerson, ...] = (), limit: int = MAX_TITLE) -> str:
    """Return the step's title and a mention of the responder, else of who is on call, else `@here`."""
    target = step.responder.find_target(SLACK)
    handle = mention(target.address) if target else mrkdwn.mention_on_call(on_call)
    return f"{format_title(step, limit)} {handle or _HERE}"


def _format_cause(notification: IncidentNotification, step: Step) -> str:
    run, steps = notification.incident.run, notification.escalation.steps
    first = next((s.step.name for s in steps if not s.is_carried_over), None)
    if step.name != first:
        return f"not acknowledged for {format_duration(notification.now - run.started_at)}"
    if run.cause == "unacknowledged":
        return "not acknowledged any more"
    return "firing again" if run.cause == "reopened" else "a new incident"


def _render_joined(incident: Incident, fingerprints: tuple[str, ...], level: FormattingLevel) -> Message:
    joined = sort_alerts(incident, frozenset(fingerprints))
    count = len(fingerprints)
    alerts = [shown.alert for shown in joined]
    name = escape_line(build_heading(alerts, incident.group_labels).counted_name, 100) if alerts else ""
    head = f"➕ {format_count(count, 'alert')} joined{f' · {name}' if name else ''}"
    shown = list(render_short_lines(joined, find_shared_labels(incident, sort_alerts(incident))))
    rest = f"… and {count - len(shown)} more" if count > len(shown) else ""
    text = mrkdwn.join_lines([head, *shown, rest], blocks.MAX_TEXT)
    return Message(text) if level is FormattingLevel.PLAIN else Message(head, (blocks.section(text),))


def _format_firing(incident: Incident) -> str:
    return "1 alert still fires" if incident.firing == 1 else f"{incident.firing} alerts still fire"


def _render_reopened(notification: IncidentNotification) -> str:
    incident = notification.incident
    text = f"🔁 Firing again {format_timestamp(incident.reopened_at)}"
    if incident.over_for:
        text += f", {format_duration(incident.over_for)} after it resolved"
    if incident.is_acknowledged:
        text += f" · still acknowledged by {render_person(incident.acknowledged_by)}"
    elif incident.former_by:
        # A mention if the Slack ID is known, else the name.
        is_known = mrkdwn.is_user(incident.former_ref)
        former = mention(incident.former_ref) if is_known else mrkdwn.mention_on_call(notification.on_call)
        former = former or render_person(incident.former_by)
        text += f" · {former}, your acknowledgement ended when it resolved"
    return text + (" · flapping: no new page is sent" if incident.is_flapping else "")


def _render_ack_reminder(incident: Incident, now: float, level: FormattingLevel) -> Message:
    """Return the reminder with a button that restarts the acknowledgement timeout."""
    by, ago = render_person(incident.acknowledged_by), format_duration(now - incident.acknowledged_at)
    text = (
        f"⏰ Acknowledged by {by} {ago} ago, and {_format_firing(incident)}. "
        "Paging goes on when as long again has passed, unless it is acknowledged again, snoozed or resolved"
    )
    if level is FormattingLevel.PLAIN:
        return Message(text)
    button = blocks.button("Still on it", "acknowledge", incident.id, style="primary")
    return Message(text, (blocks.section(text), blocks.actions([button], BUTTONS)))


def _render_silence_end(incident: Incident, key: str) -> str:
    """Return the warning before a silence ends; *key* is `silence_ends:NUMBER`."""
    number = key.rpartition(":")[2]
    request = next((request for request in incident.silences if str(request.number) == number), None)
    if request is None or not request.until:
        return f"🔔 A silence ends soon, and {_format_firing(incident)}"
    ends = f"{render_person(request.by)} ends {format_timestamp(request.until)}"
    return f"🔔 The silence by {ends}, and {_format_firing(incident)}"


def _render_left_open(incident: Incident, key: delivery_keys.DeliveryKey) -> str:
    """Return which PagerDuty incident has to be resolved or acknowledged manually.

    *key* is `left_open:` and the key of the event that had no effect, like `resolve:on-call`.
    """
    event_key = delivery_keys.parse_left_open_key(key)
    event = incident.find_delivery(event_key)
    verb = "acknowledge" if delivery_keys.is_acknowledgement(event_key) else "resolve"
    found = incident.deliveries.items()
    pages = (page for key, page in found if delivery_keys.is_page_key(key) and page.target == event.target)
    page = next(filter(None, map(_render_page_link, (event, *pages))), "")
    which = f"PagerDuty incident {page}" if page else "PagerDuty's incident for this"
    who = escape_line(event.target.partition(":")[2], _MAX_NAME)
    if event.failed_at:
        return f"⚠️ {which} ({who}) could not be reached ({_shorten_reason(event.reason)}): {verb} it by hand"
    return f"⚠️ {which} ({who}) is still open after our resolves: {verb} it by hand"


def _render_page_link(event: Delivery) -> str:
    """Return PagerDuty's incident as a link, or its ID if the URL is not known; empty if there is none."""
    if event.check is None or not event.check.incident:
        return ""
    name = escape_line(event.check.incident, _MAX_NAME)
    return link(event.check.link, name) if event.check.link else name


def render_fallback_mention(notification: IncidentNotification, action: FallbackMention) -> Message:
    """Return the message in the fallback channel that mentions the responder of an undelivered step."""
    step, why = action.step, _shorten_reason(action.why)
    addressee = format_addressee(step, notification.on_call)
    text = f"⚠️ {format_title(step)} could not be reached ({why}): {addressee}"
    return _render_mention(notification.incident, text, link(action.link, "message") if action.link else "")


def render_fallback_notice(notification: IncidentNotification) -> str:
    """Return for which channel the fallback message was sent, and why; empty for any other message."""
    incident, action = notification.incident, notification.action
    fallback = incident.find_delivery(delivery_keys.FALLBACK)
    reference = fallback.receipt.reference if fallback.receipt is not None else ""
    is_edited = isinstance(action, Update) and action.message == reference
    if not is_edited and not (isinstance(action, Post) and action.key == delivery_keys.FALLBACK):
        return ""
    loss = find_channel_failure(incident)
    reason = fallback.instance or (loss.reason if loss is not None else "")
    why = f" ({_shorten_reason(reason)})" if reason else ""
    return f"↪️ Here in place of {escape_line(incident.channel, _MAX_NAME)}, which could not be reached{why}"


def render_moved_notice(notification: IncidentNotification) -> str:
    """Return the link to the message that replaces a fallback message; empty for any other message."""
    action, message = notification.action, notification.incident.message
    is_moved = isinstance(action, Update) and action.key == delivery_keys.MOVED
    if not is_moved or message is None or message.receipt is None:
        return ""
    place = message_target(notification.incident, message).address
    return f"goes on in {link(message.receipt.link, place)}"


def _shorten_reason(reason: str) -> str:
    return mrkdwn.disable_mentions(escape_line(reason, _MAX_REASON))


def _render_mention(incident: Incident, text: str, place: str = "") -> Message:
    """Return *text* and the heading of *incident*; with `links_names`, so each @ in labels is disabled."""
    heading = find_heading(incident)
    what = mrkdwn.disable_mentions(escape_line(heading.counted_name or heading.counted_summary, 100))
    head = f"{SEVERITY_MARKS[incident.severity]} {format_severity(incident.severity)} · {what}"
    return Message(f"{text}\n{head}{f' · {place}' if place else ''}", links_names=True)
