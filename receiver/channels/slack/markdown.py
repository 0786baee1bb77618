"""Markdown's inline markup in Slack's: the one keeps `**bold**`, the other wants `*bold*`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from receiver.channels.slack.mrkdwn import code, escape, escape_line, is_link, link

# A sentence longer than this is not read in a chat; and parsing is not for free.
MAX_SOURCE = 6000
_PARSER: Final = MarkdownIt("commonmark").enable("strikethrough")
_MARKS = {"strong": "*", "em": "_", "s": "~"}


def render_inline(text: str) -> str:
    """Return a paragraph's or item's Markdown as mrkdwn: bold, italics, code spans and links.

    Links that are no web addresses keep their words. Everything else is shown as written.
    """
    tokens = _PARSER.parseInline(text[:MAX_SOURCE])
    return "".join(_pieces(tokens[0].children or ())).strip() if tokens else ""


def _pieces(tokens: Sequence[Token]) -> Iterator[str]:
    depth = dict.fromkeys(_MARKS, 0)
    label: list[str] | None = None
    url = ""
    for token in tokens:
        kind, _, edge = token.type.rpartition("_")
        if token.type == "link_open":
            label, url = [], str(token.attrGet("href") or "")
        elif token.type == "link_close":
            yield _link(url, "".join(label or ()))
            label = None
        elif label is not None:
            label.append(token.content or " ")
        elif kind in _MARKS:
            yield from _mark(kind, edge, depth)
        else:
            yield _piece(token)


def _mark(kind: str, edge: str, depth: dict[str, int]) -> Iterator[str]:
    """Yield the mark where its outermost pair opens or closes: Slack knows no bold in bold."""
    depth[kind] += 1 if edge == "open" else -1
    if depth[kind] == (1 if edge == "open" else 0):
        yield _MARKS[kind]


def _piece(token: Token) -> str:
    if token.type == "code_inline":
        return code(token.content, MAX_SOURCE)
    if token.type == "softbreak":
        return " "
    if token.type == "hardbreak":
        return "\n"
    if token.type == "image":
        return _link(str(token.attrGet("src") or ""), token.content or "image")
    if token.type == "html_inline":
        return _html(token.content)
    return escape(token.content)


def _link(url: str, label: str) -> str:
    return link(url, label) if is_link(url) else escape_line(label, 1000)


def _html(tag: str) -> str:
    """A line break is one, a comment is nothing; `<node>` is likely meant as written."""
    if tag.lower().replace(" ", "").rstrip("/>") == "<br":
        return "\n"
    return "" if tag.startswith("<!--") else escape(tag)
