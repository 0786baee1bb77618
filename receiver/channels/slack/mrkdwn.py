"""Slack's own markup: how text from strangers gets into it without becoming markup.

Everything from labels, annotations, runbooks and people's names passes here exactly once, at
the edge. Only `& < >` can be escaped in mrkdwn; with them escaped nothing is a mention, a date
or a link any more: https://docs.slack.dev/messaging/formatting-message-text
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from receiver.text import clean_text, find_real_host, is_web_link, one_line, truncate_text

# A link is shown whole or not at all; generator URLs of long queries would eat the message.
MAX_URL = 1500
_HALF_ENTITY = re.compile(r"&[a-z]*$")
_MAX_TIMESTAMP = 253402300799  # the year 9999, the last that datetime can name


def plain(text: str) -> str:
    """Return *text* for places that read no markup; lone surrogates, which are no UTF-8, as `?`."""
    return clean_text(text).encode("utf-8", "replace").decode()


def escape(text: str) -> str:
    """Return *text* so that Slack shows its `& < >` and reads none of it as a command."""
    return plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def cut_escaped(text: str, limit: int) -> str:
    """Return escaped *text* in at most *limit* characters, no entity halved."""
    if len(text) <= limit:
        return text
    return _HALF_ENTITY.sub("", text[: max(0, limit - 1)]).rstrip() + "…" if limit > 0 else ""


def join_lines(lines: Iterable[str], limit: int) -> str:
    """Return the lines that fit in *limit* characters, each whole: half a link is none."""
    fitting: list[str] = []
    for each in filter(None, lines):
        if len(each) + 1 <= limit:
            fitting.append(each)
            limit -= len(each) + 1
    return "\n".join(fitting)


def escape_line(text: str, limit: int) -> str:
    """Return stranger's *text* escaped, on one line, in at most *limit* characters."""
    return cut_escaped(escape(one_line(text[: _source_limit(limit)], limit)), limit)


def escape_text(text: str, limit: int) -> str:
    """Return stranger's *text* escaped with its line ends, blank lines dropped, within *limit*."""
    lines = (" ".join(part.split()) for part in clean_text(text[: _source_limit(limit)]).split("\n"))
    return cut_escaped(escape(truncate_text("\n".join(filter(None, lines)), limit)), limit)


def _source_limit(limit: int) -> int:
    """Return how much of a text to look at for *limit* characters of it, blanks aside."""
    return 8 * limit + 200


def code(text: str, limit: int) -> str:
    """Return stranger's *text* as a code span; a backtick would end it, so it becomes a quote."""
    inner = escape_line(text[: _source_limit(limit)].replace("`", "'"), max(1, limit - 2))
    return f"`{inner}`" if inner else "`(empty)`"


def bold(text: str, limit: int) -> str:
    """Return stranger's *text* in bold, on one line; empty when there is none."""
    inner = escape_line(text, max(1, limit - 2))
    return f"*{inner}*" if inner else ""


def is_link(url: str) -> bool:
    """Tell whether *url* can stand in a message as a link."""
    return len(url) <= MAX_URL and is_web_link(url) and escape(url).isprintable() and clean_text(url) == url


def link(url: str, label: str) -> str:
    """Return a link to *url*; the bare label where *url* is none that can be shown. Where the label reads as
    the address of another host, the real one is said behind it.
    """
    inner = escape_line(label.replace("|", "¦"), 200)
    if not is_link(url):
        return inner
    real = find_real_host(label, url)
    return f"<{escape(url)}|{inner or 'link'}>" + (f" ({escape_line(real, 100)})" if real else "")


def format_timestamp(at: float) -> str:
    """Return the moment as each reader's own zone shows it; in UTC where Slack can't."""
    stamp = min(max(0, int(at)), _MAX_TIMESTAMP)
    fallback = datetime.fromtimestamp(stamp, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"<!date^{stamp}^{{date_short_pretty}} {{time}}|{fallback}>"


def disable_mentions(text: str) -> str:
    """Return *text* so that not even `link_names` finds a name in it: each @ is set apart."""
    return text.replace("@", "@\u200b")
