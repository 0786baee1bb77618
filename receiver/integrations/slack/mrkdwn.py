"""Slack's mrkdwn: escaping untrusted text, links, timestamps, mentions, and Markdown converted to mrkdwn.

Every label, annotation, runbook and user name is escaped here exactly once, when the message is rendered.
mrkdwn can escape only `& < >`; escaped text contains no mention, date or link:
https://docs.slack.dev/messaging/formatting-message-text
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from receiver.links import find_real_host, parse_link, split_links
from receiver.model.incident import OnCallPerson
from receiver.passages import FENCE, Passage, balance_backticks, cut_passages, split_code, split_passages
from receiver.text import cache_short, clean_text, one_line

# Links are not truncated but left out; generator URLs of long queries would use up the message.
MAX_URL = 1500
# The message of an incident, its replies and its edits show the same texts. A label may have a megabyte.
_CACHED = 512
_cache = cache_short(_CACHED, 1000)
_HALF_ENTITY = re.compile(r"&[a-z]*$")
_MAX_TIMESTAMP = 253402300799  # the year 9999, the last that datetime supports


def plain(text: str) -> str:
    """Return *text* for plain_text fields; lone surrogates, which UTF-8 can't encode, become `?`."""
    cleaned = clean_text(text)
    return cleaned if cleaned.isascii() else cleaned.encode("utf-8", "replace").decode()


def escape(text: str) -> str:
    """Return *text* with `& < >` escaped, so that Slack shows it literally."""
    return plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def cut_escaped(text: str, limit: int) -> str:
    """Return escaped *text* truncated to *limit* characters, without splitting an entity."""
    if len(text) <= limit:
        return text
    return _HALF_ENTITY.sub("", text[: max(0, limit - 1)]).rstrip() + "…" if limit > 0 else ""


def join_lines(lines: Iterable[str], limit: int) -> str:
    """Return the lines that fit into *limit* characters, each complete: a truncated link does not work."""
    fitting: list[str] = []
    for each in filter(None, lines):
        if len(each) + 1 <= limit:
            fitting.append(each)
            limit -= len(each) + 1
    return "\n".join(fitting)


@_cache
def escape_line(text: str, limit: int) -> str:
    """Return untrusted *text* escaped, on one line, in at most *limit* characters.

    A backtick without a partner is replaced: it would turn the rest of the message into code.
    """
    return balance_backticks(cut_escaped(escape(one_line(text[: _source_limit(limit)], limit)), limit))


def take_fitting(lines: Iterable[str], room: int) -> list[str]:
    """Return the first lines, up to the first that does not fit into the remaining *room* of characters."""
    fitting: list[str] = []
    for each in lines:
        room -= len(each) + 1
        if room < 0:
            break
        fitting.append(each)
    return fitting


def join_links(links: Iterable[tuple[str, str]], limit: int, instead: str = "") -> str:
    """Return *links* (name and URL) on a line of at most *limit* characters, each complete.

    A URL that is too long is replaced by *instead*, the page that has it.
    """
    text = ""
    for name, url in links:
        for address in (url, instead) if parse_link(url, is_address=True) else ():
            shown = f"{' · ' if text else ''}{link(address, name)}"
            if is_link(address) and len(text) + len(shown) <= limit:
                text += shown
                break
    return text


def render_passages(text: str, limit: int) -> str:
    """Return untrusted *text* escaped, in at most *limit* characters: prose without blank lines, code fences
    with their blanks, complete lines and both marks. Web addresses in prose are links, as themselves.
    """
    passages = split_passages(text[: _source_limit(limit)])
    room = limit
    while True:
        shown = "\n".join(map(_render_passage, cut_passages(passages, room)))
        if len(shown) <= limit:
            return shown
        room = min(room - 1, room * limit // len(shown))  # the escapes and links take more room


def _render_passage(passage: Passage) -> str:
    if passage.is_fence:
        return render_code_block(passage.text)
    return "\n".join(filter(None, map(_render_prose, passage.text.split("\n"))))


def _render_prose(line: str) -> str:
    line = " ".join(line.split())
    return "".join(
        f"`{escape(piece)}`" if is_code else "".join(map(_render_piece, split_links(piece)))
        for piece, is_code in split_code(line)
    )


def _render_piece(piece: tuple[str, str]) -> str:
    shown, url = piece
    if not url or not is_link(url):
        return escape(shown)
    return f"<{escape(url)}>" if shown == url and not find_real_host(url, url) else link(url, shown)


def render_code_block(text: str) -> str:
    """Return untrusted *text* as a code block; three backticks inside would end it and are replaced."""
    inner = escape(text.replace(FENCE, "'''")).strip("\n")
    return f"{FENCE}\n{inner}\n{FENCE}" if inner.strip() else ""


def _source_limit(limit: int) -> int:
    """Return how many characters to read for *limit* characters of output; allows for white space."""
    return 8 * limit + 200


def code(text: str, limit: int) -> str:
    """Return untrusted *text* as a code span; a backtick would end it and is replaced by a quote."""
    inner = escape_line(text[: _source_limit(limit)].replace("`", "'"), max(1, limit - 2))
    return f"`{inner}`" if inner else "`(empty)`"


def bold(text: str, limit: int) -> str:
    """Return untrusted *text* in bold, on one line; empty if *text* is."""
    inner = escape_line(text, max(1, limit - 2))
    return f"*{inner}*" if inner else ""


@_cache
def is_link(url: str) -> bool:
    """Return whether *url* can be a link in a message: a web address that is not too long."""
    return 0 < len(escape(parse_link(url, is_address=True))) <= MAX_URL


@_cache
def link(url: str, label: str) -> str:
    """Return a link to *url*, or only the label if `is_link` is false. If the label looks like the address of
    another host, the real host follows the link.
    """
    inner = escape_line(label.replace("|", "¦"), 200)
    if not is_link(url):
        return inner
    address = parse_link(url, is_address=True)
    real = find_real_host(label, address)
    return f"<{escape(address)}|{inner or 'link'}>" + (f" ({escape_line(real, 100)})" if real else "")


def format_timestamp(at: float) -> str:
    """Return *at* as a date that Slack shows in each reader's time zone; the fallback text is in UTC."""
    return _format_seconds(int(max(0.0, min(_MAX_TIMESTAMP, at))))


@lru_cache(maxsize=_CACHED)
def _format_seconds(seconds: int) -> str:
    fallback = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"<!date^{seconds}^{{date_short_pretty}} {{time}}|{fallback}>"


def disable_mentions(text: str) -> str:
    """Return *text* with a zero-width space after each @, so that `link_names` finds no name in it."""
    return text.replace("@", "@\u200b")


MAX_BY = 40
_USER = re.compile(r"[UW](?=[A-Z]*\d)[A-Z0-9]{3,20}")


def is_user(name: str) -> bool:
    """Return whether *name* is the ID of a Slack user."""
    return _USER.fullmatch(name) is not None


def render_person(name: str, slack_id: str = "", *, is_edit: bool = False) -> str:
    """Return a person's name, or in an edit a mention, which links to the profile.

    A mention in an edit sends no notification; in a new message it would, so there the name is used.
    """
    return f"<@{slack_id}>" if is_edit and is_user(slack_id) else escape_line(name, MAX_BY)


_MAX_ON_CALL = 5
_USERGROUP = re.compile(r"S(?=[A-Z]*\d)[A-Z0-9]{3,20}")


def mention(address: str) -> str:
    """Return the mention of a Slack address: a name as @name, an ID as Slack's mention token."""
    name = address.strip("<@!> ").removeprefix("subteam^").lstrip("@")
    if is_user(name):
        return f"<@{name}>"
    if _USERGROUP.fullmatch(name):
        return f"<!subteam^{name}>"
    return f"@{escape_line(name, 80)}" if name else ""


def mention_on_call(people: tuple[OnCallPerson, ...]) -> str:
    """Return the people on call: mentioned if their Slack ID is known, else by name."""
    names = [
        f"<@{person.slack_id}>"
        if is_user(person.slack_id)
        else disable_mentions(escape_line(person.name, MAX_BY))
        for person in people[:_MAX_ON_CALL]
    ]
    as_of = max((person.as_of for person in people), default=0.0)
    return ", ".join(names) + (f" (on call as of {format_timestamp(as_of)})" if as_of else "")


# More text is not readable in a message, and bounds the time for parsing.
MAX_SOURCE = 6000
_PARSER: Final = MarkdownIt("commonmark").enable("strikethrough")
_MARKS = {"strong": "*", "em": "_", "s": "~"}


@_cache
def render_inline(text: str) -> str:
    """Return a paragraph's or item's Markdown as mrkdwn: bold, italics, code spans and links.

    Of a link without a web address only the label remains. Everything else is shown as written.
    """
    tokens = _PARSER.parseInline(text[:MAX_SOURCE])
    return "".join(_render_tokens(tokens[0].children or ())).strip() if tokens else ""


def _render_tokens(tokens: Sequence[Token]) -> Iterator[str]:
    depth = dict.fromkeys(_MARKS, 0)
    label: list[str] | None = None
    url = ""
    for token in tokens:
        kind, _, edge = token.type.rpartition("_")
        if token.type == "link_open":
            label, url = [], str(token.attrGet("href") or "")
        elif token.type == "link_close":
            yield _render_link(url, "".join(label or ()))
            label = None
        elif label is not None:
            label.append(token.content or " ")
        elif kind in _MARKS:
            yield from _render_mark(kind, edge, depth)
        else:
            yield _render_token(token)


def _render_mark(kind: str, edge: str, depth: dict[str, int]) -> Iterator[str]:
    """Yield the marker only for the outermost pair: mrkdwn can't nest bold in bold."""
    depth[kind] += 1 if edge == "open" else -1
    if depth[kind] == (1 if edge == "open" else 0):
        yield _MARKS[kind]


def _render_token(token: Token) -> str:
    if token.type == "code_inline":
        return code(token.content, MAX_SOURCE)
    if token.type == "softbreak":
        return " "
    if token.type == "hardbreak":
        return "\n"
    if token.type == "image":
        return _render_link(str(token.attrGet("src") or ""), token.content or "image")
    if token.type == "html_inline":
        return _render_html(token.content)
    return escape(token.content)


def _render_link(url: str, label: str) -> str:
    return link(url, label) if is_link(url) else escape_line(label, 1000)


def _render_html(tag: str) -> str:
    """Return an HTML tag as mrkdwn: `<br>` is a line end, comments are dropped, `<node>` stays as written."""
    if tag.lower().replace(" ", "").rstrip("/>") == "<br":
        return "\n"
    return "" if tag.startswith("<!--") else escape(tag)
