"""Warnings about the order of the routes: which alerts reach which, and which of them page no responder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from receiver.config.yaml_tree import Diagnostics, MappingNode
from receiver.model.alert import LABEL, Severity
from receiver.model.routing import Matcher, Route, find_route

_CRITICAL = str(Severity.CRITICAL)
PlacedRoute = tuple[Route, MappingNode]  # with its place in the file


def warn_of_routes(routes: Sequence[PlacedRoute], diagnostics: Diagnostics) -> None:
    """Warn of unreachable routes, alerts that no route matches, and criticals that page no responder."""
    seen: list[tuple[frozenset[Matcher], str]] = []
    for route, node in routes:
        matchers = frozenset(route.matchers)
        before = next((path for earlier, path in seen if _covers(earlier, matchers)), "")
        if before:
            diagnostics.warning(node.line, f"{node.path} is never reached: {before} takes all its alerts")
        seen.append((matchers, node.path))
    if all(route.matchers for route, _ in routes):
        _, last = routes[-1]
        what = f"alerts that match no route go to the last one, {last.path}"
        diagnostics.warning(last.line, what, "match: [] there")
    _warn_of_unpaged_criticals(routes, diagnostics)


def _covers(earlier: frozenset[Matcher], later: frozenset[Matcher]) -> bool:
    """Tell whether each alert that matches *later* matches *earlier*: fewer matchers, or a wider severity.

    What matches `severity="page"` is read as critical; what matches `severity="error"` matches warning, too.
    """
    severities = [one.value for one in later if one.name == LABEL and one.operator == "=" and one.value]
    return all(
        one.name == LABEL
        and one.operator in ("=", "=~")
        and any(one.matches({LABEL: value}) for value in severities)
        for one in earlier - later
    )


def _warn_of_unpaged_criticals(routes: Sequence[PlacedRoute], diagnostics: Diagnostics) -> None:
    """Warn of routes without escalation that critical alerts reach.

    Tried are `severity="critical"` alone, and with the labels of each route's `=` matchers.
    """
    found = [route for route, _ in routes]
    if all(route.escalation for route in found):
        return
    places = {route.name: node for route, node in routes}
    warned: set[str] = set()
    for labels, words in _list_criticals(routes):
        route = find_route(found, labels) or found[-1]
        if not route.escalation and route.name not in warned:
            warned.add(route.name)
            node = places[route.name]
            what = f'{node.path} takes severity="critical"{words} and has no escalation: nobody is paged'
            diagnostics.warning(node.line, what, "an escalation there, or a route for criticals before it")


def _list_criticals(routes: Sequence[PlacedRoute]) -> Iterator[tuple[dict[str, str], str]]:
    """Yield the label sets of critical alerts to try, each once, with a description of the added labels."""
    yield {LABEL: _CRITICAL}, ""
    tried = {frozenset[tuple[str, str]]()}
    for route, node in routes:
        pairs = frozenset((m.name, m.value) for m in route.matchers if m.operator == "=" and m.name != LABEL)
        if pairs not in tried:
            tried.add(pairs)
            yield {**dict(pairs), LABEL: _CRITICAL}, f" with the labels of {node.path}"
