"""The names that a heading or a file may have for an alert, and how names are compared.

Two names are the same if their letters and digits are: case, blanks, punctuation, quotes, emoji and Markdown
do not count, whatever the script. A heading has more than one name: `3. Alert: DiskFull (critical)` is also
called `DiskFull`. A name that another one merely contains is not the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import heappop, heappush
from html import unescape
from itertools import count, zip_longest
from unicodedata import category, combining, normalize

from receiver.model.alert import BUILT_IN_WORDS
from receiver.text import one_line

# A longer text is no name.
MAX_TEXT_CHARS = 500
# What a decorated heading may yield at most: `A / B / C (critical) - remark` is read in several ways.
MAX_NAMES = 40

# Of two headings that match, the one with the lower cost is used.
SEVERAL_COST = 10
ANCHOR_COST = 15
REMARK_COST = 20
LABEL_COST = 40

_HTML_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_IMAGE = re.compile(r"!\[[^\[\]]*\](?:\([^()]*\)|\[[^\[\]]*\])")
_LINK = re.compile(r"\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])")
_FOOTNOTE = re.compile(r"\[\^[^\[\]]*\]")
# `{#anchor}`, `{: .class}`, `{ #anchor .class key=value }`, MDX's `{/* #anchor */}`; `{{< shortcode >}}`
_ATTRIBUTES = re.compile(r"\{(?:/\*)?\s*:?\s*(?:[#.][^{}]*|[\w-]+=[^{}]*)\}|\{\{.*?\}\}")
_ESCAPE = re.compile(r"\\([^\w\s])")
_ANCHORS = re.compile(
    r"""<[A-Za-z][^<>]*?\s(?:name|id)\s*=\s*["']?([^"'\s<>]+)|\{(?:/\*)?\s*:?\s*(?:[^{}]*\s)?#([^\s{}*]+)"""
)


def read_anchors(title: str) -> list[str]:
    """Return the anchors in the Markdown of a heading: `{#disk}`, `<a name="disk">`, `<h2 id=disk>`."""
    return [name or braced for name, braced in _ANCHORS.findall(title[:MAX_TEXT_CHARS])]


def clean_title(title: str) -> str:
    """Return the Markdown or HTML of a heading as its bare text on one line."""
    text = title[: 4 * MAX_TEXT_CHARS]
    for pattern in (_HTML_COMMENT, _IMAGE, _FOOTNOTE, _ATTRIBUTES):
        text = pattern.sub(" ", text)
    text = unescape(_TAG.sub("", _LINK.sub(r"\1", _LINK.sub(r"\1", text))))
    return one_line(_ESCAPE.sub(r"\1", text), MAX_TEXT_CHARS)


# 1,000 is 1000, but 1.5 is not 15: something stays between two digits.
_THOUSANDS = re.compile(r"(?<=\d)[,'’_\u00a0\u2009\u202f](?=\d{3}(?!\d))")
_NUMBER_BREAK = re.compile(r"(?<=\d)\x00+(?=\d)")


@lru_cache(maxsize=8192)
def fold_name(text: str) -> str:
    """Return what *text*, without markup, is compared by: its letters, marks and digits in one form.

    A text without any of them, such as an emoji, is compared as it is.
    """
    kept = ["\x00"]
    for char in _fold_case(_THOUSANDS.sub("", text[:MAX_TEXT_CHARS])):
        # Letters and numbers, and the marks of a script, but not those of an emoji or without a letter.
        kind = category(char)
        is_mark = kind in ("Mn", "Mc") and kept[-1] != "\x00" and not "\ufe00" <= char <= "\ufe0f"
        kept.append(char if kind[0] in "LN" or is_mark else "\x00")
    key = _NUMBER_BREAK.sub(".", "".join(kept)).replace("\x00", "")
    return normalize("NFKC", key) or "".join(text.split())


def _fold_case(text: str) -> str:
    # Twice: what folding makes may need it again, https://www.unicode.org/reports/tr44/#NFKC_Casefold
    once = normalize("NFKC", normalize("NFD", text).casefold())
    return normalize("NFKC", once.casefold())


@lru_cache(maxsize=8192)
def drop_accents(key: str) -> str:
    """Return a folded name without the accents of Latin and Greek letters, as names of files often are."""
    if key.isascii():
        return key
    bare: list[str] = []
    for char in normalize("NFD", key.replace("ı", "i")):
        if not (combining(char) and bare and (bare[-1].isascii() or "\u0370" <= bare[-1] <= "\u03ff")):
            bare.append(char)
    return normalize("NFC", "".join(bare))


_ARROW = re.compile(r"[-=~]+>|<[-=~]+>?")
_COMPARISONS = str.maketrans("≤⩽≥⩾＜＞", "<<>><>")


def contradicts(one: str, other: str) -> bool:
    """Return whether two names compare in opposite directions: `CPU < 5 %` and `CPU > 5 %`."""
    signs = [re.findall("[<>]", _ARROW.sub("", text.translate(_COMPARISONS))) for text in (one, other)]
    return all(signs) and signs[0] != signs[1]


@dataclass(frozen=True)
class Name:
    """A name of a heading or file. *cost* is 0 for the whole text; *steps* say what was left out."""

    text: str
    cost: int = 0
    steps: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return fold_name(self.text)


def list_names(text: str, *, is_alert: bool = False) -> list[Name]:
    """Return the names in *text*, a heading without markup: the whole first, each once.

    Left out are a number, `:emoji:`, the words for alert and runbook, a severity, a remark in brackets, a
    remark after a dash or colon; a heading may have several names. The name of an alert (*is_alert*) keeps
    its remarks, and is one name.
    """
    names: dict[str, Name] = {}
    order = count()
    queue = [(0, next(order), Name(text[:MAX_TEXT_CHARS].strip()))]
    while queue and len(names) < MAX_NAMES:
        _, _, name = heappop(queue)
        if not name.key or name.key in names:
            continue
        names[name.key] = name
        if name.text.isascii() and name.text.isalnum():
            continue  # a single word: nothing to leave out
        for cost, step, rest in _leave_out(name.text):
            if cost < SEVERAL_COST or not is_alert:
                steps = name.steps if step in name.steps else (*name.steps, step)
                shorter = Name(rest.strip(_AROUND), name.cost + cost, steps)
                heappush(queue, (shorter.cost, next(order), shorter))
    return list(names.values())


_AROUND = " \t*_~`'\"“”„‟‘’«»:：-–—.,;|"
_TOKEN = re.compile(r"[^\W_]+")
# The words around the name of an alert, in the languages in which teams write runbooks.
_ALERT_WORDS = """
    alert alerts alarm alarms alertname runbook runbooks playbook playbooks procedure procedures sop
    meldung warnmeldung warnung alarmname handbuch anleitung alerte alertes alarme procédure manuel
    alerta alertas alarma alarmas procedimiento procedimento manual allarme avviso procedura
    алерт оповещение тревога предупреждение ранбук инструкция регламент руководство
    告警 警报 警報 报警 報警 告警名称 警报名称 报警名称 告警名 告警规则 告警项 手册 手冊 运维手册 处理手册
    应急手册 操作手册 排障手册 预案 应急预案 處理手冊 處理流程 处理流程
    アラート アラート名 アラーム 警告 ランブック プレイブック 手順書 手順 対応 対応手順 対応手順書
    알림 알람 경보 경고 런북 플레이북 대응 절차 매뉴얼
"""
_WORDS = frozenset(_ALERT_WORDS.split())
# Only beside one of them: `Incident runbook: X`, `X alert response playbook`, `Runbook for X`.
_MORE_WORDS = """
    incident response name rule for of the on für fur zum zur pour de do da du del la le para по для на
"""
_BESIDE = frozenset(_MORE_WORDS.split())
# Chinese, Japanese and Korean are written without blanks.
_GLUED = re.compile(
    r"(?<=..)(?:告警|警报|警報|报警|報警|アラート|手册|手冊|预案|手順書|手順|ランブック|알림|경보)+\W*$"
)
_NUMBERING = re.compile(
    r"^\W*?(?:第\s*[0-9]+\s*[章节節]|[0-9]+(?:\.[0-9]+)+[.)]?(?=\s)"
    r"|[0-9]+(?:\s*[.．)）\]:：、]|\ufe0f?\u20e3|\s[-–—]\s)|[(（\[#§]\s?[0-9]+[)）\]]?(?=\W)|[①-⑳]"
    r"|第?[一二三四五六七八九十]+[、.．章]|[IVX]{1,5}[.)]\s|[A-Za-z][.)]\s)\W*(?P<rest>.*[^\W_].*)$"
)
_SHORTCODE = re.compile(r"(?<![^\W_]):[a-z0-9_+-]+:(?![^\W_])")
_DASH = re.compile(r"\s+(?:[-–—―−~|·•»→]+|-+>|::)\s+|\s*[—―]+\s*|[:：](?=\s)|：|\s-(?=\S)|(?<=\S)-\s")
_SEVERITY = re.compile(r"(?:p|s|sev|sev[ -]|severity[ -]?|prio[ -]?|level[ -]?)\d", re.IGNORECASE)
# Between names that may be sentences, and between single words.
_HARD = re.compile(r"\s+[/／|]\s+|\s*[;；、／]\s*")
_SOFT = re.compile(
    r"\s*(?:[,，、;；/／&+|]|(?<!\S)(?:and|or|und|oder|et|ou|y|o|e|и|или|と|和|与|及|및|와|과)(?!\S))\s*",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"([`'\"])[^`'\"]+\1|[“„«][^”“»]+[”“»]")
_OPENING = dict(zip(")）]】}」』>＞〕》", "(（[【{「『<＜〔《", strict=True))
_MAX_REMARKS = 6


def _leave_out(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (cost, what is left out, the rest) for every way of shortening *text* by one step."""
    if (rest := _SHORTCODE.sub(" ", text)) != text:
        yield 1, "without its :emoji:", rest
    if found := _NUMBERING.match(text):
        yield 1, "without its number", found["rest"]
    yield from ((1, "without the word for alert or runbook", rest) for rest in _drop_words(text))
    yield from ((1, "without the remark in brackets", rest) for rest in _drop_brackets(text))
    yield from _drop_remarks(text)
    for pieces in (_HARD.split(text), _split_words(text)):
        if len(pieces) > 1:
            yield from ((SEVERAL_COST, "as one of several names", piece) for piece in pieces)


def _drop_words(text: str) -> Iterator[str]:
    """Yield *text* without the words like alert and runbook at its start, and without those at its end."""
    tokens = list(_TOKEN.finditer(text))
    words = [_fold_case(token[0]) for token in tokens]
    if 0 < (first := _count_words(words)) < len(words):
        yield text[tokens[first].start() :]
    if 0 < (last := _count_words(words[::-1])) < len(words):
        yield text[: tokens[-last].start()].rstrip(" " + "".join(_OPENING.values()))
    if (rest := _GLUED.sub("", text)) != text:
        yield rest


def _count_words(words: Sequence[str]) -> int:
    """Return how many of the first words are ones like alert and runbook, or go with them."""
    found = 0
    for word, following in zip_longest(words, words[1:]):
        is_beside = word in _BESIDE and (found or (word == "incident" and following in _WORDS))
        if not (word in _WORDS or is_beside):
            break
        found += 1
    return found


def _drop_brackets(text: str) -> Iterator[str]:
    """Yield *text* without the brackets at its end, and without those at its start."""
    bare = text.rstrip(" .:：*_")
    if opening := _OPENING.get(bare[-1:]):
        depth = 0
        for place in range(len(bare) - 1, 0, -1):
            depth += (bare[place] == bare[-1]) - (bare[place] == opening)
            if not depth:
                yield bare[:place]
                break
    for closing, opening in _OPENING.items():
        if text.startswith(opening) and closing in text:
            yield text.partition(closing)[2]


def _drop_remarks(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield *text* up to each dash or colon; a severity before or after one is no remark but decoration."""
    for _, found in zip(range(_MAX_REMARKS), _DASH.finditer(text), strict=False):
        before, after = text[: found.start()], text[found.end() :]
        words = _fold_case(before).split()
        if _is_severity(before):
            yield 1, "without its severity", after
        elif _is_severity(after):
            yield 1, "without its severity", before
        elif _count_words(words) < len(words):
            yield REMARK_COST, "without the remark after it", before


def _is_severity(text: str) -> bool:
    word = text.strip(" *_[]()【】").casefold()
    return bool(_SEVERITY.fullmatch(word)) or BUILT_IN_WORDS.find_severity(word) is not None


def _split_words(text: str) -> list[str]:
    """Return the names in `A, B and C` if each is a word or quoted: a sentence may have commas, too."""
    pieces = [piece for piece in _SOFT.split(text) if piece]
    return pieces if all(len(piece.split()) == 1 or _QUOTED.fullmatch(piece) for piece in pieces) else []
