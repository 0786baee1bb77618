"""Read single values of routing.yaml (texts, durations, URLs, matchers, …), and check routes' severities."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from receiver.clock import parse_duration
from receiver.config.mistakes import find_quotes, is_bare_reference
from receiver.config.urls import find_url_mistake
from receiver.config.yaml_tree import (
    Diagnostics,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    describe_node,
    iter_items,
    quote_text,
    suggest_choice,
)
from receiver.model.alert import LABEL, Severity, SeverityWords, describe_unknown_severity
from receiver.model.routing import Matcher, Route, find_route, parse_matcher
from receiver.text import Secret, truncate_text

# A regular expression that only lists words, like `critical|page`; what any other one matches is unknown.
_LISTED = re.compile(r"\(?((?:[\w-]+)(?:\|[\w-]*)*)\)?")
_CRITICAL = str(Severity.CRITICAL)


def warn_of_unknown_words(
    matcher: Matcher, node: ScalarNode, diagnostics: Diagnostics, severities: SeverityWords
) -> None:
    """Warn of severities in a matcher that are unknown words.

    Nothing is reported for values that come from `${…}`, since they may be secrets.
    """
    if matcher.name != LABEL or node.value != node.raw.strip():
        return
    for word in _list_words(matcher):
        if unknown := severities.find_unknown_word({LABEL: word}):
            expected = "a known one, or that word in `severities`"
            diagnostics.warning(
                node.line, f"{node.path} has the {describe_unknown_severity(unknown)}", expected
            )


def _list_words(matcher: Matcher) -> tuple[str, ...]:
    """Return the values that the matcher lists, if its form allows that."""
    if matcher.operator in ("=", "!="):
        return (matcher.value,)
    listed = _LISTED.fullmatch(matcher.value)
    return tuple(listed[1].split("|")) if listed else ()


def warn_of_unpaged_criticals(routes: Sequence[tuple[Route, int, str]], diagnostics: Diagnostics) -> None:
    """Warn of routes without escalation that critical alerts reach; *routes* come with line and path.

    Tried are `severity="critical"` alone, and with the labels of each route's `=` matchers.
    """
    found = [route for route, _, _ in routes]
    if all(route.escalation for route in found):
        return
    places = {route.name: (line, path) for route, line, path in routes}
    warned: set[str] = set()
    for labels, words in _list_criticals(routes):
        route = find_route(found, labels) or found[-1]
        if not route.escalation and route.name not in warned:
            warned.add(route.name)
            line, path = places[route.name]
            what = f'{path} takes severity="critical"{words} and has no escalation: nobody is paged'
            diagnostics.warning(line, what, "an escalation there, or a route for criticals before it")


def _list_criticals(routes: Sequence[tuple[Route, int, str]]) -> Iterator[tuple[dict[str, str], str]]:
    """Yield the label sets of critical alerts to try, each once, with a description of the added labels."""
    yield {LABEL: _CRITICAL}, ""
    tried = {frozenset[tuple[str, str]]()}
    for route, _, path in routes:
        pairs = frozenset((m.name, m.value) for m in route.matchers if m.operator == "=" and m.name != LABEL)
        if pairs not in tried:
            tried.add(pairs)
            yield {**dict(pairs), LABEL: _CRITICAL}, f" with the labels of {path}"


def covers_matcher(earlier: Matcher, later: Matcher) -> bool:
    """Tell whether *earlier* matches all that *later* matches (two severity matchers); False if unknown.

    What matches `severity="page"` is read as critical; what matches `severity="error"` matches warning, too.
    """
    return (
        later.operator == "="
        and earlier.operator in ("=", "=~")
        and later.value != ""
        and earlier.matches({LABEL: later.value})
    )


MAX_DURATION_S = 10 * 365 * 86400.0
_CHANNEL = re.compile(r"#[^\s#@,:<>&]{1,80}|[CGD][A-Z0-9]{2,20}")
_RATE = re.compile(r"([1-9][0-9]{0,5})\s*/\s*([smh])")
_RATE_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
_KINDS = {ScalarNode: "a text", SequenceNode: "a list", MappingNode: "a table"}


def read_table(node: Node | None, diagnostics: Diagnostics, known: Sequence[str]) -> MappingNode | None:
    """Return the table and report each key that isn't *known*; None for anything but a table."""
    table = read_any_table(node, diagnostics)
    for key in table.items if table else ():
        if table and key not in known:
            place = f" in {table.path}" if table.path else ""
            diagnostics.error(
                table.lines[key], f"unknown key {quote_text(key)}{place}", suggest_choice(key, known)
            )
    return table


def read_any_table(node: Node | None, diagnostics: Diagnostics) -> MappingNode | None:
    """Return a table whose keys are names that the user chooses."""
    if node is None or isinstance(node, MappingNode):
        return node
    _report_wrong_kind(node, diagnostics, "a table")
    return None


def read_list(node: Node | None, diagnostics: Diagnostics) -> tuple[Node, ...]:
    """Return the members of a list."""
    if node is None:
        return ()
    if isinstance(node, SequenceNode):
        return node.items
    _report_wrong_kind(node, diagnostics, "a list")
    return ()


def read_text(node: Node | None, diagnostics: Diagnostics, default: str = "") -> str:
    """Return the expanded text; it may be empty."""
    if node is None:
        return default
    if isinstance(node, ScalarNode):
        return node.value
    _report_wrong_kind(node, diagnostics, "a text")
    return default


def read_secret(node: Node | None, diagnostics: Diagnostics, default: str = "") -> Secret:
    """Return the text as a secret; one that contains blanks or is in quotes is a fault."""
    value = read_text(node, diagnostics, default)
    if isinstance(node, ScalarNode) and value:
        if re.search(r"\s", value):
            diagnostics.error(node.line, f"{node.path} has blanks in it", "a token")
        _report_mistake(node, diagnostics)
    return Secret(value)


def _report_mistake(node: ScalarNode, diagnostics: Diagnostics) -> bool:
    """Report a value in quotes or an unexpanded reference; tell whether it is one.

    A default from the environment is reported with its variable instead.
    """
    if node.is_from_environment:
        return False
    if mistake := find_quotes(node.value):
        diagnostics.error(node.line, f"{node.path} {mistake[0]}", mistake[1])
        return True
    if is_bare_reference(node.value):
        is_written = node.value == node.raw.strip()
        shown = f" {quote_text(node.raw)}" if is_written else ""
        expected = f"${{{node.value.strip('$()%')}}}" if is_written else "the value itself"
        diagnostics.error(
            node.line, f"{node.path}{shown} is not filled in, it is taken as it stands", expected
        )
        return True
    return False


def read_texts(node: Node | None, diagnostics: Diagnostics) -> tuple[tuple[str, ScalarNode], ...]:
    """Return the non-empty texts of a list, or of a single text, each with its node."""
    found = []
    for member in iter_items(node):
        value = read_text(member, diagnostics)
        if isinstance(member, ScalarNode) and value:
            found.append((value, member))
    return tuple(found)


def read_duration(node: Node | None, diagnostics: Diagnostics, default: float, least: float = 0.0) -> float:
    """Return seconds, from *least* to ten years."""
    if node is None:
        return default
    if not isinstance(node, ScalarNode):
        _report_wrong_kind(node, diagnostics, "a duration like 30s, 5m or 1h30m")
        return default
    try:
        seconds = parse_duration(node.value)
    except (ValueError, OverflowError):
        diagnostics.error(
            node.line,
            f"{describe_node(node)} is no duration",
            "one like 30s, 5m or 1h30m",
        )
        return default
    if not least <= seconds <= MAX_DURATION_S:
        bounds = f"at least {least:g}s" if seconds < least else "ten years at most"
        diagnostics.error(node.line, f"{describe_node(node)} is out of bounds", bounds)
        return default
    return seconds


def read_count(node: Node | None, diagnostics: Diagnostics, default: int, least: int = 1) -> int:
    """Return an integer from *least* to a million."""
    if node is None:
        return default
    text = node.value if isinstance(node, ScalarNode) else ""
    if re.fullmatch(r"[0-9]{1,7}", text, re.ASCII) and least <= int(text) <= 1_000_000:
        return int(text)
    diagnostics.error(
        node.line, f"{describe_node(node)} is no such number", f"a whole number from {least} on"
    )
    return default


def read_rate(node: Node | None, diagnostics: Diagnostics) -> tuple[int, float] | None:
    """Return `50/m` as (50, 60.0); None if it is absent or wrong."""
    if node is None:
        return None
    found = _RATE.fullmatch(node.value) if isinstance(node, ScalarNode) else None
    if found:
        return int(found[1]), _RATE_UNITS_S[found[2]]
    diagnostics.error(node.line, f"{describe_node(node)} is no rate", "one like 1/s, 50/m or 1000/h")
    return None


def read_url(node: Node | None, diagnostics: Diagnostics, *, is_base: bool = False) -> str:
    """Return an http(s) URL; empty if it isn't configured.

    Paths are appended to a base URL, so it may have no query and loses its trailing `/`. Problems do not
    quote the URL: some contain a password or are a secret themselves.
    """
    value = read_text(node, diagnostics)
    if not isinstance(node, ScalarNode) or not value or _report_mistake(node, diagnostics):
        return ""
    if mistake := find_url_mistake(value, is_base=is_base):
        diagnostics.error(node.line, f"{node.path} {mistake[0]}", mistake[1])
        return ""
    return value.rstrip("/") if is_base else value


def read_channel(node: Node | None, diagnostics: Diagnostics) -> str:
    """Return a Slack channel, `#name` or an ID; empty if none is given."""
    value = read_text(node, diagnostics)
    if not isinstance(node, ScalarNode) or not value:
        return ""
    if not is_channel(value):
        expected = "#name or an ID (C…, G…, D…)"
        diagnostics.error(node.line, f"{describe_node(node)} is no Slack channel", expected)
        return ""
    if value.startswith("#") and value != value.lower():
        diagnostics.warning(node.line, f"{describe_node(node)}: Slack knows channels in lower case only")
    return value


def is_channel(text: str) -> bool:
    """Tell whether *text* has the form of a Slack channel's name or ID."""
    return bool(_CHANNEL.fullmatch(text))


def read_matchers(
    node: Node | None, diagnostics: Diagnostics, severities: SeverityWords
) -> tuple[Matcher, ...]:
    """Return the matchers of a list, or of a single text; they interpret severities by *severities*."""
    found = (_read_matcher(member, diagnostics, severities) for member in iter_items(node))
    return tuple(matcher for matcher in found if matcher is not None)


def _read_matcher(node: Node, diagnostics: Diagnostics, severities: SeverityWords) -> Matcher | None:
    if not isinstance(node, ScalarNode):
        _report_wrong_kind(node, diagnostics, """a matcher like 'severity="critical"'""")
        return None
    try:
        matcher = parse_matcher(node.value, severities)
    except (ValueError, RecursionError) as error:
        # The error quotes the expanded text; show it only if it equals the text in the file.
        reason = _describe_reason(error) if node.value == node.raw.strip() else ""
        what = f"{describe_node(node)} is no matcher{reason}"
        diagnostics.error(node.line, what, """one like 'severity="critical"'""")
        return None
    warn_of_unknown_words(matcher, node, diagnostics, severities)
    return matcher


def _describe_reason(error: Exception) -> str:
    cause = error.__cause__
    return f": {truncate_text(str(cause), 80)}" if isinstance(cause, ValueError) else ""


def _report_wrong_kind(node: Node, diagnostics: Diagnostics, expected: str) -> None:
    diagnostics.error(node.line, f"{node.path or 'the file'} is {_KINDS[type(node)]}", expected)
