"""The routes of routing.yaml, and what is odd about their order."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from receiver.config.nodes import Item, Table, Text, describe
from receiver.config.report import Report, quote, suggest
from receiver.config.services import read_links
from receiver.config.severity_warnings import takes_all_of, warn_of_unpaged_criticals
from receiver.config.values import is_channel, read_channel, read_list, read_matchers, read_table, read_text
from receiver.domain.matcher import Matcher
from receiver.domain.route import Route
from receiver.domain.severity import LABEL, SeverityWords

# Each route is compared with those before it, so their number is bounded.
MAX_ROUTES = 1_000
NEXT_BUSINESS_DAY = "next-business-day"
KEYS = ("match", "channel", "escalation", "review", "fallback", "links")


@dataclass(frozen=True)
class _Found:
    """A route, and where it stands."""

    route: Route
    line: int
    path: str


@dataclass(frozen=True)
class _Tests:
    """A route's matchers: those of the severity, of which one may fit all that another fits, and the rest."""

    severities: frozenset[Matcher]
    others: frozenset[Matcher]

    def take_all_of(self, later: _Tests) -> bool:
        """Tell whether all that passes *later* passes these: they ask for less, or for a wider severity."""
        return self.others <= later.others and all(
            one in later.severities or any(takes_all_of(one, other) for other in later.severities)
            for one in self.severities
        )


def _sort_tests(route: Route) -> _Tests:
    severities = frozenset(matcher for matcher in route.matchers if matcher.name == LABEL)
    return _Tests(severities, frozenset(route.matchers) - severities)


def read_routes(
    root: Table,
    report: Report,
    escalations: Collection[str],
    responders: Collection[str],
    severities: SeverityWords,
) -> tuple[Route, ...]:
    """Return the routes in order; *escalations* and *responders* are the names they may use."""
    item = root.find("routes")
    members = read_list(item, report)
    if not members:
        report.fault(root.lines.get("routes", 1), "no routes", "routes: with a channel at least")
    if len(members) > MAX_ROUTES:
        report.stop(members[MAX_ROUTES].line, f"more than {MAX_ROUTES} routes", "fewer")
    found: list[_Found] = []
    names: set[str] = set()
    for member in members:
        table = read_table(member, report, KEYS)
        if table is not None:
            route = _read_route(table, report, escalations, responders, names, severities=severities)
            names.add(route.name)
            found.append(_Found(route, table.line, table.path))
    _warn_of_order(found, report)
    warn_of_unpaged_criticals([(each.route, each.line, each.path) for each in found], report)
    _warn_of_unused(root, escalations, {each.route.escalation for each in found}, report)
    return tuple(each.route for each in found)


def _read_route(
    table: Table,
    report: Report,
    escalations: Collection[str],
    responders: Collection[str],
    names: Collection[str],
    *,
    severities: SeverityWords,
) -> Route:
    matchers = read_matchers(table.find("match"), report, severities)
    channel_item = table.find("channel")
    channel = read_channel(channel_item, report)
    if channel_item is None or (isinstance(channel_item, Text) and not channel_item.value):
        report.fault(
            table.lines.get("channel", table.line), f"{table.path} has no channel", "#name or a Slack ID"
        )
    return Route(
        name=_name_route(channel, matchers, names),
        channel=channel,
        matchers=matchers,
        escalation=_read_escalation(table.find("escalation"), report, escalations),
        review=_read_review(table.find("review"), report),
        fallback=_read_fallback(table.find("fallback"), report, responders),
        links=read_links(table.find("links"), report),
    )


def _name_route(channel: str, matchers: tuple[Matcher, ...], taken: Collection[str]) -> str:
    """Return the channel, with the matchers behind it where another route has that name already."""
    name, n = channel, 1
    while name in taken:
        name = f"{channel} {','.join(str(matcher) for matcher in matchers)}".strip()
        name, n = (name if n == 1 else f"{name} #{n}"), n + 1
    return name


def _read_escalation(item: Item | None, report: Report, escalations: Collection[str]) -> str:
    name = read_text(item, report)
    if isinstance(item, Text) and name and name not in escalations:
        report.fault(item.line, f"{describe(item)} is no escalation", suggest(item.written, escalations))
    return name


def _read_review(item: Item | None, report: Report) -> str:
    review = read_text(item, report)
    if isinstance(item, Text) and review not in ("", NEXT_BUSINESS_DAY):
        report.fault(item.line, f"{describe(item)} is no review", NEXT_BUSINESS_DAY)
    return review


def _read_fallback(item: Item | None, report: Report, responders: Collection[str]) -> str:
    name = read_text(item, report)
    if isinstance(item, Text) and name and name not in responders and not is_channel(name):
        expected = "a Slack channel or a responder's name"
        report.fault(item.line, f"{describe(item)} is no fallback", expected)
    return name


def _warn_of_order(found: list[_Found], report: Report) -> None:
    """Warn of routes that can't be reached, and of alerts that no route matches."""
    seen: list[tuple[_Tests, str]] = []
    for each in found:
        tests = _sort_tests(each.route)
        before = next((path for earlier, path in seen if earlier.take_all_of(tests)), "")
        if before:
            report.warn(each.line, f"{each.path} is never reached: {before} takes all its alerts")
        seen.append((tests, each.path))
    if found and all(each.route.matchers for each in found):
        last = found[-1]
        report.warn(
            last.line, f"alerts that match no route go to the last one, {last.path}", "match: [] there"
        )


def _warn_of_unused(root: Table, escalations: Collection[str], used: set[str], report: Report) -> None:
    table = root.find("escalations")
    for name in escalations:
        if name not in used and isinstance(table, Table):
            report.warn(table.lines[name], f"no route uses the escalation {quote(name)}")
