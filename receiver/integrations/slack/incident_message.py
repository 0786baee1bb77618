"""The message of an incident: its blocks or its plain text, links, buttons and the maintenance line."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from receiver.engine.notification import IncidentNotification
from receiver.integrations.slack.alert_section import (
    AlertView,
    count_rest,
    find_shared_labels,
    render_alerts,
    render_labels,
    short_lines,
    sort_alerts,
)
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
    section,
)
from receiver.integrations.slack.escalation_section import (
    render_fallback_mention,
    render_fallback_notice,
    render_moved_notice,
    render_page_failures,
    render_steps,
)
from receiver.integrations.slack.headline import headline, history
from receiver.integrations.slack.mrkdwn import (
    cut_escaped,
    escape,
    escape_text,
    format_timestamp,
    is_link,
    join_lines,
    link,
    plain,
)
from receiver.integrations.slack.runbook_section import render_runbook
from receiver.integrations.slack.silence_section import (
    expire_buttons,
    render_silences,
    render_stale,
    render_suppression,
)
from receiver.integrations.slack.thread_replies import render_reply
from receiver.model.actions import FallbackMention, Post, Reply, Update
from receiver.model.delivery import Delivery
from receiver.model.delivery_keys import MESSAGE
from receiver.model.escalation import EscalationState
from receiver.model.heading import find_heading, format_more
from receiver.model.incident import Incident
from receiver.model.messages import is_in_maintenance


def render_maintenance(incident: Incident, escalation: EscalationState) -> str:
    """Return until when maintenance pauses paging; empty if it pauses none."""
    if not is_in_maintenance(incident, escalation):
        return ""
    return f"🔧 Maintenance until {format_timestamp(escalation.paused_until)}: nobody is paged"


_BETWEEN = " · "


def render_links(notification: IncidentNotification, limit: int) -> str:
    """Return the links as mrkdwn within *limit* characters, most useful first; empty if there are none."""
    said = ""
    for label, url in _links(notification):
        if not is_link(url):
            continue
        shown = f"{_BETWEEN if said else ''}{link(url, label)}"
        if len(said) + len(shown) <= limit:
            said += shown
    return f"🔗 {said}" if said else ""


def _links(notification: IncidentNotification) -> Iterator[tuple[str, str]]:
    links, excerpt = notification.links, notification.excerpt
    yield "Incident", links.incident
    if excerpt is not None:
        yield "Runbook", excerpt.url
    if not notification.incident.is_resolved:
        yield "Silence", links.silence
    yield "Prometheus", links.prometheus
    yield from links.more


# Characters reserved for the runbook; the alerts may use the rest that the essential lines leave.
_RUNBOOK_SHARE = 3500
_MAX_SUMMARY = 600
_MAX_LABELS = 700
_MAX_LINKS = 2500
_ROOM_FOR_COUNT = 60
BUTTONS = "answers"  # the block_id by which a click on one of them comes back


def render_message(
    notification: IncidentNotification, level: FormattingLevel = FormattingLevel.FULL
) -> Message:
    """Return what Slack is sent for a Post, an Update or a Reply.

    Every *level* respects Slack's limits; the lower ones use less formatting.
    """
    if isinstance(notification.action, Reply):
        return render_reply(notification, notification.action, level)
    if isinstance(notification.action, FallbackMention):
        return render_fallback_mention(notification, notification.action)
    alerts = sort_alerts(notification.incident)
    if level is FormattingLevel.PLAIN:
        return Message(_plain(notification, alerts))
    text = "\n".join(filter(None, (_escaped_headline(notification.incident), _summary(notification))))
    return Message(cut_escaped(text, MAX_TEXT), tuple(_blocks(notification, alerts, level)))


def _blocks(
    notification: IncidentNotification, alerts: list[AlertView], level: FormattingLevel
) -> list[Block]:
    head, tail = list(_head(notification, alerts)), list(_tail(notification))
    if level is FormattingLevel.COMPACT:
        return [*head, section(count_rest(notification.incident) or "No alerts"), *tail]
    budget = BlockBudget.remaining([*head, *tail])
    reserved = _runbook_cost(
        notification, BlockBudget(min(_RUNBOOK_SHARE, budget.characters // 2), budget.blocks)
    )
    shown = render_alerts(notification.incident, alerts, budget.reserve_characters(reserved))
    return [*head, *shown, *tail, *_runbook(notification, BlockBudget.remaining([*head, *shown, *tail]))]


def _runbook_cost(notification: IncidentNotification, budget: BlockBudget) -> int:
    """Return how many characters of *budget* the runbook would use."""
    before = budget.characters
    _runbook(notification, budget)
    return before - budget.characters


def _runbook(notification: IncidentNotification, budget: BlockBudget) -> list[Block]:
    if notification.excerpt is None or notification.incident.is_resolved:
        return []
    return render_runbook(notification.excerpt, budget)


def _head(notification: IncidentNotification, alerts: list[AlertView]) -> Iterator[Block]:
    yield header(plain(headline(notification.incident)))
    said = "\n".join(
        filter(None, (_summary(notification), _labels(notification.incident, alerts, _MAX_LABELS)))
    )
    if said:
        yield section(said)


def _tail(notification: IncidentNotification) -> Iterator[Block]:
    for text in _state_lines(notification):
        yield section(text)
    yield context([_history(notification)])
    if links := render_links(notification, _MAX_LINKS):
        yield section(links)
    if buttons := _buttons(notification):
        yield actions(buttons, BUTTONS)


def _state_lines(notification: IncidentNotification) -> Iterator[str]:
    """Yield the lines on maintenance, fallback, suppression, staleness, escalation, pages and silences."""
    incident, escalation = notification.incident, notification.escalation
    yield from filter(
        None,
        (
            render_maintenance(incident, escalation),
            render_fallback_notice(notification),
            render_suppression(incident),
            render_stale(incident, notification.now),
            render_steps(incident, escalation, is_edit=_is_edit(notification)),
            render_page_failures(incident, escalation),
            render_silences(incident, notification.now),
        ),
    )


def _is_edit(notification: IncidentNotification) -> bool:
    return isinstance(notification.action, Update)


def _buttons(notification: IncidentNotification) -> list[Block]:
    """Return the buttons for the incident's state; if resolved, only those that expire a silence."""
    incident = notification.incident
    if render_moved_notice(notification):  # the buttons are on the message that replaces this one
        return []
    expire = list(expire_buttons(incident, notification.now))
    if incident.is_resolved:
        return expire
    make = partial(button, value=incident.id)
    if incident.is_acknowledged:
        first = make("Un-acknowledge", "unacknowledge")
    else:
        first = make("Acknowledge", "acknowledge", style="primary")
    return [first, make("Resolve", "resolve"), make("Silence", "silence"), *expire]


def _escaped_headline(incident: Incident) -> str:
    return escape(headline(incident))


def _summary(notification: IncidentNotification) -> str:
    heading = find_heading(notification.incident)
    said = escape_text(heading.summary, _MAX_SUMMARY)
    return said + format_more(heading.more) if said else ""


def _labels(incident: Incident, alerts: list[AlertView], limit: int) -> str:
    return render_labels(find_shared_labels(incident, alerts), limit)


def _history(notification: IncidentNotification) -> str:
    """Return the incident's history on one line, with a link to the message before or after this one."""
    said, replaced = (
        history(notification.incident, is_edit=_is_edit(notification)),
        _find_replaced_message(notification),
    )
    if moved := render_moved_notice(notification):
        return f"{said} · {moved}"
    if not replaced:
        return said
    url = _permalink(notification.incident, replaced)
    return f"{said} · goes on from {link(url, 'an earlier message')}"


def _find_replaced_message(notification: IncidentNotification) -> str:
    """Return the reference of an earlier message that this one replaces; empty if there is none."""
    action = notification.action
    if isinstance(action, Post):
        return action.replaces
    root = notification.incident.deliveries.get(MESSAGE, Delivery())
    is_other = isinstance(action, Update) and root.receipt and root.receipt.reference != action.message
    return root.receipt.reference if root.receipt and is_other else ""


def _permalink(incident: Incident, reference: str) -> str:
    for delivery in incident.deliveries.values():
        if delivery.receipt is not None and delivery.receipt.reference == reference:
            return delivery.receipt.link if is_link(delivery.receipt.link) else ""
    return ""


def _plain(notification: IncidentNotification, alerts: list[AlertView]) -> str:
    """Return the message as text without blocks; the alerts use the room that the other lines leave."""
    incident = notification.incident
    head = [f"*{_escaped_headline(incident)}*", _summary(notification), _labels(incident, alerts, 300)]
    tail = [*_state_lines(notification), _history(notification), render_links(notification, 600)]
    room = MAX_TEXT - sum(len(text) + 1 for text in (*head, *tail)) - _ROOM_FOR_COUNT
    shown = list(_fitting_lines(short_lines(alerts, find_shared_labels(incident, alerts)), room))
    return join_lines([*head, *shown, count_rest(incident, alerts[: len(shown)]), *tail], MAX_TEXT)


def _fitting_lines(lines: Iterator[str], room: int) -> Iterator[str]:
    """Yield lines until the first that does not fit into the remaining *room*."""
    for each in lines:
        room -= len(each) + 1
        if room < 0:
            return
        yield each
