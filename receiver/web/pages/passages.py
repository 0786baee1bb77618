"""Rendering the text of annotations as HTML: prose with its addresses as links, and code fences."""

from __future__ import annotations

from markupsafe import Markup

from receiver.links import find_real_host, split_links
from receiver.model.alert_links import find_annotation_link, find_label_link
from receiver.passages import split_code, split_passages
from receiver.text import clean_text, truncate_text

_MAX_SHOWN = 300  # characters of an address
_TEXT = Markup('<span class="said">{}</span>')
_LINK = Markup('<a href="{}" rel="noreferrer">{}</a>{}')


def clean_shown(shown: object) -> object:
    """Return what a template shows without invisible characters that change how others are displayed."""
    return clean_text(shown) if isinstance(shown, str) and not isinstance(shown, Markup) else shown


def render_annotation(value: str, key: str) -> Markup:
    """Return the annotation *key*: the address where it is one as a whole, else its text."""
    url = find_annotation_link(key, value)
    return _render_link(truncate_text(url, _MAX_SHOWN), url) if url else render_text(value)


def render_label(value: str, key: str) -> Markup:
    """Return the label *key* as one text, or the address where it is that of a runbook."""
    url = find_label_link(key, value)
    return (
        _render_link(truncate_text(url, _MAX_SHOWN), url)
        if url
        else Markup('<span class="said">{}</span>').format(clean_text(value))
    )


def render_text(text: str) -> Markup:
    """Return *text* with its line ends; web addresses in prose are links, as themselves."""
    return Markup().join(
        Markup('<pre tabindex="0">{}</pre>').format(passage.text)
        if passage.is_fence
        else _TEXT.format(_render_prose(passage.text))
        for passage in split_passages(text)
    )


def _render_prose(text: str) -> Markup:
    return Markup("\n").join(
        Markup().join(
            Markup("<code>{}</code>").format(piece) if is_code else _render_words(piece)
            for piece, is_code in split_code(line)
        )
        for line in text.split("\n")
    )


def _render_words(text: str) -> Markup:
    return Markup().join(
        _render_link(shown, url) if url else Markup("{}").format(shown) for shown, url in split_links(text)
    )


def _render_link(shown: str, url: str) -> Markup:
    real = find_real_host(shown, url)
    return _LINK.format(url, shown, f" ({real})" if real else "")
