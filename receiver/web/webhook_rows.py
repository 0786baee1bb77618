"""When the last webhook of each source came, as the first page says it."""

from __future__ import annotations

from dataclasses import dataclass

from receiver.web.rows import format_moment
from receiver.wiring.parts import Services


@dataclass(frozen=True)
class WebhookRow:
    """The last webhook of one source: when it came (RFC 3339), and how long ago that is, in words."""

    source: str
    at: str
    ago: str


def list_webhooks(services: Services) -> list[WebhookRow]:
    """Return the last webhook of each source, by the names of the sources. Raises StoreError."""
    now = services.clock()
    return [
        WebhookRow(source, format_moment(at), format_age(now - at))
        for source, at in services.last_webhooks.list_all().items()
    ]


def format_age(seconds: float) -> str:
    """Return `40 s ago`, as the page's script says it on."""
    whole = max(0, int(seconds))
    for unit, length, beyond in (("s", 1, 60), ("min", 60, 3600), ("h", 3600, 48 * 3600)):
        if whole < beyond:
            return f"{whole // length} {unit} ago"
    return f"{whole // 86400} d ago"
