"""Alertmanager's matchers: label =, !=, =~ or !~ a value; ours read the words of a severity, too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from receiver.domain.alert import Severity
from receiver.domain.severity import LABEL, SeverityWords
from receiver.regexes import MatchFunction, compile_full_match

_QUOTED = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_BARE_NAME = re.compile(r'[^\s"{}=!~,\\]++')
_OPERATOR = re.compile(r"\s*+(=~|!~|!=|=)")
# Without quotes these would become part of the value, so that nothing ever matches: `severity == critical`,
# `severity='critical'`, and two matchers in one text, `severity=critical,team=db`.
_NO_VALUE = tuple("=~!<>'‘’“”")
_NEXT_MATCHER = re.compile(r",\s*+[^\s{}=!~,]++\s*+(?:=~|!~|!=|=)")
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


@dataclass(frozen=True)
class Matcher:
    """One test of one label; a label that is missing counts as empty, as in Alertmanager.

    With *severities*, `severity` is tested as it was sent and as it is read: `=` and `=~` fit when one of
    the two fits, `!=` and `!~` only when both do. What fits `warning` by `=` or `=~` fits error, too.
    """

    name: str
    operator: str
    value: str
    _is_match: MatchFunction | None = field(default=None, compare=False, repr=False)
    _severities: SeverityWords | None = field(default=None, compare=False, repr=False)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether *labels* pass; a regular expression must fit the whole value."""
        actual = labels.get(self.name, "")
        read = self._severities.find_severity(actual) if self._severities is not None else None
        if read is None:
            return self._fits(actual)
        if self.operator in ("!=", "!~"):
            return self._fits(actual) and self._fits(read)
        return (
            self._fits(actual)
            or self._fits(read)
            or (read is Severity.ERROR and self._fits(Severity.WARNING))
        )

    def _fits(self, actual: str) -> bool:
        if self._is_match is not None:
            return self._is_match(actual) == (self.operator == "=~")
        return (actual == self.value) == (self.operator == "=")

    def __str__(self) -> str:
        value = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.operator}"{value}"'


def parse_matcher(text: str, severities: SeverityWords | None = None) -> Matcher:
    """Return the matcher written in *text*, e.g. `severity=~"critical|page"`.

    One of ours reads severities by *severities*; without them it tests labels as Alertmanager does.
    Raises ValueError with a sentence that says what is wrong.
    """
    parts = _split(text)
    if parts is None:
        raise ValueError(f'{text!r} is no matcher like severity="critical"')
    name, operator, value = parts
    is_match = None
    if operator in ("=~", "!~"):
        try:
            is_match = compile_full_match(value)
        except ValueError as error:
            raise ValueError(f"{text!r} has a regular expression that can't be read: {error}") from error
    return Matcher(name, operator, value, is_match, severities if name == LABEL else None)


def _split(text: str) -> tuple[str, str, str] | None:
    """Return name, operator and value; None where *text* is no matcher. Each character is read once."""
    text = text.strip()
    name = (_QUOTED if text.startswith('"') else _BARE_NAME).match(text)
    operator = _OPERATOR.match(text, name.end()) if name is not None else None
    if name is None or operator is None:
        return None
    value = text[operator.end() :].strip()
    if value.startswith('"'):
        is_value = _QUOTED.fullmatch(value) is not None
    else:
        is_value = '"' not in value and not value.startswith(_NO_VALUE) and not _NEXT_MATCHER.search(value)
    return (_unquote(name[0]), operator[1], _unquote(value)) if is_value else None


def _unquote(text: str) -> str:
    if not text.startswith('"'):
        return text
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), text[1:-1], flags=re.DOTALL)
