"""Markdown as teams write it: callouts, tabs, shortcodes, footnotes, task lists and HTML as plain tokens.

GitHub and GitLab (`> [!WARNING]`, `>>>`), MkDocs (`!!! danger`, `??? note`, `=== "Tab"`), Docusaurus
(`:::tip`, `<TabItem>`), Hugo (`{{< hint >}}`), Just the Docs (`{: .warning }`) and the common directives of
reStructuredText. What opens or closes something on a line of its own becomes a `marker` token; markers of one
place are matched with a stack, so that hostile text takes linear time. A callout is a pair of tokens
`callout_open` and `callout_close`, whose `meta` has its `label` and `title`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from mdit_py_plugins.admon import admon_plugin
from mdit_py_plugins.container import container_plugin
from mdit_py_plugins.footnote import footnote_plugin

from receiver.runbooks.html_source import convert_html, convert_inline_html, has_known_tag

# Tabs in callouts in tabs: deeper contents are shown as code.
MAX_NESTED = 4
# Longer HTML blocks are decoration or an attack.
MAX_HTML_CHARS = 20_000
# A file's footnotes are shown where they are used, each at most this often.
MAX_FOOTNOTE_CHARS = 300
MAX_FOOTNOTES = 500
# How many lines a shortcode with code may have.
_MAX_CODE_LINES = 300

_LABELS = {
    "⚠️": "warning caution danger attention important error critical warn failure fail bug alert",
    "💡": "tip hint",
    "❓": "question help faq",
    "ℹ️": "note info information notice abstract summary tldr example quote success check done seealso "
    "admonition callout",
}
_EMOJI = {word: emoji for emoji, words in _LABELS.items() for word in words.split()}
_NAMES = {"warn": "Warning", "fail": "Failure", "tldr": "TL;DR", "faq": "FAQ", "seealso": "See also"}
_NAMES |= dict.fromkeys(("alert", "admonition", "callout", "notice", "hint", "information"), "Note")
_COLORS = {
    "warning": "warning",
    "danger": "danger",
    "red": "danger",
    "orange": "warning",
    "yellow": "warning",
}
_TABS = frozenset(["tab", "tabitem", "tabpanel", "tab-item"])
_TITLED = frozenset(
    [
        "details",
        "expand",
        "collapse",
        "collapsible",
        "expandable",
        "accordion",
        "accordionitem",
        "dropdown",
        "step",
    ]
)
_GROUPS = frozenset(
    [
        "tabs",
        "tabpane",
        "steps",
        "cards",
        "card",
        "cardgroup",
        "accordions",
        "accordiongroup",
        "codegroup",
        "code-group",
        "columns",
        "column",
        "tab-set",
        "grid",
        "block",
    ]
)
_CODE = {"highlight": "", "code": "", "mermaid": "mermaid", "plantuml": "plantuml", "command": "sh"}
_PAIRED = _EMOJI.keys() | _TABS | _TITLED | _GROUPS

_SHORTCODE = re.compile(r"\{\{[<%]\s*(/?)\s*([\w./-]+)((?:\"[^\"{}]*\"|[^\"{}])*?)(/?)\s*[>%]\}\}")
_COMPONENT = re.compile(
    r"<(/?)([A-Z]\w*)((?:\s(?:\"[^\"<]*\"|'[^'<]*'|\{[^{}<]*\}|[^<>\"'{}])*)?)(/?)>", re.ASCII
)
_TAB = re.compile(r"===[!+]?\s+[\"'](.{1,200})[\"']\s*$")
_QUOTE = re.compile(r">>>\s*(?:\[!(\w+)\][+-]?\s*(.*))?$")
_DIRECTIVE = re.compile(r"\.\. ([\w-]+)::\s*(.*)$")
_IAL = re.compile(r"\{:\s*([^{}]{0,200})\}$")
_TOC = re.compile(
    r"(?:\[\[_TOC_\]\]|\[TOC\]|\{:toc\}|\{\{toc\}\}|\[\[toc\]\]|import\s.{1,200}\sfrom\s+['\"].*|export\s+const\s.*)$",
    re.IGNORECASE,
)
_ALERT = re.compile(r"\[!(\w+)\][+-]?[ \t]*([^\n]*)(?:\n|$)")
_WORDS = "warning|caution|danger|attention"
# A callout without markup: `**Warning**: do not …`, `WARNING: do not …`, `⚠️ Do not …`.
_PROSE = re.compile(
    rf"(?:(?:⚠️?|🚨|⛔️?|🛑|:warning:|:rotating_light:)\s*)?(?P<mark>\*\*|__)(?P<word>{_WORDS})"
    rf"(?:[:!.]+(?P=mark)|(?P=mark)(?:\s*[:：!.–—-]|\s*\n|$))\s*"
    rf"|(?-i:(?P<upper>{_WORDS.upper()}|NOTE|IMPORTANT|TIP)\s*[:：])\s*(?:\*\*\w{{1,20}}:?\*\*:?\s*)?"
    r"|(?P<sign>⚠️?|🚨|⛔️?|🛑|:warning:|:rotating_light:)\s*",
    re.IGNORECASE,
)
_NOTE = re.compile(
    r"(?P<mark>\*\*|__)(?P<word>note|tip|important|info)[:.]*(?P=mark)\s*[:：]?\s*", re.IGNORECASE
)
_TASK = re.compile(r"\[([ xX])\][ \t]+")
_FOOTNOTE = re.compile(r"\[\^([^\s\[\]]{1,100})\](?!:)")
_ARGUMENT = re.compile(
    r"""([\w-]+)\s*=\s*(?:\{?"([^"]*)"\}?|\{?'([^']*)'\}?|([^\s"'{}]+))|"([^"]*)"|([^\s"'{}=]+)"""
)


def build_parser(*, has_inline: bool) -> MarkdownIt:
    """Return a parser of CommonMark, tables and the dialects; without *has_inline* text stays unparsed."""
    parser = MarkdownIt("commonmark").enable("table")
    parser.use(footnote_plugin, inline=False, move_to_end=False)
    parser.use(admon_plugin)
    parser.use(container_plugin, "block", validate=lambda params, _markup: bool(_read_container(params)))
    alternatives: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list", "footnote_def"]}
    parser.block.ruler.before("admonition", "marker", _read_marker, alternatives)
    parser.core.ruler.after("block", "dialects", _rewrite_tokens)
    parser.inline.ruler.disable("footnote_ref")  # footnotes are shown in the text
    if not has_inline:
        parser.core.ruler.disable("inline")
    # The first parse compiles the parser's rule tables; do it here, before several threads use it.
    parser.render("| *a* |\n|---|\n")
    return parser


@dataclass(frozen=True)
class _Marker:
    """What a line opens or closes: the *name* of a construct with its *title*."""

    name: str
    title: str = ""
    is_closing: bool = False
    callout: str = ""  # its type
    dedents: str = ""  # what an indented block that follows is: `markdown`, or `code:` with its language


def _read_container(params: str) -> _Marker | None:
    """Return what `:::` begins: `warning`, `caution[Title]`, `{warning} Title`, `note Title`."""
    found = re.match(r"\s*\{?\.?([A-Za-z][\w-]*)\}?\s*(?:\[([^\[\]]*)\]|\{[^{}]*\})?\s*(.*)$", params)
    if found is None:
        return None
    name = found[1].lower()
    title = (found[2] or found[3]).strip()
    if shown := re.match(r"\{[^{}]*title=\"([^\"]*)\"", params.partition(found[1])[2]):
        title = shown[1]
    return _Marker(name, title, callout=name if name in _EMOJI else "")


def _read_marker(state: StateBlock, start_line: int, _end_line: int, silent: bool) -> bool:
    """Read a line that opens or closes something; a rule of markdown-it-py."""
    if state.is_code_block(start_line):
        return False
    begin = state.bMarks[start_line] + state.tShift[start_line]
    end = state.eMarks[start_line]
    if begin >= end or state.src[begin] not in "{<>=.[ie" or end - begin > 2000:
        return False
    line = state.src[begin:end].rstrip()
    if line.startswith("{{") and (code := _CODE_SHORTCODE.match(line)):
        return silent or _read_code(state, start_line, code)
    pieces = _split_line(line, state, start_line)
    if pieces is None:
        return False
    if not silent:
        _push_pieces(state, start_line, pieces)
    return True


def _push_pieces(state: StateBlock, start_line: int, pieces: list[_Marker | str]) -> None:
    """Add the tokens of a line, and go to the next one."""
    for piece in pieces:
        if isinstance(piece, _Marker):
            token = state.push("marker", "", 0)
            token.meta = {"marker": piece}
            token.map = [start_line, start_line + 1]
        elif piece.strip():
            for kind, nesting in (("paragraph_open", 1), ("inline", 0), ("paragraph_close", -1)):
                token = state.push(kind, "p" if nesting else "", nesting)  # type: ignore[arg-type]
                token.map = [start_line, start_line + 1]
                if not nesting:
                    token.content, token.children = piece.strip(), []
    state.line = start_line + 1


_CODE_SHORTCODE = re.compile(rf"\{{\{{[<%]\s*({'|'.join(_CODE)})\b([^{{}}]*)[>%]\}}\}}\s*$")


def _read_code(state: StateBlock, start_line: int, code: re.Match[str]) -> bool:
    """Read `{{< highlight sh >}}` to its end as a fence; without an end it is dropped."""
    last = min(state.lineMax, start_line + _MAX_CODE_LINES)
    closing = re.compile(rf"\s*\{{\{{[<%]\s*/\s*{code[1]}\s*[>%]\}}\}}\s*$")
    for line in range(start_line + 1, last):
        if closing.match(state.src, state.bMarks[line], state.eMarks[line]):
            token = state.push("fence", "code", 0)
            token.info = _CODE[code[1]] or next(iter(_read_arguments(code[2])[1]), "")
            token.content = state.getLines(start_line + 1, line, state.blkIndent, keepLastLF=True)
            token.map = [start_line, line + 1]
            state.line = line + 1
            return True
        if _CODE_SHORTCODE.match(state.src, state.bMarks[line], state.eMarks[line]):
            break  # so that each line is looked at once
    state.line = start_line + 1
    return True


def _split_line(  # noqa: PLR0911 - one construct after the other
    line: str, state: StateBlock, number: int
) -> list[_Marker | str] | None:
    """Return the markers and the text of a line; None where it is an ordinary line."""
    if line.startswith(("{{", "<")):
        return _split_tags(line, _SHORTCODE if line[0] == "{" else _COMPONENT)
    if tab := _TAB.match(line):
        return [_Marker("tab", tab[1], dedents="markdown")]
    if quote := _QUOTE.match(line):
        kind = (quote[1] or "").lower()
        return [_Marker(">>>", (quote[2] or "").strip(), is_closing=not kind, callout=kind)]
    if _TOC.match(line):
        return []
    if directive := _DIRECTIVE.match(line):
        name = directive[1].lower()
        if name in ("code-block", "code", "sourcecode", "highlight"):
            return [_Marker("code", dedents=f"code:{directive[2]}")]
        if name in _EMOJI:
            return [_Marker("directive", callout=name, dedents="markdown"), directive[2]]
    return _read_attribute_list(line, state, number)


def _read_attribute_list(line: str, state: StateBlock, number: int) -> list[_Marker | str] | None:
    """Return what kramdown's attributes on a line of their own say of the next block: `{: .warning }`."""
    ial = _IAL.match(line)
    if ial is None:
        return None
    words = [word.removeprefix(".") for word in ial[1].lower().split()]
    kind = next((word for word in words if word in _EMOJI), "")
    before = state.src[state.bMarks[number - 1] : state.eMarks[number - 1]] if number else ""
    return [_Marker("next", callout=kind)] if kind and not before.strip() else []


def _split_tags(line: str, pattern: re.Pattern[str]) -> list[_Marker | str] | None:
    """Return the shortcodes or components that a line begins with, and its text."""
    pieces: list[_Marker | str] = []
    place = 0
    for tag in pattern.finditer(line):
        if line[place : tag.start()].strip():
            if not pieces:
                return None  # it stands inside a sentence
            pieces.append(line[place : tag.start()])
        name = tag[2].lower().rpartition("/")[2]
        if name not in _PAIRED:
            if pattern is _COMPONENT or (not pieces and line[tag.end() :].strip()):
                return None
        elif not tag[4]:
            pieces.append(_build_marker(name, tag))
        place = tag.end()
    if place == 0:
        return None
    return [*pieces, line[place:]]


def _build_marker(name: str, tag: re.Match[str]) -> _Marker:
    if tag[1]:
        return _Marker(name, is_closing=True)
    named, words = _read_arguments(tag[3])
    title = next(
        (named[key] for key in ("title", "label", "header", "name", "summary", "text") if named.get(key)), ""
    )
    if name in _EMOJI:
        given = [named.get(key, "").lower() for key in ("type", "color", "context", "status", "level")]
        kind = next(
            (
                _COLORS.get(word, word)
                for word in (*given, *(word.lower() for word in words))
                if word in _EMOJI or word in _COLORS
            ),
            name,
        )
        rest = [word for word in words if word.lower() != kind and (" " in word or word[:1].isupper())]
        return _Marker(name, title or next(iter(rest), ""), callout=kind)
    title = title or next(iter(words), "") or named.get("value", "")
    return _Marker(
        name, title if name in _TABS | _TITLED else "", dedents="markdown" if name in _TABS else ""
    )


def _read_arguments(text: str) -> tuple[dict[str, str], list[str]]:
    """Return the named and the positional arguments of a shortcode or component."""
    named: dict[str, str] = {}
    words: list[str] = []
    for key, double, single, bare, quoted, word in _ARGUMENT.findall(text[:1000]):
        if key:
            named.setdefault(key.lower(), double or single or bare)
        elif quoted or word:
            words.append(quoted or word)
    return named, words


def _rewrite_tokens(state: StateCore) -> None:
    """Replace the tokens of dialects by plain ones; a core rule of markdown-it-py."""
    rewriter = _Rewriter(state.md, state.env)
    tokens = rewriter.rewrite(state.tokens, 0)
    level = 0
    for token in tokens:
        level -= token.nesting < 0
        token.level = level
        level += token.nesting > 0
    state.tokens = tokens
    rewriter.rewrite_text(tokens)


@dataclass(frozen=True)
class _End:
    """The token that ends a callout."""

    level: int
    type: str
    is_kept: bool = False  # the token itself is kept in front of the callout's end


@dataclass
class _Rewriter:
    _parser: MarkdownIt
    _env: Any
    _footnotes: dict[str, str] = field(default_factory=dict)
    _footnote: str = ""  # the one whose definition is being read
    _footnotes_shown: int = 0

    def rewrite(self, tokens: list[Token], depth: int) -> list[Token]:
        """Return *tokens* with markers matched, and with blocks of HTML and of tabs parsed."""
        pairs = _match_markers(tokens)
        rewritten: list[Token] = []
        ends: list[_End] = []  # of the callouts that are open
        dedents = ""
        pending = -1  # the level of a callout that ends with the next block
        for place, token in enumerate(tokens):
            is_marker = token.type == "marker"
            if pending >= 0 and (is_marker or token.level < pending):
                rewritten.append(_end_callout())
                pending = -1
            if is_marker:
                marker: _Marker = token.meta["marker"]
                rewritten += _rewrite_marker(marker, token, tokens[pairs[place]] if place in pairs else None)
                dedents = marker.dedents
                if marker.callout and not marker.is_closing and place not in pairs:
                    pending = token.level
            elif not self._read_footnote(token):
                rewritten += self._close_or_rewrite(tokens, place, depth, dedents, ends)
                if token.nesting <= 0 and token.level == pending:
                    rewritten.append(_end_callout())
                    pending = -1
                dedents = ""
        return [*rewritten, _end_callout()] if pending >= 0 else rewritten

    def _read_footnote(self, token: Token) -> bool:
        """Return whether *token* belongs to the definition of a footnote, whose text is kept."""
        if token.type == "footnote_reference_open":
            self._footnote = str(token.meta["label"])
        elif token.type == "footnote_reference_close":
            self._footnote = ""
        elif not self._footnote:
            return False
        elif token.type == "inline":
            known = self._footnotes.get(self._footnote, "")
            self._footnotes[self._footnote] = f"{known} {token.content}".strip()[: MAX_FOOTNOTE_CHARS + 1]
        return True

    def _close_or_rewrite(
        self, tokens: list[Token], place: int, depth: int, dedents: str, ends: list[_End]
    ) -> Iterable[Token]:
        token = tokens[place]
        if not (ends and token.nesting < 0 and token.type == ends[-1].type):
            return self._rewrite_token(tokens, place, depth, dedents, ends)
        if token.level != ends[-1].level:
            return [token]
        return [*([token] if ends.pop().is_kept else ()), _end_callout()]

    def _rewrite_token(
        self, tokens: list[Token], place: int, depth: int, dedents: str, ends: list[_End]
    ) -> Iterable[Token]:
        token = tokens[place]
        if token.type in ("html_block", "code_block", "fence"):
            return self._rewrite_leaf(token, depth, dedents)
        if token.type == "paragraph_open" and token.level == 0:
            return self._rewrite_paragraph(tokens, place, ends)
        if token.type == "container_block_open":
            marker = _read_container(token.info) or _Marker("")
            if not marker.callout:
                return _build_title(marker.title if marker.name in _TITLED | _TABS else "", token)
        is_title = token.type == "inline" and place and tokens[place - 1].type == "admonition_title_open"
        if is_title or token.type.startswith(("admonition_title", "container_block_close")):
            return []
        if callout := _find_callout(tokens, place):
            ends.append(_End(token.level, token.type.replace("_open", "_close")))
            return [_begin_callout(*callout, token)]
        return [token]

    def _rewrite_leaf(self, token: Token, depth: int, dedents: str) -> Iterable[Token]:
        """Parse what a block of HTML, an indented tab or a fence of MyST (```` ```{warning} ````) holds."""
        if token.type == "html_block":
            return self._parse_html(token, depth)
        if token.type == "code_block":
            if dedents.startswith("code:"):
                token.type, token.info = "fence", dedents.removeprefix("code:")
            elif depth < MAX_NESTED and (dedents or _is_indented_markdown(token)):
                return self._parse_nested(token.content, token, depth)
        elif found := re.match(r"\{(\w+)\}\s*(.*)$", token.info):
            if found[1].lower() in _EMOJI and depth < MAX_NESTED:
                inner = self._parse_nested(token.content, token, depth)
                return [_begin_callout(found[1].lower(), found[2], token), *inner, _end_callout()]
            token.info = found[2] if found[1].startswith("code") else found[1]
        return [token]

    def _rewrite_paragraph(self, tokens: list[Token], place: int, ends: list[_End]) -> Iterable[Token]:
        """Turn a paragraph that begins as a warning into a callout."""
        token, inline = tokens[place], tokens[place + 1]
        found = _PROSE.match(inline.content)
        if found is None or not inline.content[found.end() :].strip():
            return [token]
        inline.content = inline.content[found.end() :]
        ends.append(_End(token.level, "paragraph_close", is_kept=True))
        return [_begin_callout(_read_kind(found), "", token), token]

    def _parse_html(self, token: Token, depth: int) -> list[Token]:
        if len(token.content) > MAX_HTML_CHARS:
            return []
        if depth >= MAX_NESTED or not has_known_tag(token.content):
            text = " ".join(token.content.split())
            return _build_paragraph(text, token) if text else []
        return self._parse_nested(convert_html(token.content), token, depth)

    def _parse_nested(self, text: str, token: Token, depth: int) -> list[Token]:
        """Return the tokens of *text*, which stands where *token* does."""
        tokens: list[Token] = []
        self._parser.block.parse(text, self._parser, self._env, tokens)
        first = (token.map or [0])[0]
        for each in tokens:
            if each.map:
                each.map = [first + each.map[0], first + each.map[1]]
        return self.rewrite(tokens, depth + 1)

    def rewrite_text(self, tokens: list[Token]) -> None:
        """Replace task boxes, footnotes, shortcodes and known HTML tags in the text of *tokens*."""
        for place, token in enumerate(tokens):
            if token.type != "inline":
                continue
            text = token.content
            if place > 1 and tokens[place - 2].type == "list_item_open" and (task := _TASK.match(text)):
                text = ("☐ " if task[1] == " " else "☑ ") + text[task.end() :]
            if "{{" in text:
                text = _SHORTCODE.sub(_render_shortcode, text)
            if "[^" in text:
                text = _FOOTNOTE.sub(self._render_footnote, text)
            token.content = convert_inline_html(text)

    def _render_footnote(self, found: re.Match[str]) -> str:
        words = self._footnotes.get(found[1], "")
        self._footnotes_shown += 1
        if not words or self._footnotes_shown > MAX_FOOTNOTES:
            return "" if words else found[0]
        is_cut = len(words) > MAX_FOOTNOTE_CHARS
        return f" ({words[:MAX_FOOTNOTE_CHARS].rstrip('.')}{'…' if is_cut else ''})"


def _match_markers(tokens: list[Token]) -> dict[int, int]:
    """Return the places of openings and closings that belong together, both ways."""
    pairs: dict[int, int] = {}
    stacks: list[tuple[int, int, str]] = []  # (level, place, name)
    waiting: dict[str, int] = {}  # how many openings of a name are on the stack
    for place, token in enumerate(tokens):
        if token.nesting < 0:
            while stacks and stacks[-1][0] > token.level:
                waiting[stacks.pop()[2]] -= 1
        if token.type != "marker":
            continue
        marker: _Marker = token.meta["marker"]
        if not marker.is_closing:
            stacks.append((token.level, place, marker.name))
            waiting[marker.name] = waiting.get(marker.name, 0) + 1
        elif waiting.get(marker.name):
            while stacks:
                level, opening, name = stacks.pop()
                waiting[name] -= 1
                if name == marker.name:
                    if level == token.level:
                        pairs[opening], pairs[place] = place, opening
                    break
    return pairs


def _rewrite_marker(marker: _Marker, token: Token, partner: Token | None) -> list[Token]:
    if marker.is_closing:
        return [_end_callout()] if partner is not None and partner.meta["marker"].callout else []
    if marker.callout:
        return [_begin_callout(marker.callout, marker.title, token)]
    return _build_title(marker.title, token)


def _find_callout(tokens: list[Token], place: int) -> tuple[str, str] | None:
    """Return type and title of the callout that begins at *place*.

    A quote may begin as an alert: `> [!WARNING] Title`, `> **Warning**: …`.
    """
    token = tokens[place]
    if token.type == "admonition_open":
        return str(token.meta["tag"]), token.content
    if token.type == "container_block_open" and (marker := _read_container(token.info)):
        return marker.callout, marker.title
    if token.type != "blockquote_open" or place + 2 >= len(tokens) or tokens[place + 2].type != "inline":
        return None
    inline = tokens[place + 2]
    found = _ALERT.match(inline.content)
    prose = None if found else _PROSE.match(inline.content) or _NOTE.match(inline.content)
    if found is None and prose is None:
        return None
    inline.content = inline.content[(found or prose).end() :]  # type: ignore[union-attr]
    return (found[1].lower(), found[2].strip()) if found else (_read_kind(prose), "")


def _read_kind(found: re.Match[str] | None) -> str:
    words = found.groupdict() if found else {}
    return (words.get("word") or words.get("upper") or "warning").lower()


def _begin_callout(kind: str, title: str, token: Token) -> Token:
    label = _NAMES.get(kind) or kind.replace("-", " ").capitalize() or "Note"
    title = " ".join(title.replace("**", "").split())[:200].strip("\"' ")
    meta = {
        "label": f"{_EMOJI.get(kind, 'ℹ️')} **{label}**",
        "title": "" if title.casefold() in (label.casefold(), kind) else title,
        "is_warning": _EMOJI.get(kind) == "⚠️",
    }
    return Token("callout_open", "blockquote", 1, map=token.map, block=True, meta=meta)


def _end_callout() -> Token:
    return Token("callout_close", "blockquote", -1, block=True)


def _build_title(title: str, token: Token) -> list[Token]:
    words = " ".join(title.replace("**", "").split())
    return _build_paragraph(f"**{words}**", token) if words else []


def _build_paragraph(text: str, token: Token) -> list[Token]:
    inline = Token("inline", "", 0, content=text, map=token.map, children=[], block=True)
    return [
        Token("paragraph_open", "p", 1, map=token.map, block=True),
        inline,
        Token("paragraph_close", "p", -1, block=True),
    ]


def _is_indented_markdown(token: Token) -> bool:
    """Return whether an indented block holds a fence: its author indented Markdown, and meant no code."""
    return token.content.lstrip().startswith(("```", "~~~"))


def _render_shortcode(found: re.Match[str]) -> str:
    """Return what is shown of a shortcode inside a sentence: the target of a reference, else nothing."""
    named, words = _read_arguments(found[3])
    if found[2] in ("ref", "relref"):
        return named.get("path") or next(iter(words), "")
    if found[2] in ("kbd", "param", "button", "badge", "glossary_tooltip", "icon"):
        return named.get("text") or " ".join(words)
    return ""
