"""The messages about many incidents: a storm's, with its replies, and a review's. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from receiver.clock import to_datetime
from receiver.integrations.slack import blocks, mrkdwn
from receiver.integrations.slack.alert_section import NAMELESS
from receiver.integrations.slack.blocks import MAX_TEXT, Block, BlockBudget, FormattingLevel, Message, section
from receiver.integrations.slack.headline import SEVERITY_MARKS, format_severity
from receiver.integrations.slack.mrkdwn import bold, escape, escape_line, format_timestamp, join_lines, link
from receiver.integrations.slack.thread_replies import format_addressee, format_notifying
from receiver.links import is_web_link
from receiver.model.actions import Reply
from receiver.model.heading import find_heading
from receiver.model.incident import Incident
from receiver.reviews.model import Review, ReviewItem, ReviewNotification, ReviewRecord
from receiver.storms.model import StormNotification, StormSummary
from receiver.text import format_count

_MAX_NAME = 80
STORM_BUTTONS = "storm"  # the block_id by which a click on the button comes back
ACKNOWLEDGE = "acknowledge_storm"
_MAX_ACKNOWLEDGED_BY = 5
_MAX_NAMES = 15


def render_storm(notification: StormNotification, level: FormattingLevel = FormattingLevel.FULL) -> Message:
    """Return the message or reply of a storm; at level PLAIN without blocks and thus without the button."""
    if isinstance(notification.action, Reply):
        return _render_storm_reply(notification, notification.action)
    title = _format_storm_title(notification)
    lines = list(_render_storm_lines(notification))
    if level is FormattingLevel.PLAIN:
        return Message(join_lines([f"*{escape(title)}*", *lines], MAX_TEXT))
    return Message(escape(title), tuple(_render_storm_blocks(notification, title, lines)))


def _render_storm_blocks(
    notification: StormNotification, title: str, lines: Sequence[str]
) -> Iterator[Block]:
    yield blocks.header(mrkdwn.plain(title))
    yield section(join_lines(lines[:-1], MAX_TEXT))
    yield blocks.context(lines[-1])
    if notification.summary.open:
        button = blocks.button("Acknowledge all", ACKNOWLEDGE, notification.storm.id, "primary")
        yield blocks.actions([button], STORM_BUTTONS)


def _format_storm_title(notification: StormNotification) -> str:
    """Return the headline, plain: `🌪 37 incidents in #alerts-critical: 30 open, 7 acknowledged`."""
    storm, summary = notification.storm, notification.summary
    mark = "🌪" if storm.is_active else ("✅" if summary.resolved == summary.total else "🌤")
    over = "" if storm.is_active else " · storm over"
    count = format_count(summary.total, "incident")
    return f"{mark} {count} in {storm.name}: {_format_states(summary)}{over}"


def _format_states(summary: StormSummary) -> str:
    numbers = ((summary.open, "open"), (summary.acknowledged, "acknowledged"), (summary.resolved, "resolved"))
    return ", ".join(f"{number} {word}" for number, word in numbers if number) or "none"


def _render_storm_lines(notification: StormNotification) -> Iterator[str]:
    """Yield the lines of the message; the last one is for the context block."""
    summary = notification.summary
    yield " · ".join(
        f"{SEVERITY_MARKS[severity]} {number} {format_severity(severity).lower()}"
        for severity, number in summary.severities
    )
    yield _render_names(summary.names)
    if summary.newest:
        newest = summary.newest[0]
        name = escape_line(newest.alertname, _MAX_NAME) or "an alert without a name"
        heading = escape_line(find_heading(newest).counted_summary, 200)
        yield f"Newest: {_link_incident(notification, newest, name)} · {heading}".rstrip(" ·")
    if summary.acknowledged_by:
        yield f"👀 Acknowledged by {_format_acknowledged_by(summary.acknowledged_by)}"
    yield _render_small_print(notification)


def _render_names(names: Sequence[tuple[str, int]]) -> str:
    """Return the first *names* with their numbers, one on a line, and the sum of the others."""
    lines = [f"{number} × {bold(name, _MAX_NAME) or NAMELESS}" for name, number in names[:_MAX_NAMES]]
    if rest := sum(number for _, number in names[_MAX_NAMES:]):
        lines.append(f"… and {format_count(rest, 'incident')} by other names")
    return "\n".join(lines)


def _format_acknowledged_by(people: Sequence[tuple[str, int]]) -> str:
    """Return the first *people* with their numbers of incidents, and the count of the others."""
    shown = [
        f"{mrkdwn.render_person(name) or 'somebody'}{f' ({number})' if len(people) > 1 else ''}"
        for name, number in people[:_MAX_ACKNOWLEDGED_BY]
    ]
    rest = len(people) - len(shown)
    return ", ".join(shown) + (f", {rest} more" if rest else "")


def _link_incident(notification: StormNotification, incident: Incident, words: str) -> str:
    if not is_web_link(notification.public_url):
        return words
    return link(f"{notification.public_url.rstrip('/')}/incidents/{incident.id}", incident.alertname) or words


def _render_small_print(notification: StormNotification) -> str:
    since = f"Since {format_timestamp(notification.storm.began_at)}"
    text = f"{since} · each incident keeps its own state and escalation"
    page = f"{notification.public_url.rstrip('/')}/storms/{notification.storm.id}"
    return f"{text} · {link(page, 'all of them')}" if mrkdwn.is_link(page) else text


def _render_storm_reply(notification: StormNotification, reply: Reply) -> Message:
    """Return that the storm is over, or which responder is notified of the members that reached a step."""
    if reply.step is None:
        return Message(_render_end(notification))
    members = format_count(notification.summary.total, "incident")
    if reply.reply_kind == "storm_step":
        text = f"{format_notifying(reply.step, limit=_MAX_NAME)}: {members} in this storm not acknowledged"
    else:
        addressee = format_addressee(reply.step, limit=_MAX_NAME)
        text = f"⚠️ PagerDuty can't be reached: {addressee}, {members} not paged"
    return Message(text, links_names=True)


def _render_end(notification: StormNotification) -> str:
    """Return that the storm is over, and the names that still fire without a message of their own."""
    number = len(notification.storm.released)
    own = "gets a message of its own" if number == 1 else "get messages of their own"
    head = "🌤 The storm is over"
    if number:
        head += f"; {format_count(number, 'incident')} {own}"
    if not notification.without_message:
        return head
    total = sum(number for _, number in notification.without_message)
    head += f". {format_count(total, 'incident')} more still firing:"
    return join_lines([head, _render_names(notification.without_message)], MAX_TEXT)


REVIEW_BUTTONS = "review"  # the block_id by which a click on the button comes back
_MAX_LINKS = 1500
_MAX_LINKED = 10
_WEEKDAY_IS_CLEAR_S = 6 * 86400.0
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Links from a row to its newest incidents: three if the message has room for that, else one.
_LINKS_A_ROW = (3, 1)


def render_review(notification: ReviewNotification, level: FormattingLevel = FormattingLevel.FULL) -> Message:
    """Return the review as one message; at level PLAIN without blocks and therefore without the button."""
    title = _format_review_title(notification)
    if level is FormattingLevel.PLAIN:
        return Message(_render_plain_review(notification, title))
    firing = notification.record.review.still_firing
    return Message(
        escape(f"{title}{f', {firing} still firing' if firing else ''}"),
        tuple(_render_review_blocks(notification, title)),
    )


def _render_review_blocks(notification: ReviewNotification, title: str) -> list[Block]:
    head, tail = [blocks.header(title)], list(_render_review_tail(notification))
    review = notification.record.review
    # Omitted rows are counted on a line, as are the names that the review has no item for.
    budget = BlockBudget.remaining([*head, *tail, section(_render_rest(review, len(review.items)))])
    shown: list[Block] = []
    left_out = 0
    for links in _LINKS_A_ROW:
        rows = [_render_row(item, notification.public_url, links) for item in review.items]
        shown, left_out = blocks.pack_sections(rows, replace(budget))
        if not left_out:
            break
    rest = _render_rest(review, left_out)
    return [*head, *shown, *([section(rest)] if rest else []), *tail]


def _render_review_tail(notification: ReviewNotification) -> Iterator[Block]:
    if links := _render_links(notification):
        yield section(links)
    record = notification.record
    if record.is_reviewed:
        yield blocks.context(_render_reviewed(record))
    else:
        yield blocks.actions([blocks.button("Reviewed", "reviewed", record.id, "primary")], REVIEW_BUTTONS)


def _format_review_title(notification: ReviewNotification) -> str:
    """Return the headline, plain: `Review: 12 alerts since Friday 17:02`, in the team's time zone."""
    review = notification.record.review
    since = to_datetime(review.since, notification.zone)
    day = _WEEKDAYS[since.weekday()]
    if review.until - review.since >= _WEEKDAY_IS_CLEAR_S:
        day = f"{day} {since.day} {_MONTHS[since.month - 1]}"
    return f"Review: {format_count(review.count, 'alert')} since {day} {since:%H:%M}"


def _render_row(item: ReviewItem, public_url: str, links: int) -> str:
    name = bold(item.alertname, _MAX_NAME) or NAMELESS
    mark = SEVERITY_MARKS[item.severity] if item.still_firing else "✅"
    counts = format_count(item.count, "alert")
    if item.still_firing:
        counts += f", {item.still_firing} still firing" if item.count > 1 else ", still firing"
    shown = (f"{mark} {name}", counts, f"last {format_timestamp(item.last_at)}")
    return " · ".join(filter(None, (*shown, _link_incidents(item, public_url, links))))


def _link_incidents(item: ReviewItem, public_url: str, links: int) -> str:
    if not is_web_link(public_url):
        return ""
    base = f"{public_url.rstrip('/')}/incidents"
    labels = ("latest", "before", "earlier") if len(item.incident_ids) > 1 else ("incident",)
    shown = zip(item.incident_ids[:links], labels, strict=False)
    return " ".join(link(f"{base}/{incident_id}", label) for incident_id, label in shown)


def _render_rest(review: Review, left_out: int) -> str:
    """Return a line that counts the names without a row, including the last *left_out* items."""
    items = review.items[len(review.items) - left_out :]
    names = review.more_names + len(items)
    if not names:
        return ""
    alerts = review.more_alerts + sum(item.count for item in items)
    firing = review.more_firing + sum(item.still_firing for item in items)
    return f"… and {names} more by name: {format_count(alerts, 'alert')} ({firing} still firing)"


def _render_reviewed(record: ReviewRecord) -> str:
    by = record.reviewed_by
    # The message is edited then, so a mention notifies no one.
    who = mrkdwn.render_person(by.name, by.slack_id, is_edit=True) if by is not None else ""
    return f"✅ Reviewed by {who or 'somebody'} {format_timestamp(record.reviewed_at)}"


def _render_links(notification: ReviewNotification) -> str:
    links = mrkdwn.join_links(notification.links[:_MAX_LINKED], _MAX_LINKS)
    return f"🔗 {links}" if links else ""


def _render_plain_review(notification: ReviewNotification, title: str) -> str:
    """Return the review as text without blocks, with as many rows as fit."""
    record = notification.record
    items = record.review.items
    end = [
        _render_links(notification),
        _render_reviewed(record) if record.is_reviewed else "",
    ]
    head = f"*{escape(title)}*"
    room = MAX_TEXT - sum(len(text) + 1 for text in (head, _render_rest(record.review, len(items)), *end))
    rows = mrkdwn.take_fitting([_render_row(item, notification.public_url, 1) for item in items], room)
    return join_lines([head, *rows, _render_rest(record.review, len(items) - len(rows)), *end], MAX_TEXT)
