"""Rendering a runbook as safe HTML for the web page.

The HTML in a runbook becomes Markdown or is shown as text (`dialects`). Links may lead to http, https,
mailto, our own pages or a heading of the page itself, and images are replaced by their alt text: loading one
would reveal the reader to another server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping, Sequence
from functools import lru_cache
from html import escape
from itertools import pairwise
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

from receiver.links import find_real_host
from receiver.runbooks.dialects import build_parser
from receiver.runbooks.markdown import blank_front_matter
from receiver.runbooks.relative_links import ANCHOR_PREFIX, make_anchor
from receiver.text import clean_text

# Longer pages are truncated, as rendering their inline markup takes seconds.
MAX_PAGE_CHARS = 300_000
_WEB = re.compile(r"https?://|mailto:", re.IGNORECASE)


@lru_cache(maxsize=16)
def render_page(source_markdown: str, top: int = 0, links: tuple[tuple[str, str], ...] = ()) -> str:
    """Return *source_markdown* as safe HTML (block elements without a page around them). Never raises.

    With *top*, the highest heading has that level and levels below it have no gaps, to fit under the headings
    of the page around it. *links* are the addresses of relative links; others become plain
    text. The result is cached.
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
            token.children = _filter_links(token.children, dict(links))
    html: str = _PARSER.renderer.render(tokens, _PARSER.options, {})
    return html


def _build_parser() -> MarkdownIt:
    parser = build_parser(has_inline=True)
    parser.add_render_rule("image", _render_image)
    parser.add_render_rule("html_inline", _render_tag)
    parser.add_render_rule("html_block", _render_tag)
    parser.add_render_rule("callout_open", _open_callout)
    return parser


def _open_callout(
    _renderer: RendererHTML,
    tokens: Sequence[Token],
    index: int,
    _options: OptionsDict,
    _env: MutableMapping[str, Any],
) -> str:
    meta = tokens[index].meta
    title = " ".join(filter(None, (meta["label"].replace("**", ""), meta["title"] and f"– {meta['title']}")))
    classes = "callout warning" if meta["is_warning"] else "callout"
    return f'<blockquote class="{classes}">\n<p><strong>{escape(title)}</strong></p>\n'


def _render_tag(
    _renderer: RendererHTML,
    tokens: Sequence[Token],
    index: int,
    _options: OptionsDict,
    _env: MutableMapping[str, Any],
) -> str:
    return escape(tokens[index].content)


def _render_image(
    renderer: RendererHTML,
    tokens: Sequence[Token],
    index: int,
    options: OptionsDict,
    env: MutableMapping[str, Any],
) -> str:
    words = renderer.renderInlineAsText(tokens[index].children, options, env)
    return f'<span class="image">[{escape(words or "image")}]</span>'


def _filter_links(tokens: Sequence[Token], links: Mapping[str, str]) -> list[Token]:
    """Return *tokens* with allowed links only; other links become plain text.

    The real host is added after a link text that looks like the address of another host.
    """
    opened: Token | None = None  # links are never nested
    words, filtered = "", []
    for token in tokens:
        filtered.append(token)
        if token.type == "link_open":
            opened, words = token, ""
            href = str(token.attrs.get("href", ""))
            token.attrs = _link_attributes(links.get(href, href), is_ours=href in links)
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


def _link_attributes(href: str, *, is_ours: bool) -> dict[str, str | int | float]:
    if href.startswith("#"):
        return {"href": "#" + ANCHOR_PREFIX + href[1:].lower()}
    if is_ours and not _WEB.match(href):
        return {"href": href}
    if _WEB.match(href):
        return {"href": href, "rel": "noopener noreferrer nofollow"}
    return {}


def _name_headings(tokens: Sequence[Token]) -> None:
    """Give headings the anchors that tables of contents link to: `## API Alerts` is `#api-alerts`."""
    seen: dict[str, int] = {}
    for heading, inline in pairwise(tokens):
        if heading.type != "heading_open":
            continue
        slug = make_anchor(inline.content)
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        heading.attrSet("id", ANCHOR_PREFIX + (f"{slug}-{count}" if count else slug))


def _level_headings(tokens: Sequence[Token], top: int) -> None:
    """Renumber the heading levels: the highest is *top*, each level below it one more, without gaps."""
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
