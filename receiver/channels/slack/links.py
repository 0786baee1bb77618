"""Where a reader can go on, in one line of links."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.channels.slack.mrkdwn import is_link, link
from receiver.engine.notification import Notification

_BETWEEN = " · "


def render_links(notification: Notification, limit: int) -> str:
    """Return the links as mrkdwn within *limit*, most useful first; empty when there are none."""
    said = ""
    for label, url in _links(notification):
        if not is_link(url):
            continue
        shown = f"{_BETWEEN if said else ''}{link(url, label)}"
        if len(said) + len(shown) <= limit:
            said += shown
    return f"🔗 {said}" if said else ""


def _links(notification: Notification) -> Iterator[tuple[str, str]]:
    links, excerpt = notification.links, notification.excerpt
    yield "Incident", links.incident
    if excerpt is not None:
        yield "Runbook", excerpt.url
    if not notification.incident.is_resolved:
        yield "Silence", links.silence
    yield "Prometheus", links.prometheus
    yield from links.more
