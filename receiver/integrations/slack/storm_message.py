"""The message of a storm and its replies: counts of its incidents on a few lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from receiver.integrations.slack.blocks import (
    MAX_TEXT,
    Block,
    FormattingLevel,
    Message,
    actions,
    button,
    context,
    header,
    section,
)
from receiver.integrations.slack.headline import SEVERITY_MARKS, severity_word
from receiver.integrations.slack.mrkdwn import (
    MAX_BY,
    bold,
    escape,
    escape_line,
    format_timestamp,
    is_link,
    join_lines,
    link,
    mention,
    plain,
)
from receiver.model.actions import Reply
from receiver.model.heading import find_heading
from receiver.model.incident import Incident
from receiver.model.routing import PAGERDUTY, SLACK
from receiver.storms.model import StormNotification, StormSummary
from receiver.text import is_web_link

BUTTONS = "storm"  # the block_id by which a click on the button comes back
ACKNOWLEDGE = "acknowledge_storm"
_MAX_ACKNOWLEDGED_BY = 5
_MAX_NAMES = 15
_MAX_NAME = 80


def render_storm(notification: StormNotification, level: FormattingLevel = FormattingLevel.FULL) -> Message:
    """Return the message or reply of a storm; at level PLAIN without blocks and thus without the button."""
    action = notification.action
    if isinstance(action, Reply):
        if action.reply_kind == "storm_step":
            return Message(_step(notification, action), links_names=True)
        if action.reply_kind == "storm_page_delayed":
            return Message(_page_delayed(notification, action), links_names=True)
        return Message(_end(notification))
    title = _title(notification)
    lines = list(_lines(notification))
    if level is FormattingLevel.PLAIN:
        return Message(join_lines([f"*{escape(title)}*", *lines], MAX_TEXT))
    return Message(escape(title), tuple(_blocks(notification, title, lines)))


def _blocks(notification: StormNotification, title: str, lines: Sequence[str]) -> Iterator[Block]:
    yield header(plain(title))
    yield section(join_lines(lines[:-1], MAX_TEXT))
    yield context([lines[-1]])
    if notification.summary.open:
        yield actions([button("Acknowledge all", ACKNOWLEDGE, notification.storm.id, "primary")], BUTTONS)


def _title(notification: StormNotification) -> str:
    """Return the headline, plain: `🌪 37 incidents in #alerts-critical: 30 open, 7 acknowledged`."""
    storm, summary = notification.storm, notification.summary
    mark = "🌪" if storm.is_active else ("✅" if summary.resolved == summary.total else "🌤")
    over = "" if storm.is_active else " · storm over"
    return f"{mark} {_incidents(summary.total)} in {storm.name}: {_states(summary)}{over}"


def _incidents(number: int) -> str:
    return "1 incident" if number == 1 else f"{number} incidents"


def _states(summary: StormSummary) -> str:
    numbers = ((summary.open, "open"), (summary.acknowledged, "acknowledged"), (summary.resolved, "resolved"))
    return ", ".join(f"{number} {word}" for number, word in numbers if number) or "none"


def _lines(notification: StormNotification) -> Iterator[str]:
    """Yield the lines of the message; the last one is for the context block."""
    summary = notification.summary
    yield " · ".join(
        f"{SEVERITY_MARKS[severity]} {number} {severity_word(severity).lower()}"
        for severity, number in summary.severities
    )
    yield _names(summary.names)
    if summary.newest:
        newest = summary.newest[0]
        name = escape_line(newest.alertname, _MAX_NAME) or "an alert without a name"
        heading = escape_line(find_heading(newest).counted_summary, 200)
        yield f"Newest: {_linked(notification, newest, name)} · {heading}".rstrip(" ·")
    if summary.acknowledged_by:
        yield f"👀 Acknowledged by {_acknowledged_by(summary.acknowledged_by)}"
    yield _small_print(notification)


def _names(names: Sequence[tuple[str, int]]) -> str:
    """Return the first *names* with their numbers, one on a line, and the sum of the others."""
    shown = [
        f"{number} × {bold(name, _MAX_NAME) or '*alert without a name*'}"
        for name, number in names[:_MAX_NAMES]
    ]
    rest = sum(number for _, number in names[_MAX_NAMES:])
    return "\n".join([*shown, *([f"… and {_incidents(rest)} by other names"] if rest else [])])


def _acknowledged_by(people: Sequence[tuple[str, int]]) -> str:
    """Return the first *people* with their numbers of incidents, and the count of the others."""
    shown = [
        f"{escape_line(name, MAX_BY) or 'somebody'}{f' ({number})' if len(people) > 1 else ''}"
        for name, number in people[:_MAX_ACKNOWLEDGED_BY]
    ]
    rest = len(people) - len(shown)
    return ", ".join([*shown, *([f"{rest} more"] if rest else [])])


def _linked(notification: StormNotification, incident: Incident, words: str) -> str:
    if not is_web_link(notification.public_url):
        return words
    return link(f"{notification.public_url.rstrip('/')}/incidents/{incident.id}", incident.alertname) or words


def _small_print(notification: StormNotification) -> str:
    rendered = [f"Since {format_timestamp(notification.storm.began_at)}"]
    rendered.append("each incident keeps its own state and escalation")
    url = notification.public_url
    if is_web_link(url):
        page = f"{url.rstrip('/')}/storms/{notification.storm.id}"
        rendered += [link(page, "all of them")] if is_link(page) else []
    return " · ".join(rendered)


def _step(notification: StormNotification, reply: Reply) -> str:
    """Return which responder is notified of the members that reached a step; sent with `link_names`."""
    if reply.step is None:
        return ""
    responder = reply.step.responder
    target = responder.find_target(SLACK)
    who = f"{escape_line(responder.title, _MAX_NAME)} {mention(target.address) if target else ''}".rstrip()
    doing = "Paging" if responder.find_target(PAGERDUTY) else "Telling"
    return f"📟 {doing} {who}: {_incidents(notification.summary.total)} in this storm not acknowledged"


def _page_delayed(notification: StormNotification, reply: Reply) -> str:
    """Return that PagerDuty can't be reached, the number of unpaged members, and the responder's mention."""
    if reply.step is None:
        return ""
    target = reply.step.responder.find_target(SLACK)
    handle = mention(target.address) if target else "<!here>"
    who = f"{escape_line(reply.step.responder.title, _MAX_NAME)} {handle}"
    return f"⚠️ PagerDuty can't be reached: {who}, {_incidents(notification.summary.total)} not paged"


def _end(notification: StormNotification) -> str:
    """Return that the storm is over, and the names that still fire without a message of their own."""
    number = len(notification.storm.released)
    own = f"; {_incidents(number)} {'gets a message of its' if number == 1 else 'get messages of their'} own"
    head = f"🌤 The storm is over{own if number else ''}"
    if not notification.without_message:
        return head
    total = sum(number for _, number in notification.without_message)
    return join_lines(
        [f"{head}. {_incidents(total)} more still firing:", _names(notification.without_message)], MAX_TEXT
    )
