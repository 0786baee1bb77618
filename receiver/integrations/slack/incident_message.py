"""The message of an incident: its blocks or its plain text, links, buttons, and the runbook's excerpt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from receiver.engine.notification import IncidentNotification
from receiver.integrations.slack import alert_section, blocks, escalation_section, mrkdwn, thread_replies
from receiver.integrations.slack.blocks import Block, BlockBudget, FormattingLevel, Message, section
from receiver.integrations.slack.headline import format_headline, format_history
from receiver.integrations.slack.mrkdwn import escape, escape_line, format_timestamp, is_link, link
from receiver.model.actions import FallbackMention, Post, Reply, Update
from receiver.model.alert_links import RUNBOOK, NamedLink, name_source
from receiver.model.delivery_keys import MESSAGE
from receiver.model.heading import IncidentHeading, find_heading, format_more
from receiver.model.incident import Incident
from receiver.model.messages import is_in_maintenance
from receiver.runbooks.excerpt import cut_excerpt
from receiver.runbooks.model import Excerpt, Part, Runbook, Section
from receiver.runbooks.tables import align_table
from receiver.text import one_line

# Characters reserved for the runbook; the alerts may use the rest that the essential lines leave.
_RUNBOOK_SHARE = 3500
_MAX_SUMMARY = 600
_MAX_LABELS = 700
_MAX_LINKS = 2500
_MAX_WORDS = 300
_ROOM_FOR_COUNT = 60
BUTTONS = "answers"  # the block_id by which a click on one of them comes back


def render_message(
    notification: IncidentNotification, level: FormattingLevel = FormattingLevel.FULL
) -> Message:
    """Return what Slack is sent for *notification*; every *level* respects Slack's limits."""
    incident, action = notification.incident, notification.action
    if isinstance(action, Reply):
        return thread_replies.render_reply(notification, action, level)
    if isinstance(action, FallbackMention):
        return thread_replies.render_fallback_mention(notification, action)
    heading, alerts = find_heading(incident), alert_section.sort_alerts(incident)
    summary = mrkdwn.render_passages(heading.summary, _MAX_SUMMARY)
    content = _Content(
        notification,
        heading,
        format_headline(incident, heading),
        summary + format_more(heading.more) if summary else "",
        alerts,
        alert_section.find_shared_labels(incident, alerts),
    )
    if level is FormattingLevel.PLAIN:
        return Message(content.render_plain())
    text = "\n".join(filter(None, (escape(content.title), content.summary)))
    return Message(mrkdwn.cut_escaped(text, blocks.MAX_TEXT), tuple(content.render_blocks(level)))


@dataclass(frozen=True, slots=True)
class _Content:
    """What a message of an incident shows at every level: its *title* in plain text, the rest escaped."""

    notification: IncidentNotification
    heading: IncidentHeading
    title: str
    summary: str
    alerts: list[alert_section.AlertView]
    shared_labels: dict[str, str]

    def render_blocks(self, level: FormattingLevel) -> list[Block]:
        incident, excerpt = self.notification.incident, self.notification.excerpt
        head, tail = list(self._render_head()), list(self._render_tail())
        if level is FormattingLevel.COMPACT:
            return [*head, section(alert_section.count_rest(incident) or "No alerts"), *tail]
        budget = BlockBudget.remaining([*head, *tail])
        if excerpt is None or incident.is_resolved:
            return [*head, *self._render_alerts(budget.reserve_characters(0)), *tail]
        runbook = BlockBudget(min(_RUNBOOK_SHARE, budget.characters // 2), budget.blocks)
        before = runbook.characters
        render_runbook(excerpt, runbook)
        alerts = self._render_alerts(budget.reserve_characters(before - runbook.characters))
        shown = [*head, *alerts, *tail]
        return [*shown, *render_runbook(excerpt, BlockBudget.remaining(shown))]

    def render_plain(self) -> str:
        """Return the message as text without blocks; the alerts use the room that the other lines leave."""
        incident = self.notification.incident
        head = [
            f"*{escape_line(self.title, 200)}*",
            self.summary,
            alert_section.render_labels(self.shared_labels, 300),
        ]
        tail = [
            *_render_state(self.notification),
            _render_history(self.notification),
            _render_links(self.notification, 600),
        ]
        room = blocks.MAX_TEXT - sum(len(text) + 1 for text in (*head, *tail)) - _ROOM_FOR_COUNT
        shown = mrkdwn.take_fitting(alert_section.render_short_lines(self.alerts, self.shared_labels), room)
        rest = alert_section.count_rest(incident, self.alerts[: len(shown)])
        return mrkdwn.join_lines([*head, *shown, rest, *tail], blocks.MAX_TEXT)

    def _render_alerts(self, budget: BlockBudget) -> list[Block]:
        content = alert_section.SharedContent(
            self.shared_labels, self.heading.summary, _list_links(self.notification)
        )
        return alert_section.render_alerts(self.notification.incident, self.alerts, content, budget)

    def _render_head(self) -> Iterator[Block]:
        yield blocks.header(mrkdwn.plain(self.title))
        labels = alert_section.render_labels(self.shared_labels, _MAX_LABELS)
        if text := "\n".join(filter(None, (self.summary, labels))):
            yield section(text)

    def _render_tail(self) -> Iterator[Block]:
        yield from map(section, _render_state(self.notification))
        yield blocks.context(_render_history(self.notification))
        if links := _render_links(self.notification, _MAX_LINKS):
            yield section(links)
        if buttons := _build_buttons(self.notification):
            yield blocks.actions(buttons, BUTTONS)


def _list_links(notification: IncidentNotification) -> list[NamedLink]:
    """Return the links of the message, most useful first, our own page before all."""
    links, excerpt = notification.links, notification.excerpt
    found = [
        NamedLink(alert_section.INCIDENT, links.incident),
        NamedLink(RUNBOOK, excerpt.url if excerpt is not None else ""),
        NamedLink("Silence", "" if notification.incident.is_resolved else links.silence),
        NamedLink(name_source(links.source), links.source),
        *(NamedLink(name, url) for name, url in links.more),
    ]
    return [one for one in found if one.url]


def _render_links(notification: IncidentNotification, limit: int) -> str:
    """Return the links on a line, and below it the words of an alert whose runbook is no link."""
    found = [(one.name, one.url) for one in _list_links(notification)]
    links = mrkdwn.join_links(found, limit, notification.links.incident)
    words = notification.excerpt.words if notification.excerpt is not None else ""
    prose = mrkdwn.render_passages(one_line(words, _MAX_WORDS), _MAX_WORDS)
    lines = (f"🔗 {links}" if links else "", f"📖 Runbook: {prose}" if words else "")
    return "\n".join(filter(None, lines))


def _render_state(notification: IncidentNotification) -> Iterable[str]:
    """Return the lines on maintenance, fallback, suppression, staleness, escalation, pages and silences."""
    incident, escalation = notification.incident, notification.escalation
    maintenance, is_edit = "", isinstance(notification.action, Update)
    if is_in_maintenance(incident, escalation):
        maintenance = f"🔧 Maintenance until {format_timestamp(escalation.paused_until)}: nobody is paged"
    return filter(
        None,
        (
            maintenance,
            thread_replies.render_fallback_notice(notification),
            escalation_section.render_suppression(incident),
            escalation_section.render_stale(incident, notification.now),
            escalation_section.render_steps(incident, escalation, is_edit=is_edit),
            escalation_section.render_page_failures(incident, escalation),
            escalation_section.render_silences(incident, notification.now),
        ),
    )


def _build_buttons(notification: IncidentNotification) -> list[Block]:
    """Return the buttons for the incident's state; if resolved, only those that expire a silence."""
    incident = notification.incident
    if thread_replies.render_moved_notice(notification):
        return []  # the buttons are on the message that replaces this one
    expire = list(escalation_section.build_expire_buttons(incident, notification.now))
    if incident.is_resolved:
        return expire
    make = partial(blocks.button, value=incident.id)
    acknowledge = make("Acknowledge", "acknowledge", style="primary")
    first = make("Un-acknowledge", "unacknowledge") if incident.is_acknowledged else acknowledge
    silence = [make("Silence", "silence")] if notification.links.can_silence else []
    return [first, make("Resolve", "resolve"), *silence, *expire]


def _render_history(notification: IncidentNotification) -> str:
    """Return the incident's history on one line, with a link to the message before or after this one."""
    text = format_history(notification.incident, is_edit=isinstance(notification.action, Update))
    if moved := thread_replies.render_moved_notice(notification):
        return f"{text} · {moved}"
    if replaced := _find_replaced_message(notification):
        url = _find_permalink(notification.incident, replaced)
        return f"{text} · goes on from {link(url, 'an earlier message')}"
    return text


def _find_replaced_message(notification: IncidentNotification) -> str:
    """Return the reference of an earlier message that this one replaces; empty if there is none."""
    action = notification.action
    if isinstance(action, Post):
        return action.replaces
    receipt = notification.incident.find_delivery(MESSAGE).receipt
    is_other = isinstance(action, Update) and receipt and receipt.reference != action.message
    return receipt.reference if receipt and is_other else ""


def _find_permalink(incident: Incident, reference: str) -> str:
    receipts = (delivery.receipt for delivery in incident.deliveries.values())
    return next((one.link for one in receipts if one is not None and one.reference == reference), "")


_BULLETS = ("•", "◦", "▪")
_INDENT = "    "
_MAX_DEPTH = 6
_TOO_LONG = "… _(too long to show here)_"


def render_runbook(excerpt: Excerpt, budget: BlockBudget) -> list[Block]:
    """Return the excerpt as sections within *budget*; none if not even the first part fits.

    List items and code blocks are shown complete or left out. An excerpt that is too long is cut again, so
    that what is needed first is not lost because it stands last.
    """
    trial = replace(budget)
    shown, has_all = _render_whole(excerpt, trial)
    if not has_all:
        room = budget.characters * 4 // 5  # what is left may be needed for escaping
        cut = cut_excerpt(Runbook(excerpt.name, "", excerpt.sections), room, excerpt.url)
        trial = replace(budget)
        shown, _ = _render_whole(replace(cut, is_cut=True), trial)
    budget.characters, budget.blocks = trial.characters, trial.blocks
    return shown


def _render_whole(excerpt: Excerpt, budget: BlockBudget) -> tuple[list[Block], bool]:
    """Return the blocks of the excerpt from its start, and whether all of it fits."""
    pieces = list(_render_excerpt(excerpt))
    if not pieces:
        return [], True
    url = excerpt.url
    rest = section(f"… {link(url, 'the rest of the runbook') if is_link(url) else 'the runbook goes on'}")
    if not budget.try_add_block(rest):
        return [], False
    head = f"📖 {mrkdwn.bold('Runbook: ' + excerpt.name, 200)}"
    shown, left_out = blocks.pack_sections([f"{head}\n{pieces[0]}", *pieces[1:]], budget)
    is_cut = excerpt.is_cut or left_out or any(piece.endswith(_TOO_LONG) for piece in pieces)
    return [*shown, rest] if shown and is_cut else shown, not left_out


def _render_excerpt(excerpt: Excerpt) -> Iterator[str]:
    """Yield the parts as mrkdwn; the title of a section is joined to its first part."""
    for sector in excerpt.sections:
        title = mrkdwn.bold(sector.title, 200)
        for piece in _render_section(sector):
            yield f"{title}\n{piece}" if title else piece
            title = ""


def _render_section(sector: Section) -> Iterator[str]:
    for part in sector.parts:
        piece = _render_part(part)
        if len(piece) > blocks.MAX_SECTION - 450:  # leaves room for the titles that may be joined to it
            yield _find_indent(part) + _TOO_LONG
        elif piece:
            yield piece


def _render_part(part: Part) -> str:
    if part.kind == "table":
        return mrkdwn.render_code_block(align_table(part.text, has_markup=False))
    if part.kind == "code":
        return mrkdwn.render_code_block(part.text)
    text = mrkdwn.render_inline(part.text)
    if not text:
        return ""
    inner = _find_indent(part)
    if not part.marker:
        return _indent_lines(text, inner)
    return f"{inner}{_render_marker(part)} " + _indent_lines(text, inner + "  ").lstrip()


def _render_marker(part: Part) -> str:
    if part.marker in ("-", "*", "+"):
        return _BULLETS[min(max(part.depth, 1), len(_BULLETS)) - 1]
    return mrkdwn.escape_line(part.marker, 10)


def _find_indent(part: Part) -> str:
    """Return the indent: a list item aligns with its parent's text, its other parts are one level deeper."""
    depth = part.depth - 1 if part.marker else part.depth
    return _INDENT * min(max(0, depth), _MAX_DEPTH)


def _indent_lines(text: str, indent: str) -> str:
    return "\n".join(f"{indent}{each}" for each in text.split("\n"))
