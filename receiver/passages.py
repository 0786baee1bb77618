"""The text of annotations: prose, and code fences, whose blanks and line ends count."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from receiver.text import clean_text, truncate_text


@dataclass(frozen=True, slots=True)
class Passage:
    """Some lines of prose, or the lines within a code fence."""

    text: str
    is_fence: bool = False


FENCE = "```"
_FENCE_CHARACTERS = len(f"{FENCE}\n\n{FENCE}")
# https://spec.commonmark.org/0.31.2/#fenced-code-blocks
_OPENING = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*([^`]*)")
_LANGUAGE = re.compile(r"[\w+#.-]*|\{.*\}|[\w+#.-]+\s.*[={].*")
# Slack opens and closes a code block anywhere in a line, so senders do, too.
_OPENED_LATE = re.compile(r"(.*?[^`])`{3}([^`]*)")
_CLOSED_LATE = re.compile(r"(.*[^`])`{3}\s*")
_CLOSED_EARLY = re.compile(r"[ \t]*`{3}[ \t]+([^`]+)")


def split_passages(text: str) -> list[Passage]:
    """Return *text* as passages of prose and of code, without the marks of the fences.

    A fence that is not closed ends with the text. Prose keeps its backticks, see `split_code`.
    """
    lines = clean_text(text).split("\n")
    passages: list[Passage] = []
    prose: list[str] = []
    number = 0
    last = max((n for n, line in enumerate(lines) if FENCE in line), default=-1)
    while number < len(lines):
        line = lines[number]
        opening, late = _OPENING.fullmatch(line), None
        if opening is None and number < last and FENCE in line:
            late = _OPENED_LATE.fullmatch(line) if line.count(FENCE) % 2 else None
        if opening is None and late is None:
            prose.append(line)
            number += 1
            continue
        indent, mark, first = (0, FENCE, "")
        if opening is not None:
            indent, mark = len(opening[1]), opening[2]
            first = "" if _LANGUAGE.fullmatch(opening[3].strip()) else opening[3]
        elif late is not None:
            prose.append(late[1])
            first = late[2]
        passages += _build_passages(prose, is_fence=False)
        prose = []
        code, number = _read_code(lines, number + 1, mark, indent)
        passages += _build_passages([first, *code] if first.strip() else code, is_fence=True)
    return [*passages, *_build_passages(prose, is_fence=False)]


def _read_code(lines: list[str], number: int, mark: str, indent: int) -> tuple[list[str], int]:
    """Return the lines of the code that begins in line *number*, and the number of the line behind it."""
    closing = re.compile(rf"[ \t]*{mark[0]}{{{len(mark)},}}[ \t]*")
    code: list[str] = []
    for n in range(number, len(lines)):
        line = lines[n]
        if closing.fullmatch(line):
            return code, n + 1
        if mark == FENCE and (early := _CLOSED_EARLY.fullmatch(line)) is not None:
            lines[n] = early[1]
            return code, n
        line = line[min(indent, len(line) - len(line.lstrip(" \t"))) :]
        if mark == FENCE and (late := _CLOSED_LATE.fullmatch(line)) and late[1].count(FENCE) % 2 == 0:
            return [*code, late[1]], n + 1
        code.append(line)
    return code, len(lines)


def _build_passages(lines: Sequence[str], *, is_fence: bool) -> Iterator[Passage]:
    text = "\n".join(lines)
    if text.strip():
        yield Passage(re.sub(r"\A(?:[ \t]*\n)+", "", text).rstrip(), is_fence)


def cut_passages(passages: Sequence[Passage], limit: int) -> list[Passage]:
    """Return *passages* in at most *limit* characters, the marks of the fences included.

    Code is cut by whole lines, and leaves some room to the prose behind it.
    """
    shown: list[Passage] = []
    for number, passage in enumerate(passages):
        room = limit - len("\n")
        if passage.is_fence:
            behind = sum(len(later.text) + 1 for later in passages[number + 1 :] if not later.is_fence)
            room -= min(behind, limit // 3) + _FENCE_CHARACTERS
        text = (_cut_code if passage.is_fence else truncate_text)(passage.text, room)
        if text:
            shown.append(Passage(text, passage.is_fence))
            limit -= len(text) + 1 + (_FENCE_CHARACTERS if passage.is_fence else 0)
        if text != passage.text and not passage.is_fence:
            break
    return shown


def _cut_code(text: str, room: int) -> str:
    """Return the first lines of *text* and how many are left out; of a single line what fits."""
    if len(text) <= room:
        return text
    lines = text.split("\n")
    room -= len(f"\n… {len(lines)} more lines")
    shown: list[str] = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        shown.append(line)
    if not shown and room + len(lines[0]) > 20:
        shown.append(truncate_text(lines[0], room + len(lines[0])))
    rest = len(lines) - len(shown)
    if not shown or not rest:
        return "\n".join(shown)
    return "\n".join([*shown, f"… {rest} more line{'s' if rest > 1 else ''}"])


def format_passages(passages: Sequence[Passage]) -> str:
    """Return *passages* as text, with every fence closed."""
    return "\n".join(_format_fence(one.text) if one.is_fence else one.text for one in passages)


def _format_fence(code: str) -> str:
    mark = "~~~" if FENCE in code else FENCE
    return f"{mark}\n{code}\n{mark}"


def cut_text(text: str, limit: int) -> str:
    """Return *text* in at most *limit* characters; a code fence is cut by whole lines and closed."""
    if FENCE not in text and "~~~" not in text:
        return truncate_text(clean_text(text), limit)
    return format_passages(cut_passages(split_passages(text), limit))


def split_code(line: str) -> Iterator[tuple[str, bool]]:
    """Yield a *line* of prose in pieces, and whether each is a code span; none contains a backtick.

    A span ends with as many backticks as it began: https://spec.commonmark.org/0.31.2/#code-spans. Where
    they have no partner, and within a span, backticks are replaced by quotes.
    """
    runs = [(found.start(), found.end()) for found in re.finditer("`+", line)]
    partners: dict[int, int] = {}
    next_of_length: dict[int, int] = {}
    for number in range(len(runs) - 1, -1, -1):
        length = runs[number][1] - runs[number][0]
        if length in next_of_length:
            partners[number] = next_of_length[length]
        next_of_length[length] = number
    since = number = 0
    while number < len(runs):
        partner = partners.get(number)
        inner = line[runs[number][1] : runs[partner][0]] if partner is not None else ""
        if partner is None or not inner.strip():
            number += 1
            continue
        if runs[number][0] > since:
            yield line[since : runs[number][0]].replace("`", "'"), False
        yield inner.replace("`", "'").strip(), True
        since, number = runs[partner][1], partner + 1
    if since < len(line):
        yield line[since:].replace("`", "'"), False


def balance_backticks(line: str) -> str:
    """Return *line* with single backticks around each code span, and no other backticks."""
    if "`" not in line:
        return line
    return "".join(f"`{piece}`" if is_code else piece for piece, is_code in split_code(line))
