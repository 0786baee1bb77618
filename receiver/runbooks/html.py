"""A runbook as HTML for the web page: all of its Markdown, and nothing a stranger could plant.

Raw HTML is shown as text, links lead to http, https, mailto or a heading of the page itself,
and pictures are only named, since loading one would tell somebody who reads the page.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping, Sequence
from functools import lru_cache
from html import escape
from itertools import pairwise
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

from receiver.runbooks.markdown import blank_front_matter
from receiver.text import clean_text, find_real_host

# A page longer than this is shown from its beginning; writing its inline markup takes seconds.
MAX_PAGE_CHARS = 300_000
# Anchors get a prefix, so that no heading can take the name of a part of the page around it.
ANCHOR_PREFIX = "rb-"
_WEB = re.compile(r"https?://|mailto:", re.IGNORECASE)


@lru_cache(maxsize=16)
def render_page(source_markdown: str, top: int = 0) -> str:
    """Return safe HTML (a run of blocks, no page around it) of *source_markdown*. Never raises.

    With *top*, the highest heading is of that level and none is left out below it, as a page that has
    headings of its own around it needs. What was rendered is kept, until the file's text is another one.
    """
    text = blank_front_matter(clean_text(source_markdown))
    if len(text) > MAX_PAGE_CHARS:
        text = text[:MAX_PAGE_CHARS].rpartition("\n")[0] + "\n\n…\n"
    tokens = _PARSER.parse(text)
    _name_headings(tokens)
    if top:
        _level_headings(tokens, top)
    for token in tokens:
        if token.children:
            token.children = _filter_links(token.children)
    html: str = _PARSER.renderer.render(tokens, _PARSER.options, {})
    return html


def _build_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("image", _render_image)
    parser.render("| *a* |\n|---|\n")  # compiles the rules before threads meet here
    return parser


def _render_image(
    renderer: RendererHTML,
    tokens: Sequence[Token],
    index: int,
    options: OptionsDict,
    env: MutableMapping[str, Any],
) -> str:
    words = renderer.renderInlineAsText(tokens[index].children, options, env)
    return f'<span class="image">[{escape(words or "image")}]</span>'


def _filter_links(tokens: Sequence[Token]) -> list[Token]:
    """Return *tokens* with those links that lead somewhere known; of the others only the words remain. Behind
    words that read as another host's address stands the real host.
    """
    opened: Token | None = None  # there is no link in a link
    words, filtered = "", []
    for token in tokens:
        filtered.append(token)
        if token.type == "link_open":
            opened, words = token, ""
            token.attrs = _link_attributes(str(token.attrs.get("href", "")))
            if not token.attrs:
                token.tag = "span"
        elif token.type == "link_close" and opened is not None:
            token.tag = opened.tag
            real = find_real_host(words, str(opened.attrs.get("href", "")))
            if real:
                filtered.append(Token("text", "", 0, content=f" ({real})"))
            opened = None
        elif opened is not None:
            words += token.content
    return filtered


def _link_attributes(href: str) -> dict[str, str | int | float]:
    if href.startswith("#"):
        return {"href": "#" + ANCHOR_PREFIX + href[1:].lower()}
    if _WEB.match(href):
        return {"href": href, "rel": "noopener noreferrer nofollow"}
    return {}


def _name_headings(tokens: Sequence[Token]) -> None:
    """Give headings the anchors a table of contents expects: `## API Alerts` is `#api-alerts`."""
    seen: dict[str, int] = {}
    for heading, inline in pairwise(tokens):
        if heading.type != "heading_open":
            continue
        slug = re.sub(r"[^\w\- ]", "", inline.content.lower()).strip().replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        heading.attrSet("id", ANCHOR_PREFIX + (f"{slug}-{count}" if count else slug))


def _level_headings(tokens: Sequence[Token], top: int) -> None:
    """Let headings begin at level *top* and go down by one at a time."""
    above: list[int] = []
    for opening, closing in zip(
        (token for token in tokens if token.type == "heading_open"),
        (token for token in tokens if token.type == "heading_close"),
        strict=True,
    ):
        level = int(opening.tag[1])
        above = [each for each in above if each < level]
        opening.tag = closing.tag = f"h{min(6, top + len(above))}"
        above.append(level)


_PARSER = _build_parser()
