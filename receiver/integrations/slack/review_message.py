"""The message of a review: a row for each alert name that fired since the last review. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from receiver.integrations.slack.blocks import (
    MAX_TEXT,
    Block,
    BlockBudget,
    FormattingLevel,
    Message,
    actions,
    button,
    context,
    header,
    pack_sections,
    section,
)
from receiver.integrations.slack.headline import SEVERITY_MARKS
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
)
from receiver.model.incident import Person
from receiver.reviews.model import Review, ReviewItem, ReviewNotification, ReviewRecord
from receiver.text import is_web_link

BUTTONS = "review"  # the block_id by which a click on the button comes back
_MAX_NAME = 80
_MAX_LINKS = 1500
_MAX_LINKED = 10
_WEEKDAY_IS_CLEAR_S = 6 * 86400.0
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Links from a row to its newest incidents: three if the message has room for that, else one.
_LINKS_A_ROW = (3, 1)


def render_review(notification: ReviewNotification, level: FormattingLevel = FormattingLevel.FULL) -> Message:
    """Return the review as one message; at level PLAIN without blocks and therefore without the button."""
    title = _title(notification)
    if level is FormattingLevel.PLAIN:
        return Message(_plain(notification, title))
    firing = notification.record.review.still_firing
    return Message(
        escape(f"{title}{f', {firing} still firing' if firing else ''}"), tuple(_blocks(notification, title))
    )


def _blocks(notification: ReviewNotification, title: str) -> list[Block]:
    head, tail = [header(title)], list(_tail(notification))
    review = notification.record.review
    # Omitted rows are counted on a line, as are the names that the review has no item for.
    beside = BlockBudget.remaining([*head, *tail, section(_rest(review, len(review.items)))])
    room, blocks = beside.characters, beside.blocks
    shown: list[Block] = []
    left_out = 0
    for links in _LINKS_A_ROW:
        rows = [_row(item, notification.public_url, links) for item in review.items]
        shown, left_out = pack_sections(rows, BlockBudget(room, blocks))
        if not left_out:
            break
    rest = _rest(review, left_out)
    return [*head, *shown, *([section(rest)] if rest else []), *tail]


def _tail(notification: ReviewNotification) -> Iterator[Block]:
    if links := _links(notification):
        yield section(links)
    record = notification.record
    if record.is_reviewed:
        yield context([_reviewed(record)])
    else:
        yield actions([button("Reviewed", "reviewed", record.id, "primary")], BUTTONS)


def _title(notification: ReviewNotification) -> str:
    """Return the headline, plain: `Review: 12 alerts since Friday 17:02`, in the team's time zone."""
    review = notification.record.review
    since = datetime.fromtimestamp(review.since, notification.zone)
    day = _WEEKDAYS[since.weekday()]
    if review.until - review.since >= _WEEKDAY_IS_CLEAR_S:
        day = f"{day} {since.day} {_MONTHS[since.month - 1]}"
    return f"Review: {_count(review.count, 'alert')} since {day} {since:%H:%M}"


def _row(item: ReviewItem, public_url: str, links: int) -> str:
    name = bold(item.alertname, _MAX_NAME) or "*alert without a name*"
    mark = SEVERITY_MARKS[item.severity] if item.still_firing else "✅"
    counts = _count(item.count, "alert")
    if item.still_firing:
        counts += f", {item.still_firing} still firing" if item.count > 1 else ", still firing"
    rendered = [
        f"{mark} {name}",
        counts,
        f"last {format_timestamp(item.last_at)}",
        _incidents(item, public_url, links),
    ]
    return " · ".join(filter(None, rendered))


def _incidents(item: ReviewItem, public_url: str, links: int) -> str:
    if not is_web_link(public_url):
        return ""
    base = f"{public_url.rstrip('/')}/incidents"
    labels = ("latest", "before", "earlier") if len(item.incident_ids) > 1 else ("incident",)
    shown = zip(item.incident_ids[:links], labels, strict=False)
    return " ".join(link(f"{base}/{incident_id}", label) for incident_id, label in shown)


def _rest(review: Review, left_out: int) -> str:
    """Return a line that counts the names without a row, including the last *left_out* items."""
    items = review.items[len(review.items) - left_out :]
    names = review.more_names + len(items)
    if not names:
        return ""
    alerts = review.more_alerts + sum(item.count for item in items)
    firing = review.more_firing + sum(item.still_firing for item in items)
    return f"… and {names} more by name: {_count(alerts, 'alert')} ({firing} still firing)"


def _links(notification: ReviewNotification) -> str:
    rendered = ""
    for label, url in notification.links[:_MAX_LINKED]:
        shown = f"{' · ' if rendered else ''}{link(url, label)}"
        if is_link(url) and len(rendered) + len(shown) <= _MAX_LINKS:
            rendered += shown
    return f"🔗 {rendered}" if rendered else ""


def _reviewed(record: ReviewRecord) -> str:
    who = _who(record.reviewed_by) if record.reviewed_by is not None else "somebody"
    return f"✅ Reviewed by {who} {format_timestamp(record.reviewed_at)}"


def _who(person: Person) -> str:
    """Return the person's mention, which notifies no one in an edit; the name if there is no Slack ID."""
    mentioned = mention(person.slack_id) if person.slack_id else ""
    return mentioned if mentioned.startswith("<@") else escape_line(person.name, MAX_BY) or "somebody"


def _plain(notification: ReviewNotification, title: str) -> str:
    """Return the review as text without blocks, with as many rows as fit."""
    record = notification.record
    items = record.review.items
    end = [_links(notification), _reviewed(record) if record.is_reviewed else ""]
    head = f"*{escape(title)}*"
    room = MAX_TEXT - sum(len(text) + 1 for text in (head, _rest(record.review, len(items)), *end))
    rows = _fitting([_row(item, notification.public_url, 1) for item in items], room)
    return join_lines([head, *rows, _rest(record.review, len(items) - len(rows)), *end], MAX_TEXT)


def _fitting(rows: Sequence[str], room: int) -> list[str]:
    """Return the first *rows*, as many as fit into *room* characters."""
    fitting: list[str] = []
    for row in rows:
        room -= len(row) + 1
        if room < 0:
            break
        fitting.append(row)
    return fitting


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
