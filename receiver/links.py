"""Which text is a web address, and what a link is called: one rule for messages, pages, the API and the CLI.

A link is http or https. Its name comes from the key of the annotation or from the address itself, never from
words of the sender.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from ipaddress import IPv6Address
from unicodedata import normalize
from urllib.parse import quote, urlsplit

import idna

from receiver.text import cache_short, clean_text, drop_joiners, one_line, replace_surrogates

MAX_TEXT = 64 * 1024  # longer texts are no address
MAX_NAME = 40
_MAX_HOST = 253
_MAX_PORT = 65535

# The forms in which people write an address.
_WRAPPINGS = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        r"!?\[[^\]]*\]\((?P<markdown>[^()]*(?:\([^()]*\)[^()]*)*)\)",  # Markdown: [words](url "title")
        r"<(?P<url>[^<>|]+)(?:\|[^<>]*)?>",  # Slack: <url|words>, and <url>
        r"\[(?:[^|\]]*\|)?(?P<url>https?://[^|\]]*)(?:\|[^\]]*)?\]",  # Jira: [words|url]
        r"<a\s[^<>]*?href\s*=\s*(?P<quote>[\"']?)(?P<url>[^\"'<>]*)(?P=quote)[^<>]*>.*</a>",
        r"(?P<quote>[\"'`])(?P<url>[^\"'`]*)(?P=quote)",
        r"\((?P<url>[^()]*)\)",
        r"\{(?P<url>[^{}]*)\}",
        r"[*_]{1,3}(?P<url>https?://[^*]*)\*{0,3}",  # Markdown's bold and italics
        r"[\u201c\u201e\u00ab](?P<url>[^\u201c-\u201e\u00ab\u00bb]*)[\u201c\u201d\u00bb]",
    )
)
_TITLE = re.compile(r"\s[\"'(]")
_WEB = re.compile(r"https?://", re.IGNORECASE)
# A rule's `https://{{ … }}/` where the value has a scheme, too: the last one counts.
_DOUBLED = re.compile(r"(?:https?://)+(?=https?://)", re.IGNORECASE)
_AUTHORITY = re.compile(r"[^/?#\\]*")
_BARE = re.compile(
    r"(?:www\.[\w.-]+|(?:[\w-]+\.)+[^\W\d_]{2,}|localhost|\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]+\])(?P<port>:\d{1,5})?"
    r"(?=[/?#]|$)",
    re.IGNORECASE,
)
_BARE_WITH_PORT = re.compile(r"(?!(?:callto|data|sip|sms|tel):)[a-z][\w-]*:\d{2,5}(?=[/?#]|$)", re.IGNORECASE)
# `DiskFull.md` is a file, although .md, .sh and .py are domains of countries.
_FILE = re.compile(
    r"[^/?#]*\.(?:adoc|html?|json|markdown|md|pdf|py|rst|sh|txt|ya?ml)(?=[?#]|$)", re.IGNORECASE
)
_IMAGE = re.compile(r"[^?#]*(?::[\w.-]+|@sha256:\w+)", re.ASCII)  # registry.example/team/image:1.2
_HOST_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE | re.ASCII)
_LONE_PERCENT = re.compile(r"%(?![0-9a-f]{2})", re.IGNORECASE)
# What https://www.rfc-editor.org/rfc/rfc3986#appendix-A allows behind the host, except for the quote, which
# would end an attribute of HTML.
_SAFE = "%/:?#@!$&()*+,;=~"
_ENDINGS = ".,;:!?'\"*_~"
_MAX_ENDINGS = 50
_PAIRS = {")": "(", "]": "[", "}": "{", ">": "<"}


@cache_short(1024, 2000)
def parse_link(text: str, *, is_address: bool = False) -> str:
    """Return the one web address that *text* is, as a link; empty where it is none.

    What is unsafe in an address is percent-encoded; an address in a Markdown or Slack link, in quotes or
    brackets is taken out; `https://` is added where the text is evidently a host and a path. With
    *is_address*, the key says that the text is an address: blanks in it are encoded, a host needs no path,
    and of several lines the first counts.
    """
    if len(text) > MAX_TEXT:
        return ""
    text = _unwrap(_strip_ending(_unwrap(clean_text(text).strip())))
    if is_address:
        text = _take_first(text)
    elif len(text.split()) != 1:
        return ""
    text = _strip_ending(text)
    if (doubled := _DOUBLED.match(text)) is not None:
        text = text[doubled.end() :]
    web = _WEB.match(text)
    if web is None:
        text = "https://" + text.removeprefix("//") if _is_bare(text, is_address=is_address) else ""
        web = _WEB.match(text)
    if web is None:
        return ""
    authority = _AUTHORITY.match(text, web.end())
    host = _parse_authority(authority[0]) if authority is not None else ""
    end = authority.end() if authority is not None else 0
    if not host or text.startswith("\\", end):  # a browser reads \ as /, other programs as part of the host
        return ""
    return web[0].lower() + host + _encode(text[end:])


def is_web_link(url: str) -> bool:
    """Return whether *url* is a link as it stands, without anything to repair."""
    return bool(url) and parse_link(url).lower() == url.lower()


def _unwrap(text: str) -> str:
    for _ in range(3):  # `<https://…>` in quotes, in brackets
        found = next(filter(None, (each.fullmatch(text) for each in _WRAPPINGS)), None)
        if found is None:
            return text
        groups = found.groupdict()
        inner = _TITLE.split(groups.get("markdown") or groups.get("url") or "")[0].strip(" \t\n<>")
        text = unescape(inner) if text[:2].lower() == "<a" else inner
    return text


def _take_first(text: str) -> str:
    """Return the first line of *text*, up to a second address."""
    line = text.partition("\n")[0].strip()
    second = re.search(r"[\s,;]+(?:and\s+)?https?://", line, re.IGNORECASE)
    return line[: second.start()] if second is not None else line


def _strip_ending(text: str) -> str:
    """Return *text* without the punctuation of a sentence at its end, and brackets closed but not opened."""
    for _ in range(_MAX_ENDINGS):
        last = text[-1:]
        opening = _PAIRS.get(last)
        is_unbalanced = opening is not None and text.count(opening) < text.count(last)
        if not last or (last not in _ENDINGS and not is_unbalanced):
            break
        text = text[:-1]
    return text


def _is_bare(text: str, *, is_address: bool) -> bool:
    """Return whether *text* is evidently an address without its scheme: `wiki.example.org/disk`."""
    is_relative = text.startswith("//")
    text = text.removeprefix("//")
    host = _BARE.match(text)
    if host is None:
        return is_address and _BARE_WITH_PORT.match(text) is not None
    if is_relative or is_address or host[0].lower().startswith("www."):
        return is_relative or _FILE.match(text) is None
    is_network = host[0].replace(".", "").isdigit()  # 10.0.0.0/8
    return text.startswith("/", host.end()) and not is_network and _IMAGE.fullmatch(text) is None


def _parse_authority(authority: str) -> str:
    """Return user, host and port of an address in ASCII; empty where they are unusable."""
    login, at, place = authority.rpartition("@")
    host, port = place, ""
    if (found := re.fullmatch(r"(.*?):(\d{0,5})", place)) is not None and not place.endswith("]"):
        host, port = found[1], found[2]
        if int(port or 0) > _MAX_PORT:
            return ""
    host = _parse_host(host)
    return f"{_encode(login)}{at}{host}{f':{port}' if port else ''}" if host else ""


def _parse_host(host: str) -> str:
    """Return *host* in ASCII, a name in other scripts by IDNA; empty where it is none."""
    if host.startswith("[") and host.endswith("]"):
        try:
            return f"[{IPv6Address(host[1:-1])}]" if "%" not in host else ""
        except ValueError:
            return ""
    if not host.isascii():
        try:
            host = idna.encode(host[:_MAX_HOST], uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            return ""
    labels = host.removesuffix(".").split(".")
    return host if len(host) <= _MAX_HOST and all(map(_HOST_LABEL.fullmatch, labels)) else ""


def _encode(text: str) -> str:
    """Return a part of an address with all that is unsafe in it percent-encoded; what is encoded stays."""
    return quote(_LONE_PERCENT.sub("%25", replace_surrogates(text)), safe=_SAFE)


# What ends an address in a sentence: blanks, quotes, brackets, and the punctuation of scripts without blanks.
_STOPS = (
    r"\s<>\"`|\u00ab\u00bb\u2018-\u201f\u2026\u3000-\u3002\u3008-\u3011"
    r"\uff01\uff08\uff09\uff0c\uff1a\uff1b\uff1f"
)
_MARKDOWN_URL = r"https?://(?:[^\s<>()]|\([^\s<>()]{0,300}\)){1,2000}"
_IN_TEXT = re.compile(
    rf"\[(?P<markdown>[^\[\]\n]{{0,300}})\]\(\s*<?(?P<markdown_url>{_MARKDOWN_URL})>?(?:\s+\"[^\"\n]*\")?\s*\)"
    rf"|<(?P<slack_url>https?://[^\s<>|]+)(?:\|(?P<slack>[^<>\n]{{0,300}}))?>"
    rf"|(?<![a-z0-9])(?P<url>https?://[^{_STOPS}]++)(?!\u2026)",  # where it was cut, it leads nowhere
    re.IGNORECASE,
)


def split_links(text: str) -> Iterator[tuple[str, str]]:
    """Yield *text* in pieces, each with the link that it is, empty for the words between the links.

    Only an address is a link, and is shown as itself: of `<url|words>` and `[words](url)` both are shown,
    the words before the address in round brackets.
    """
    since = 0
    for found in _IN_TEXT.finditer(text):
        words = (found["markdown"] or found["slack"] or "").strip()
        written = found["markdown_url"] or found["slack_url"] or _strip_ending(found["url"] or "")
        url = parse_link(written)
        if not url:
            continue
        is_named = bool(words) and words != written
        before = text[since : found.start()] + (f"{words} (" if is_named else "")
        if before:
            yield before, ""
        yield written, url
        since = found.start() + len(written) if found["url"] else found.end()
        if is_named:
            yield ")", ""
    if since < len(text):
        yield text[since:], ""


def spell_out_links(text: str) -> str:
    """Return *text* with each Markdown or Slack link as `words (address)`, for where there is no markup."""
    return "".join(shown for shown, _ in split_links(text)) if "://" in text else text


_ADDRESS_KEY = re.compile(r"(?:^|[\W_]|[a-z0-9]{3})(?:url|uri|link|href)s?$", re.IGNORECASE)
_WORD_ENDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[\W_]+")


def is_address_key(key: str) -> bool:
    """Return whether the *key* of a label or an annotation says that its value is an address."""
    return _ADDRESS_KEY.search(key) is not None


def name_link(key: str) -> str:
    """Return what a link is called by the *key* of its annotation: `dashboard_url` is `Dashboard`."""
    words = [word for word in _WORD_ENDS.split(clean_text(key[: 4 * MAX_NAME])) if word]
    named = words[:-1] if len(words) > 1 and is_address_key(words[-1]) and len(words[-1]) < 6 else words
    name = one_line(" ".join(named), MAX_NAME)
    if not name or is_address_key(name):
        return "Link"
    return name if name.isupper() else name[0].upper() + name[1:].lower()


# What looks like an address: anywhere in a text with a scheme, as a whole word without one.
_SHOWN_HOST = re.compile(r"[a-z][a-z0-9+.-]{0,15}:/+([^\s/\\?#@:]+)", re.IGNORECASE)
_BARE_HOST = re.compile(
    r"(?:mailto:|//)?(?:[^\s/@]+@)?((?:[\w-]+\.)+(?:[a-z][a-z0-9-]+|\d{1,3})|localhost)(?::\d+)?(?:[/?#@]\S*)?",
    re.IGNORECASE,
)
# NFKC turns the other dots into ".", but not the ideographic one, which browsers treat as a dot.
_DOTS = str.maketrans({"\u3002": "."})
_AROUND = " \t\n.,;:!?()[]<>\"'"
# Only this much of a link's text is checked: a person does not read more before following it.
_MAX_SHOWN = 2000


def find_real_host(label: str, url: str) -> str:
    """Return the host of *url* where *label*, the text of the link, looks like the address of another host;
    empty where it does not.

    `https://bank.example@evil.example/` looks like an address of the bank.
    """
    text = normalize("NFKC", drop_joiners(clean_text(label[:_MAX_SHOWN]))).translate(_DOTS)
    words = text.split()
    bare = [
        found[1]
        for word in words
        if (found := _BARE_HOST.fullmatch(word.strip(_AROUND)))
        # A number such as 1.2 is an address only where it is the whole text.
        and (len(words) == 1 or not found[1].replace(".", "").isdigit() or found[1].count(".") == 3)
    ]
    shown = [host.lower() for host in (*_SHOWN_HOST.findall(text), *bare)]
    try:
        parts = urlsplit(url)
        real = (parts.path.rpartition("@")[2] if parts.scheme == "mailto" else parts.hostname or "").lower()
    except ValueError:
        return one_line(url, 100) if shown else ""
    return real if any(host.removeprefix("www.") != real.removeprefix("www.") for host in shown) else ""
