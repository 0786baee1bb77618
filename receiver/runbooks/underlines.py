"""Headings that CommonMark does not know: underlined as in reStructuredText, and `##Name` without a blank."""

from __future__ import annotations

import re

_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
# `=` and `-` below a line are Markdown's own; with a line above, too, they are not.
_UNDERLINE = re.compile(r"([~^\"'*+#=-])\1{3,}\s*")
_TITLE = re.compile(r"[^\s>|#<].*")
_GLUED = re.compile(r"(#{2,6})(?=[^\W\d_]|`)")


def mark_headings(text: str) -> str:
    """Return *text* with such headings as `## Name`. The number of lines stays."""
    lines = text.split("\n")
    levels: dict[str, int] = {}
    fence = ""
    for number, line in enumerate(lines):
        if fence:
            fence = "" if re.fullmatch(rf" {{0,3}}{fence}{fence[0]}*\s*", line) else fence
        elif style := _find_style(lines, number):
            is_overlined = len(style) > 1
            level = 1 if is_overlined else levels.setdefault(style, min(6, 3 + len(levels)))
            lines[number - 1] = f"{'#' * level} {lines[number - 1].strip()}"
            lines[number] = ""
            if is_overlined:
                lines[number - 2] = ""
        elif found := _FENCE.match(line):
            fence = found[1]
        elif not number or not lines[number - 1].strip():
            lines[number] = _GLUED.sub(r"\1 ", line, count=1) if line.startswith("##") else line
    return "\n".join(lines)


def _find_style(lines: list[str], number: int) -> str:
    """Return the character below the title that line *number* underlines, twice where one is above, too."""
    underline = _UNDERLINE.fullmatch(lines[number])
    title = lines[number - 1].rstrip() if number else ""
    if underline is None or not _TITLE.fullmatch(title.strip()) or _UNDERLINE.fullmatch(title):
        return ""
    if len(lines[number].rstrip()) < len(title) or any(
        line.strip() for line in lines[number + 1 : number + 2]
    ):
        return ""
    above = lines[number - 2].rstrip() if number > 1 else ""
    if above == lines[number].rstrip():
        return underline[1] * 2
    is_title = not above and not title.startswith(" ") and underline[1] not in "=-"
    return underline[1] if is_title else ""
