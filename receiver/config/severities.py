"""A team's own words for severities in routing.yaml."""

from __future__ import annotations

from receiver.config.nodes import MappingNode, ScalarNode, describe_node, iter_items
from receiver.config.report import Diagnostics
from receiver.config.values import read_table, read_text
from receiver.model.alert import BUILT_IN, MAX_WORD, Severity, SeverityWords, normalize_word

KEYS = tuple(str(severity) for severity in Severity)


def read_severities(root: MappingNode, diagnostics: Diagnostics) -> SeverityWords:
    """Return the built-in words with those of `severities`; no word has two meanings."""
    table = read_table(root.find_node("severities"), diagnostics, KEYS)
    own: dict[str, tuple[Severity, ScalarNode]] = {}
    for key in KEYS if table else ():
        for node in iter_items(table.find_node(key) if table else None):
            text = read_text(node, diagnostics)
            if isinstance(node, ScalarNode):
                _add_word(own, text, Severity(key), node, diagnostics)
    return SeverityWords({word: severity for word, (severity, _) in own.items()})


def _add_word(
    own: dict[str, tuple[Severity, ScalarNode]],
    text: str,
    severity: Severity,
    node: ScalarNode,
    diagnostics: Diagnostics,
) -> None:
    word = normalize_word(text)
    if not word or len(text) > MAX_WORD:
        what = f"{node.path} is empty" if not word else f"{node.path} is longer than {MAX_WORD} characters"
        diagnostics.error(node.line, what, "a word as alerts have it")
        return
    built_in = BUILT_IN.get(word, severity)
    first, first_item = own.setdefault(word, (severity, node))
    if built_in is not severity:
        diagnostics.error(node.line, f"{describe_node(node)} is built in as {built_in}", "another word")
    elif first is not severity:
        what = f"{describe_node(node)} is {first}, too (line {first_item.line})"
        diagnostics.error(node.line, what, "each word once")
