"""The excerpt of a runbook in a message; list items and code blocks are shown complete or left out."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.integrations.slack.blocks import MAX_SECTION, Block, BlockBudget, pack_sections, section
from receiver.integrations.slack.mrkdwn import bold, escape, escape_line, is_link, link, render_inline
from receiver.runbooks.model import Excerpt, Part, Section

_BULLETS = ("•", "◦", "▪")
_INDENT = "    "
_MAX_DEPTH = 6
_FENCE = "```"
_TOO_LONG = "… _(too long to show here)_"


def render_runbook(excerpt: Excerpt, budget: BlockBudget) -> list[Block]:
    """Return the excerpt as sections within *budget*; none if not even the first part fits."""
    pieces = list(_pieces(excerpt))
    if not pieces:
        return []
    rest = section(_rest(excerpt))
    if not budget.try_add_block(rest):
        return []
    head = f"📖 {bold('Runbook: ' + excerpt.name, 200)}"
    shown, left_out = pack_sections([f"{head}\n{pieces[0]}", *pieces[1:]], budget)
    is_cut = excerpt.is_cut or left_out or any(piece.endswith(_TOO_LONG) for piece in pieces)
    return [*shown, rest] if shown and is_cut else shown


def _rest(excerpt: Excerpt) -> str:
    if is_link(excerpt.url):
        return f"… {link(excerpt.url, 'the rest of the runbook')}"
    return "… the runbook goes on"


def _pieces(excerpt: Excerpt) -> Iterator[str]:
    """Yield the parts as mrkdwn; the title of a section is joined to its first part."""
    for sector in excerpt.sections:
        title = bold(sector.title, 200)
        for piece in _parts(sector):
            yield f"{title}\n{piece}" if title else piece
            title = ""


def _parts(sector: Section) -> Iterator[str]:
    for part in sector.parts:
        piece = _part(part)
        if len(piece) > MAX_SECTION - 450:  # leaves room for the titles that may be joined to it
            yield _indent(part) + _TOO_LONG
        elif piece:
            yield piece


def _part(part: Part) -> str:
    if part.kind in ("code", "table"):
        return _fence(part.text)
    text = render_inline(part.text)
    if not text:
        return ""
    inner = _indent(part)
    if not part.marker:
        return _indented(text, inner)
    return f"{inner}{_marker(part)} " + _indented(text, inner + "  ").lstrip()


def _fence(text: str) -> str:
    """Return *text* as a code block; three backticks inside would end it and are replaced."""
    inner = escape(text.replace(_FENCE, "'''")).strip("\n")
    return f"{_FENCE}\n{inner}\n{_FENCE}" if inner.strip() else ""


def _marker(part: Part) -> str:
    if part.marker in ("-", "*", "+"):
        return _BULLETS[min(max(part.depth, 1), len(_BULLETS)) - 1]
    return escape_line(part.marker, 10)


def _indent(part: Part) -> str:
    """Return the indent: a list item aligns with its parent's text, its other parts are one level deeper."""
    depth = part.depth - 1 if part.marker else part.depth
    return _INDENT * min(max(0, depth), _MAX_DEPTH)


def _indented(text: str, indent: str) -> str:
    return "\n".join(f"{indent}{each}" for each in text.split("\n"))
