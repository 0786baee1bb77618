"""Readers of single values: each takes an item or None, reports what is wrong, and gives a value.

After a fault a reader gives its default, so that reading can go on and find the next fault.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from receiver.clock import parse_duration
from receiver.config.mistakes import find_quotes, is_bare_reference
from receiver.config.nodes import Item, List, Table, Text, describe, walk
from receiver.config.report import Report, quote, suggest
from receiver.config.severity_warnings import warn_of_unknown_words
from receiver.config.urls import find_url_mistake
from receiver.domain.matcher import Matcher, parse_matcher
from receiver.domain.severity import SeverityWords
from receiver.text import Secret, cut

MAX_DURATION_S = 10 * 365 * 86400.0
_CHANNEL = re.compile(r"#[^\s#@,:<>&]{1,80}|[CGD][A-Z0-9]{2,20}")
_RATE = re.compile(r"([1-9][0-9]{0,5})\s*/\s*([smh])")
_RATE_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
_KINDS = {Text: "a text", List: "a list", Table: "a table"}


def read_table(item: Item | None, report: Report, known: Sequence[str]) -> Table | None:
    """Return the table, with each key that isn't *known* reported; None for anything else."""
    table = read_any_table(item, report)
    for key in table.items if table else ():
        if table and key not in known:
            place = f" in {table.path}" if table.path else ""
            report.fault(table.lines[key], f"unknown key {quote(key)}{place}", suggest(key, known))
    return table


def read_any_table(item: Item | None, report: Report) -> Table | None:
    """Return a table whose keys are names of the user's own choice."""
    if item is None or isinstance(item, Table):
        return item
    _fault_kind(item, report, "a table")
    return None


def read_list(item: Item | None, report: Report) -> tuple[Item, ...]:
    """Return the members of a list."""
    if item is None:
        return ()
    if isinstance(item, List):
        return item.items
    _fault_kind(item, report, "a list")
    return ()


def read_text(item: Item | None, report: Report, default: str = "") -> str:
    """Return the text filled in; it may be empty."""
    if item is None:
        return default
    if isinstance(item, Text):
        return item.value
    _fault_kind(item, report, "a text")
    return default


def read_secret(item: Item | None, report: Report, default: str = "") -> Secret:
    """Return the text as a secret; one that can't have been meant (with blanks, in quotes) is a fault."""
    value = read_text(item, report, default)
    if isinstance(item, Text) and value:
        if re.search(r"\s", value):
            report.fault(item.line, f"{item.path} has blanks in it", "a token")
        _fault_mistake(item, report)
    return Secret(value)


def _fault_mistake(item: Text, report: Report) -> bool:
    """Report a value in quotes or a reference that isn't filled in; tell whether it is one.

    What the environment gives in place of a key that is left out is told of with its variable.
    """
    if item.is_stand_in:
        return False
    if mistake := find_quotes(item.value):
        report.fault(item.line, f"{item.path} {mistake[0]}", mistake[1])
        return True
    if is_bare_reference(item.value):
        is_written = item.value == item.written.strip()
        shown = f" {quote(item.written)}" if is_written else ""
        expected = f"${{{item.value.strip('$()%')}}}" if is_written else "the value itself"
        report.fault(item.line, f"{item.path}{shown} is not filled in, it is taken as it stands", expected)
        return True
    return False


def read_texts(item: Item | None, report: Report) -> tuple[tuple[str, Text], ...]:
    """Return the texts that aren't empty of a list, or of one text alone, each with its item."""
    found = []
    for member in walk(item):
        value = read_text(member, report)
        if isinstance(member, Text) and value:
            found.append((value, member))
    return tuple(found)


def read_duration(item: Item | None, report: Report, default: float, least: float = 0.0) -> float:
    """Return seconds, at least *least* and at most ten years."""
    if item is None:
        return default
    if not isinstance(item, Text):
        _fault_kind(item, report, "a duration like 30s, 5m or 1h30m")
        return default
    try:
        seconds = parse_duration(item.value)
    except (ValueError, OverflowError):
        report.fault(
            item.line,
            f"{describe(item)} is no duration",
            "one like 30s, 5m or 1h30m",
        )
        return default
    if not least <= seconds <= MAX_DURATION_S:
        bounds = f"at least {least:g}s" if seconds < least else "ten years at most"
        report.fault(item.line, f"{describe(item)} is out of bounds", bounds)
        return default
    return seconds


def read_count(item: Item | None, report: Report, default: int, least: int = 1) -> int:
    """Return a whole number from *least* to a million."""
    if item is None:
        return default
    text = item.value if isinstance(item, Text) else ""
    if re.fullmatch(r"[0-9]{1,7}", text, re.ASCII) and least <= int(text) <= 1_000_000:
        return int(text)
    report.fault(item.line, f"{describe(item)} is no such number", f"a whole number from {least} on")
    return default


def read_rate(item: Item | None, report: Report) -> tuple[int, float] | None:
    """Return `50/m` as (50, 60.0); None where it is left out or wrong."""
    if item is None:
        return None
    found = _RATE.fullmatch(item.value) if isinstance(item, Text) else None
    if found:
        return int(found[1]), _RATE_UNITS_S[found[2]]
    report.fault(item.line, f"{describe(item)} is no rate", "one like 1/s, 50/m or 1000/h")
    return None


def read_url(item: Item | None, report: Report, *, is_base: bool = False) -> str:
    """Return an http(s) address; empty means that it isn't configured.

    A base address gets paths put behind it, so it has no query and loses its last `/`. The
    address isn't quoted in a problem: some carry a password or are a secret by themselves.
    """
    value = read_text(item, report)
    if not isinstance(item, Text) or not value or _fault_mistake(item, report):
        return ""
    if mistake := find_url_mistake(value, is_base=is_base):
        report.fault(item.line, f"{item.path} {mistake[0]}", mistake[1])
        return ""
    return value.rstrip("/") if is_base else value


def read_channel(item: Item | None, report: Report) -> str:
    """Return a Slack channel, `#name` or an ID; empty where none is given."""
    value = read_text(item, report)
    if not isinstance(item, Text) or not value:
        return ""
    if not is_channel(value):
        expected = "#name or an ID (C…, G…, D…)"
        report.fault(item.line, f"{describe(item)} is no Slack channel", expected)
        return ""
    if value.startswith("#") and value != value.lower():
        report.warn(item.line, f"{describe(item)}: Slack knows channels in lower case only")
    return value


def is_channel(text: str) -> bool:
    """Tell whether *text* has the form of a Slack channel's name or ID."""
    return bool(_CHANNEL.fullmatch(text))


def read_matchers(item: Item | None, report: Report, severities: SeverityWords) -> tuple[Matcher, ...]:
    """Return the matchers of a list, or of one text alone; they read severities by *severities*."""
    found = (_read_matcher(member, report, severities) for member in walk(item))
    return tuple(matcher for matcher in found if matcher is not None)


def _read_matcher(item: Item, report: Report, severities: SeverityWords) -> Matcher | None:
    if not isinstance(item, Text):
        _fault_kind(item, report, """a matcher like 'severity="critical"'""")
        return None
    try:
        matcher = parse_matcher(item.value, severities)
    except (ValueError, RecursionError) as error:
        # The error quotes the filled-in text, which is only ours to show when it is the written one.
        reason = _reason(error) if item.value == item.written.strip() else ""
        what = f"{describe(item)} is no matcher{reason}"
        report.fault(item.line, what, """one like 'severity="critical"'""")
        return None
    warn_of_unknown_words(matcher, item, report, severities)
    return matcher


def _reason(error: Exception) -> str:
    cause = error.__cause__
    return f": {cut(str(cause), 80)}" if isinstance(cause, ValueError) else ""


def _fault_kind(item: Item, report: Report, expected: str) -> None:
    report.fault(item.line, f"{item.path or 'the file'} is {_KINDS[type(item)]}", expected)
