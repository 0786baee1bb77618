"""What is odd about how the matchers of routing.yaml read severities; only ever warnings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from receiver.config.nodes import ScalarNode
from receiver.config.report import Diagnostics
from receiver.model.alert import LABEL, Severity, SeverityWords, describe_unknown_severity
from receiver.model.routing import Matcher, Route, find_route

# Words that a regular expression lists, like `critical|page`; of any other it can't be told what it fits.
_LISTED = re.compile(r"\(?((?:[\w-]+)(?:\|[\w-]*)*)\)?")
_CRITICAL = str(Severity.CRITICAL)


def warn_of_unknown_words(
    matcher: Matcher, node: ScalarNode, diagnostics: Diagnostics, severities: SeverityWords
) -> None:
    """Warn of severities that a matcher names and that are no words we know.

    Nothing is said of what `${…}` filled in, since that may be a secret.
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
    """Return the values that the matcher names, as far as that can be told."""
    if matcher.operator in ("=", "!="):
        return (matcher.value,)
    listed = _LISTED.fullmatch(matcher.value)
    return tuple(listed[1].split("|")) if listed else ()


def warn_of_unpaged_criticals(routes: Sequence[tuple[Route, int, str]], diagnostics: Diagnostics) -> None:
    """Warn of routes without escalation that take a critical; *routes* are with their line and path.

    Tried are `severity="critical"` alone, and with the labels that each route's `=` matchers name.
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
    """Yield the labels of criticals to try, each once, with what was added in words."""
    yield {LABEL: _CRITICAL}, ""
    tried = {frozenset[tuple[str, str]]()}
    for route, _, path in routes:
        pairs = frozenset((m.name, m.value) for m in route.matchers if m.operator == "=" and m.name != LABEL)
        if pairs not in tried:
            tried.add(pairs)
            yield {**dict(pairs), LABEL: _CRITICAL}, f" with the labels of {path}"


def covers_matcher(earlier: Matcher, later: Matcher) -> bool:
    """Tell whether all that fits *later* fits *earlier*, two matchers of the severity; False where unsure.

    What fits `severity="page"` is read as critical, and what fits `severity="error"` fits warning.
    """
    return (
        later.operator == "="
        and earlier.operator in ("=", "=~")
        and later.value != ""
        and earlier.matches({LABEL: later.value})
    )
