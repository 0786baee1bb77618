"""The routes of routing.yaml, and what is odd about their order."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from receiver.config.nodes import MappingNode, Node, ScalarNode, describe_node
from receiver.config.report import Diagnostics, quote_text, suggest_choice
from receiver.config.services import read_links
from receiver.config.severity_warnings import covers_matcher, warn_of_unpaged_criticals
from receiver.config.values import is_channel, read_channel, read_list, read_matchers, read_table, read_text
from receiver.model.alert import LABEL, SeverityWords
from receiver.model.routing import Matcher, Route

# Each route is compared with those before it, so their number is bounded.
MAX_ROUTES = 1_000
NEXT_BUSINESS_DAY = "next-business-day"
KEYS = ("match", "channel", "escalation", "review", "fallback", "links")


@dataclass(frozen=True)
class _ParsedRoute:
    """A route, and where it stands."""

    route: Route
    line: int
    path: str


@dataclass(frozen=True)
class _MatcherSets:
    """A route's matchers: those of the severity, of which one may fit all that another fits, and the rest."""

    severities: frozenset[Matcher]
    others: frozenset[Matcher]

    def covers(self, later: _MatcherSets) -> bool:
        """Tell whether all that passes *later* passes these: they ask for less, or for a wider severity."""
        return self.others <= later.others and all(
            one in later.severities or any(covers_matcher(one, other) for other in later.severities)
            for one in self.severities
        )


def _split_matchers(route: Route) -> _MatcherSets:
    severities = frozenset(matcher for matcher in route.matchers if matcher.name == LABEL)
    return _MatcherSets(severities, frozenset(route.matchers) - severities)


def read_routes(
    root: MappingNode,
    diagnostics: Diagnostics,
    escalations: Collection[str],
    responders: Collection[str],
    severities: SeverityWords,
) -> tuple[Route, ...]:
    """Return the routes in order; *escalations* and *responders* are the names they may use."""
    node = root.find_node("routes")
    members = read_list(node, diagnostics)
    if not members:
        diagnostics.error(root.lines.get("routes", 1), "no routes", "routes: with a channel at least")
    if len(members) > MAX_ROUTES:
        diagnostics.abort(members[MAX_ROUTES].line, f"more than {MAX_ROUTES} routes", "fewer")
    found: list[_ParsedRoute] = []
    names: set[str] = set()
    for member in members:
        table = read_table(member, diagnostics, KEYS)
        if table is not None:
            route = _read_route(table, diagnostics, escalations, responders, names, severities=severities)
            names.add(route.name)
            found.append(_ParsedRoute(route, table.line, table.path))
    _warn_of_order(found, diagnostics)
    warn_of_unpaged_criticals([(each.route, each.line, each.path) for each in found], diagnostics)
    _warn_of_unused(root, escalations, {each.route.escalation for each in found}, diagnostics)
    return tuple(each.route for each in found)


def _read_route(
    table: MappingNode,
    diagnostics: Diagnostics,
    escalations: Collection[str],
    responders: Collection[str],
    names: Collection[str],
    *,
    severities: SeverityWords,
) -> Route:
    matchers = read_matchers(table.find_node("match"), diagnostics, severities)
    channel_item = table.find_node("channel")
    channel = read_channel(channel_item, diagnostics)
    if channel_item is None or (isinstance(channel_item, ScalarNode) and not channel_item.value):
        diagnostics.error(
            table.lines.get("channel", table.line), f"{table.path} has no channel", "#name or a Slack ID"
        )
    return Route(
        name=_name_route(channel, matchers, names),
        channel=channel,
        matchers=matchers,
        escalation=_read_escalation(table.find_node("escalation"), diagnostics, escalations),
        review=_read_review(table.find_node("review"), diagnostics),
        fallback=_read_fallback(table.find_node("fallback"), diagnostics, responders),
        links=read_links(table.find_node("links"), diagnostics),
    )


def _name_route(channel: str, matchers: tuple[Matcher, ...], taken: Collection[str]) -> str:
    """Return the channel, with the matchers behind it where another route has that name already."""
    name, n = channel, 1
    while name in taken:
        name = f"{channel} {','.join(str(matcher) for matcher in matchers)}".strip()
        name, n = (name if n == 1 else f"{name} #{n}"), n + 1
    return name


def _read_escalation(node: Node | None, diagnostics: Diagnostics, escalations: Collection[str]) -> str:
    name = read_text(node, diagnostics)
    if isinstance(node, ScalarNode) and name and name not in escalations:
        diagnostics.error(
            node.line, f"{describe_node(node)} is no escalation", suggest_choice(node.raw, escalations)
        )
    return name


def _read_review(node: Node | None, diagnostics: Diagnostics) -> str:
    review = read_text(node, diagnostics)
    if isinstance(node, ScalarNode) and review not in ("", NEXT_BUSINESS_DAY):
        diagnostics.error(node.line, f"{describe_node(node)} is no review", NEXT_BUSINESS_DAY)
    return review


def _read_fallback(node: Node | None, diagnostics: Diagnostics, responders: Collection[str]) -> str:
    name = read_text(node, diagnostics)
    if isinstance(node, ScalarNode) and name and name not in responders and not is_channel(name):
        expected = "a Slack channel or a responder's name"
        diagnostics.error(node.line, f"{describe_node(node)} is no fallback", expected)
    return name


def _warn_of_order(found: list[_ParsedRoute], diagnostics: Diagnostics) -> None:
    """Warn of routes that can't be reached, and of alerts that no route matches."""
    seen: list[tuple[_MatcherSets, str]] = []
    for each in found:
        matchers = _split_matchers(each.route)
        before = next((path for earlier, path in seen if earlier.covers(matchers)), "")
        if before:
            diagnostics.warning(each.line, f"{each.path} is never reached: {before} takes all its alerts")
        seen.append((matchers, each.path))
    if found and all(each.route.matchers for each in found):
        last = found[-1]
        diagnostics.warning(
            last.line, f"alerts that match no route go to the last one, {last.path}", "match: [] there"
        )


def _warn_of_unused(
    root: MappingNode, escalations: Collection[str], used: set[str], diagnostics: Diagnostics
) -> None:
    table = root.find_node("escalations")
    for name in escalations:
        if name not in used and isinstance(table, MappingNode):
            diagnostics.warning(table.lines[name], f"no route uses the escalation {quote_text(name)}")
