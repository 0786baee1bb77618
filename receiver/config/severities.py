"""A team's own words for severities in routing.yaml."""

from __future__ import annotations

from receiver.config.nodes import Table, Text, describe, walk
from receiver.config.report import Report
from receiver.config.values import read_table, read_text
from receiver.domain.alert import Severity
from receiver.domain.severity import BUILT_IN, MAX_WORD, SeverityWords, normalize_word

KEYS = tuple(str(severity) for severity in Severity)


def read_severities(root: Table, report: Report) -> SeverityWords:
    """Return the built-in words with those of `severities`; no word has two meanings."""
    table = read_table(root.find("severities"), report, KEYS)
    own: dict[str, tuple[Severity, Text]] = {}
    for key in KEYS if table else ():
        for item in walk(table.find(key) if table else None):
            text = read_text(item, report)
            if isinstance(item, Text):
                _add_word(own, text, Severity(key), item, report)
    return SeverityWords({word: severity for word, (severity, _) in own.items()})


def _add_word(
    own: dict[str, tuple[Severity, Text]], text: str, severity: Severity, item: Text, report: Report
) -> None:
    word = normalize_word(text)
    if not word or len(text) > MAX_WORD:
        what = f"{item.path} is empty" if not word else f"{item.path} is longer than {MAX_WORD} characters"
        report.fault(item.line, what, "a word as alerts have it")
        return
    built_in = BUILT_IN.get(word, severity)
    first, first_item = own.setdefault(word, (severity, item))
    if built_in is not severity:
        report.fault(item.line, f"{describe(item)} is built in as {built_in}", "another word")
    elif first is not severity:
        what = f"{describe(item)} is {first}, too (line {first_item.line})"
        report.fault(item.line, what, "each word once")
