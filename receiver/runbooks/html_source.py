"""Turning HTML into Markdown: whole pages, and the blocks of HTML inside Markdown.

Tags are found by an expression of linear time: `html.parser` takes quadratic time for some hostile text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape

_TAG = re.compile(r"""<(/?)([A-Za-z][\w:-]*)((?:\s(?:"[^"<]*"|'[^'<]*'|[^<>"'])*)?)/?>""", re.ASCII)
_ATTRIBUTE = re.compile(r"""([\w:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=]+))""", re.ASCII)
_PAGE = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.{0,2000}?-->\s*)?<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL
)
# What a reader does not see, or what stands around the words of a page.
_HIDDEN = frozenset(
    [
        "script",
        "style",
        "head",
        "svg",
        "noscript",
        "template",
        "nav",
        "footer",
        "button",
        "select",
        "form",
        "iframe",
    ]
)
_EMPHASIS = {"b": "**", "strong": "**", "i": "*", "em": "*", "del": "~~", "s": "~~"}
_CODE = frozenset(("code", "kbd", "samp", "tt"))
_BREAKS = frozenset(
    [
        "p",
        "div",
        "section",
        "article",
        "main",
        "header",
        "figure",
        "figcaption",
        "body",
        "html",
        "dl",
        "dd",
        "dt",
        "table",
        "center",
        "address",
        "fieldset",
        "details",
        "summary",
        "aside",
    ]
)
# Their text is shown without them.
_PLAIN = frozenset(
    [
        "span",
        "font",
        "u",
        "sup",
        "sub",
        "small",
        "big",
        "mark",
        "abbr",
        "ins",
        "cite",
        "q",
        "label",
        "time",
        "var",
        "thead",
        "tbody",
        "tfoot",
        "colgroup",
        "col",
        "wbr",
        "picture",
        "source",
        "dfn",
    ]
)
_HEADING = re.compile(r"h[1-6]")
_CALLOUT_CLASS = re.compile(
    r"\b(?:admonition|alert|callout|hint|notice|note|theme-admonition|markdown-alert)\b"
)
_CALLOUT_TYPE = re.compile(
    r"\b(?:[\w-]*-)?(warning|danger|caution|important|error|note|tip|info|attention)\b"
)
_LANGUAGE = re.compile(r"\b(?:language|lang|highlight-source|brush:)-?\s*([\w+#-]{1,30})")
_SPACE = re.compile(r"[ \t\r\f\n]+")
# Deeper lists, quotes and callouts are shown at this depth.
MAX_DEPTH = 12
KNOWN = (
    _HIDDEN | _EMPHASIS.keys() | _CODE | _BREAKS | _PLAIN
    | frozenset(("a", "br", "hr", "img", "pre", "ul", "ol", "li", "blockquote", "tr", "td", "th"))
    | frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
)  # fmt: skip
_BLOCKS = KNOWN - _HIDDEN - _PLAIN - _CODE - _EMPHASIS.keys() - {"a", "br", "img"}
_INLINE = _EMPHASIS.keys() | _CODE | _PLAIN | frozenset(("a", "br", "img", "p", "div", "center"))
_BACKTICKS = re.compile("(`+)")


def is_html_page(text: str) -> bool:
    """Return whether *text* is a whole HTML page, not Markdown with some HTML in it."""
    return _PAGE.match(text) is not None


def is_sign_in(text: str) -> bool:
    """Return whether an HTML page asks for a password: it is shown in place of what was asked for."""
    return re.search(r"""<input\b[^<>]*\btype\s*=\s*["']?password\b""", text, re.IGNORECASE) is not None


def convert_html(text: str) -> str:
    """Return the HTML *text* as Markdown; of a page, what stands in `<main>` or `<article>`. Never raises."""
    converter = _Converter()
    for token in _split_tags(_drop_comments(text)):
        if isinstance(token, str):
            converter.read_text(token)
        else:
            converter.read_tag(token)
    return converter.finish()


def has_known_tag(text: str) -> bool:
    """Return whether *text* has a tag of HTML or a comment, not only placeholders such as `<node>`."""
    return "<!--" in text or any(found[2].lower() in KNOWN for found in _TAG.finditer(text))


def convert_inline_html(text: str) -> str:
    """Return the Markdown of a paragraph with its HTML tags as Markdown: `<kbd>x</kbd>` is `` `x` ``.

    Code spans and unknown tags, for example the placeholder `<node>`, stay as written.
    """
    if "<" not in text:
        return text
    pieces = list(_split_code_spans(text))
    return "".join(piece if is_code else _convert_outside_code(piece) for is_code, piece in pieces)


def _split_code_spans(text: str) -> Iterator[tuple[bool, str]]:
    """Yield (is a code span, text); a run of backticks ends at the next run of its length."""
    pieces = _BACKTICKS.split(text)  # text and runs take turns
    places: dict[int, list[int]] = {}
    for place in range(len(pieces) - 2, 0, -2):
        places.setdefault(len(pieces[place]), []).append(place)
    start = place = 0
    while place < len(pieces):
        ends = places.get(len(pieces[place]), []) if place % 2 else []
        while ends and ends[-1] <= place:
            ends.pop()
        if ends:
            yield False, "".join(pieces[start:place])
            yield True, "".join(pieces[place : ends[-1] + 1])
            start = place = ends[-1] + 1
        else:
            place += 1
    yield False, "".join(pieces[start:])


def _convert_outside_code(text: str) -> str:
    words: list[str] = []
    links: list[str] = []
    code = 0
    for token in _split_tags(_drop_comments(text)):
        if isinstance(token, str):
            words.append(token.replace("`", "'") if code else token)
            continue
        name, is_closing = token[2].lower(), bool(token[1])
        if name not in _INLINE:
            words.append(token[0])
        elif name in _CODE:
            # Only the outermost pair becomes a code span.
            code = max(0, code + (-1 if is_closing else 1))
            words.append("`" if code == (0 if is_closing else 1) else "")
        elif code:
            continue
        elif name == "a":
            words.append(_render_anchor(token, links))
        else:
            words.append("\\\n" if name == "br" else _EMPHASIS.get(name) or _image_text(name, token[3]))
    return "".join([*words, "`" if code else "", *("]" for _ in links)])


def _render_anchor(token: re.Match[str], links: list[str]) -> str:
    if token[1]:
        return f"]({links.pop()})" if links else ""
    href = _read_attributes(token[3]).get("href", "")
    if not href or links:
        return ""
    links.append(re.sub(r"[\s()<>]", lambda found: f"%{ord(found[0]):02X}", href))
    return "["


def _image_text(name: str, attributes: str) -> str:
    words = _read_attributes(attributes).get("alt", "") if name == "img" else ""
    return f"[{words}]" if words else ""


def _read_attributes(text: str) -> dict[str, str]:
    found = (
        (name.lower(), unescape(one or two or bare)) for name, one, two, bare in _ATTRIBUTE.findall(text)
    )
    return dict(found)


def _drop_comments(text: str) -> str:
    pieces, place = [], 0
    while (start := text.find("<!--", place)) >= 0 and (end := text.find("-->", start + 2)) >= 0:
        pieces.append(text[place:start])
        place = end + 3
    return "".join([*pieces, text[place:]])


def _split_tags(text: str) -> Iterator[re.Match[str] | str]:
    place = 0
    for tag in _TAG.finditer(text):
        if tag.start() > place:
            yield text[place : tag.start()]
        yield tag
        place = tag.end()
    if place < len(text):
        yield text[place:]


@dataclass
class _Converter:
    """Reads tags and text, and writes Markdown line by line below the prefixes of lists and quotes."""

    lines: list[str] = field(default_factory=list)
    _words: list[str] = field(default_factory=list)  # the text of the paragraph that is being read
    _prefixes: list[str] = field(default_factory=list)
    _too_deep: int = 0  # lists and quotes without a prefix of their own
    _lists: list[int] = field(default_factory=list)  # the number of the next item; -1 for bullets
    _marker: str = ""  # of an item without text so far
    _heading: str = ""
    _hidden: list[str] = field(default_factory=list)
    _links: list[str] = field(default_factory=list)
    _code: int = 0
    _pre: list[str] | None = None
    _lang: str = ""
    _rows: list[list[str]] | None = None
    _is_title: bool = False  # the title of a callout is being read
    _divs: list[str] = field(default_factory=list)  # what ends each open `div`
    _spans: dict[str, tuple[int, int]] = field(default_factory=dict)  # the lines of `article` and `main`

    def read_text(self, text: str) -> None:
        if self._hidden:
            return
        if self._pre is not None:
            self._pre.append(unescape(text))
        elif self._code:
            self._words.append(unescape(text).replace("`", "'"))
        else:
            self._words.append(re.sub(r"([*`<\[\\])", r"\\\1", unescape(text)))

    def read_tag(self, tag: re.Match[str]) -> None:
        name, is_closing = tag[2].lower(), bool(tag[1])
        if name in _HIDDEN:
            self._read_hidden(name, is_closing)
        elif self._hidden:
            return
        elif self._pre is not None:
            self._read_inside_pre(name, is_closing, tag)
        elif name in _BLOCKS:
            self._read_block(name, tag, is_closing=is_closing)
        else:
            self._words.append(self._render_inline(name, tag, is_closing=is_closing))

    def _render_inline(self, name: str, tag: re.Match[str], *, is_closing: bool) -> str:
        if name in _CODE:
            self._code = max(0, self._code + (-1 if is_closing else 1))
            return "`" if self._code == (0 if is_closing else 1) else ""
        if name not in KNOWN:
            return tag[0] if self._code else f"\\{tag[0]}"
        if self._code:
            return ""
        if name == "a":
            return _render_anchor(tag, self._links)
        if name == "br":
            return " " if self._rows is not None else "\\\n"
        return _EMPHASIS.get(name) or _image_text(name, tag[3])

    def finish(self) -> str:
        if self._pre is not None:
            self._end_pre()
        self._flush()
        if self._rows:
            self._end_table()
        start, end = self._spans.get("article") or self._spans.get("main") or (0, 0)
        lines = self.lines[start : end if end > start else None]
        return "\n".join(lines).strip("\n") + "\n"

    def _read_hidden(self, name: str, is_closing: bool) -> None:
        if not is_closing:
            if len(self._hidden) < MAX_DEPTH:
                self._hidden.append(name)
        elif name in self._hidden:
            del self._hidden[self._hidden.index(name) :]

    def _read_inside_pre(self, name: str, is_closing: bool, tag: re.Match[str]) -> None:
        if name == "pre" and is_closing:
            self._end_pre()
        elif name == "br" and self._pre is not None:
            self._pre.append("\n")
        elif name not in KNOWN and self._pre is not None:
            self._pre.append(tag[0])
        elif found := _LANGUAGE.search(_read_attributes(tag[3]).get("class", "")):
            self._lang = self._lang or found[1]

    def _read_block(self, name: str, tag: re.Match[str], *, is_closing: bool) -> None:
        if self._rows is not None and name not in ("table", "tr", "td", "th"):
            self._words.append(" ")  # a cell is one line
            return
        self._flush()
        if _HEADING.fullmatch(name):
            self._heading = "" if is_closing else "#" * int(name[1]) + " "
        elif name in ("table", "tr", "td", "th"):
            self._read_table(name, is_closing)
        elif name == "pre" and not is_closing:
            found = _LANGUAGE.search(_read_attributes(tag[3]).get("class", ""))
            self._pre, self._lang = [], found[1] if found else ""
        elif name in ("ul", "ol", "li", "blockquote"):
            self._read_nesting(name, is_closing)
        elif name == "hr":
            self._write(["---"])
        elif name in ("p", "div", "section", "aside", "details"):
            self._read_division(name, tag, is_closing)
        elif name in ("main", "article"):
            self._read_main(name, is_closing)

    def _read_main(self, name: str, is_closing: bool) -> None:
        start, end = self._spans.get(name, (len(self.lines), 0))
        self._spans[name] = (start, len(self.lines) if is_closing else end)

    def _read_division(self, name: str, tag: re.Match[str], is_closing: bool) -> None:
        """Turn a division with the class of a callout into one."""
        classes = _read_attributes(tag[3]).get("class", "")
        is_inside = bool(self._divs and self._divs[-1]) and not is_closing
        self._is_title = is_inside and re.search("title|heading", classes, re.IGNORECASE) is not None
        if name == "p":
            return
        if is_closing:
            end = self._divs.pop() if self._divs else ""
            if end:
                self._write([end])
            return
        kind = _CALLOUT_TYPE.search(classes) if _CALLOUT_CLASS.search(classes) else None
        self._divs.append(">>>" if kind else "")
        if kind:
            self._write([f">>> [!{kind[1]}]"])

    def _read_nesting(self, name: str, is_closing: bool) -> None:
        if name == "blockquote":
            if not is_closing:
                self._push("> ")
            else:
                self._pop("> ")
        elif name == "li":
            self._end_item()
            if not is_closing and self._lists:
                number = self._lists[-1]
                self._marker = "- " if number < 0 else f"{number}. "
                self._lists[-1] += number >= 0
                self._push("    ")
        elif not is_closing:
            self._lists.append(-1 if name == "ul" else 1)
        elif self._lists:
            self._end_item()
            self._lists.pop()

    def _end_item(self) -> None:
        self._marker = ""
        if self._prefixes.count("    ") + self._too_deep >= len(self._lists) > 0:
            self._pop("    ")

    def _push(self, prefix: str) -> None:
        if len(self._prefixes) < MAX_DEPTH:
            self._prefixes.append(prefix)
        else:
            self._too_deep += 1

    def _pop(self, prefix: str) -> None:
        if self._too_deep:
            self._too_deep -= 1
        elif prefix in self._prefixes:
            del self._prefixes[len(self._prefixes) - 1 - self._prefixes[::-1].index(prefix) :]

    def _read_table(self, name: str, is_closing: bool) -> None:
        if name == "table":
            if self._rows and is_closing:
                self._end_table()
            self._rows = None if is_closing else []
        elif self._rows is not None and not is_closing:
            if name == "tr":
                self._rows.append([])
            elif self._rows:
                self._rows[-1].append("")

    def _end_table(self) -> None:
        rows = [cells for cells in self._rows or () if cells]
        self._rows = None
        if rows:
            width = max(map(len, rows))
            lines = [f"| {' | '.join(cells + [''] * (width - len(cells)))} |" for cells in rows]
            self._write([lines[0], "|" + " --- |" * width, *lines[1:]])

    def _end_pre(self) -> None:
        text = "".join(self._pre or ()).strip("\n")
        self._pre = None
        longest = max((len(run) for run in re.findall("`+", text)), default=0)
        fence = "`" * max(3, longest + 1)
        if text.strip():
            self._write([fence + self._lang, *text.split("\n"), fence])

    def _flush(self) -> None:
        """Write the paragraph that was read so far."""
        if self._code:
            self._words.append("`")
            self._code = 0
        while self._links:
            self._words.append(f"]({self._links.pop()})")
        text = "\\\n".join(_SPACE.sub(" ", line).strip() for line in "".join(self._words).split("\\\n"))
        self._words = []
        while text.endswith("\\\n"):
            text = text.removesuffix("\\\n")
        text = re.sub(r"\s*\[(?:¶|#|🔗|§)?\]\([^()]*\)$", "", text).removesuffix("¶").strip()
        if not text.strip("*~` "):
            return
        if self._is_title and len(self.lines) > 1:
            self._is_title = False
            if f"[!{text.lower()}]" not in self.lines[-2]:
                self.lines[-2] += f" {text}"
        elif self._rows is not None:
            if self._rows and self._rows[-1]:
                self._rows[-1][-1] += text.replace("|", "\\|").replace("\\\n", " ")
        elif self._heading:
            self._write([self._heading + text.replace("\\\n", " ")])
        else:
            lines = text.split("\n")
            self._write(
                [re.sub(r"^(\d{0,9})([>#+.)=~-])(?=\s|$|[>#=~-])", r"\1\\\2", line) for line in lines]
            )

    def _write(self, lines: list[str]) -> None:
        prefixes = self._prefixes
        prefix = "".join(prefixes)
        first = prefix
        if self._marker and prefixes:
            first = "".join(prefixes[:-1]) + self._marker.ljust(4)
            self._marker = ""
        head, *rest = lines
        self.lines += [first + head, *(f"{prefix}{line}".rstrip() for line in rest), prefix.rstrip()]
