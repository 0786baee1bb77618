"""Links of runbooks to other pages: resolved against the runbook's address, or to our own pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import lru_cache
from pathlib import PurePosixPath
from urllib.parse import unquote, urljoin

from receiver.runbooks.model import Excerpt, Part

# Our pages give the anchors of a runbook this prefix, so that no heading can take the ID of another element.
ANCHOR_PREFIX = "rb-"
MAX_LINKS = 200
_MAX_HREF = 500
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_WEB = re.compile(r"https?://[^\s/]", re.IGNORECASE)
_INLINE = re.compile(
    r"(!?)\[((?:[^\[\]]|\[[^\[\]]{0,200}\]){0,500})\]\(\s*<?([^\s()<>]{1,500})>?(?:\s+\"[^\"]{0,200}\")?\s*\)"
)
_HREF = re.compile(
    r"\]\(\s*<?([^\s()<>]{1,500})|^ {0,3}\[[^\[\]\n]{1,200}\]:[ \t]*<?([^\s<>]{1,500})", re.MULTILINE
)
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+([^\n]*)", re.MULTILINE)
_IMAGES = re.compile(
    r"(?:\[!\[(?P<badge>[^\[\]]{0,200})\]\([^()]{0,1000}\)\]\([^()]{0,1000}\)|!\[(?P<image>[^\[\]]{0,200})\]\([^()]{0,1000}\))"
)


def resolve_link(
    href: str, base_url: str, find_page: Callable[[str], str], anchors: Collection[str] = ()
) -> str:
    """Return the address of the relative *href* in a runbook at *base_url*; empty where it leads nowhere.

    Without a *base_url*, a link to the file of another runbook leads to our page of it: *find_page* returns
    that page by a name, of the runbook itself by an empty name, and an empty string where there is none. The
    anchor of a heading that is none of its own *anchors* may be another runbook of the same file.
    """
    if _SCHEME.match(href) or len(href) > _MAX_HREF:
        return ""
    if base_url:
        try:
            url = urljoin(base_url, href)
        except ValueError:
            return ""
        return url if _WEB.match(url) else ""
    path, _, fragment = href.partition("#")
    if not path and fragment.lower() not in anchors:
        return find_page(unquote(fragment))
    page = find_page(PurePosixPath(unquote(path)).stem) if not path.startswith("//") else ""
    return f"{page}#{ANCHOR_PREFIX}{fragment.lower()}" if page and fragment else page


@lru_cache(maxsize=64)
def list_anchors(markdown: str) -> frozenset[str]:
    """Return the anchors of the headings in a runbook."""
    return frozenset(make_anchor(title) for title in _HEADING.findall(markdown))


def make_anchor(title: str) -> str:
    """Return the anchor of a heading, as GitHub makes it: `## API Alerts` is `api-alerts`."""
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


def list_relative_links(markdown: str) -> tuple[str, ...]:
    """Return the relative links in a runbook, each once, `MAX_LINKS` at most."""
    found: dict[str, None] = {}
    for inline, defined in _HREF.findall(markdown):
        href = inline or defined
        if not _SCHEME.match(href):
            found[href] = None
        if len(found) >= MAX_LINKS:
            break
    return tuple(found)


def resolve_excerpt(excerpt: Excerpt, resolve: Callable[[str], str]) -> Excerpt:
    """Return *excerpt* with its relative links resolved; of a link that leads nowhere the words stay."""
    sections = tuple(
        replace(section, parts=tuple(_resolve_part(part, resolve) for part in section.parts))
        for section in excerpt.sections
    )
    return replace(excerpt, sections=sections)


def describe_images(text: str) -> str:
    """Return a paragraph of images alone as `(image: …)`, and without its badges; another as it is."""
    if "![" not in text or _IMAGES.sub("", text).strip():
        return text
    names = [found["image"] for found in _IMAGES.finditer(text) if found["badge"] is None]
    has_badges = any(found["badge"] is not None for found in _IMAGES.finditer(text))
    return "" if has_badges else " ".join(f"(image: {name or 'see the runbook'})" for name in names)


def _resolve_part(part: Part, resolve: Callable[[str], str]) -> Part:
    if part.kind in ("code", "table") or "](" not in part.text:
        return part

    def render(found: re.Match[str]) -> str:
        mark, words, href = found.groups()
        if _SCHEME.match(href):
            return found[0]
        url = "" if mark else resolve(href)
        return f"[{words}]({url})" if url else words

    return replace(part, text=_INLINE.sub(render, part.text))
