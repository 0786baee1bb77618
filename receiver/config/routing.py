"""Load routing.yaml into `Routing`: every fault at once, each with its line; and read its routes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from receiver.config.escalations import read_business_hours, read_heartbeats, read_policies, read_responders
from receiver.config.model import Routing
from receiver.config.readers import (
    covers_matcher,
    is_channel,
    read_channel,
    read_count,
    read_duration,
    read_list,
    read_matchers,
    read_table,
    read_text,
    read_url,
    warn_of_unpaged_criticals,
)
from receiver.config.services import (
    read_alertmanagers,
    read_limits,
    read_links,
    read_notices_channel,
    read_pagerduty_token,
    read_prometheus_url,
    read_runbooks,
    read_severities,
    read_slack_responders,
    read_slack_token,
    read_sources,
)
from receiver.config.settings import Environment
from receiver.config.yaml_tree import (
    MAX_BYTES,
    Diagnostics,
    Interpolation,
    MappingNode,
    Node,
    ScalarNode,
    describe_node,
    parse_document,
    quote_text,
    suggest_choice,
)
from receiver.model.alert import LABEL, SeverityWords
from receiver.model.routing import PAGERDUTY, Matcher, Route

VERSION = "1"
KEYS = (
    "version",
    "runbooks",
    "slack",
    "pagerduty",
    "alertmanager",
    "alertmanagers",
    "prometheus",
    "links",
    "notices",
    "business_hours",
    "responders",
    "escalations",
    "routes",
    "flap_window",
    "flap_count",
    "history",
    "heartbeats",
    "heartbeat_url",
    "limits",
    "severities",
)


def load_routing(path: Path, environ: Mapping[str, str]) -> Routing:
    """Load the file, with `${...}` expanded from *environ* and mounted secrets.

    Raises ConfigError with every fault of the file, sorted by line. Oddities, and channels that are
    simulated because a token is missing, are in the result's warnings.
    """
    environ = Environment(environ)
    diagnostics = Diagnostics(str(path))
    text = _read_file(path, diagnostics)
    folder = path.parent.absolute()  # absolute, so that the runbooks are found after a chdir
    document = parse_document(text, diagnostics, Interpolation(environ, folder))
    return parse_routing(document, diagnostics, environ, folder)


def parse_routing(
    document: Node | None, diagnostics: Diagnostics, environ: Mapping[str, str], folder: Path
) -> Routing:
    """Parse a document; relative paths in it are resolved against *folder*."""
    if document is None:
        diagnostics.abort(1, "the file is empty", "version: 1 and routes:")
    root = read_table(document, diagnostics, KEYS)
    if root is None:
        diagnostics.raise_errors()
        diagnostics.abort(1, "no table", "version: 1 and routes:")
    _check_version(root, diagnostics)
    routing = _read_root(root, diagnostics, environ, folder)
    diagnostics.raise_errors()
    return routing


def _read_root(
    root: MappingNode, diagnostics: Diagnostics, environ: Mapping[str, str], folder: Path
) -> Routing:
    severities = read_severities(root, diagnostics)
    responders = read_responders(root, diagnostics)
    policies = read_policies(root, diagnostics, responders)
    is_paging = any(responder.find_target(PAGERDUTY) for responder in responders.values())
    runbooks = read_runbooks(root, diagnostics, folder)
    return Routing(
        routes=read_routes(root, diagnostics, policies, responders, severities),
        policies=policies,
        responders=responders,
        runbooks=runbooks.paths,
        runbook_hosts=runbooks.hosts,
        slack_token=read_slack_token(root, diagnostics, environ),
        slack_responders=read_slack_responders(root, diagnostics),
        pagerduty_api_token=read_pagerduty_token(root, diagnostics, environ, is_needed=is_paging),
        alertmanagers=read_alertmanagers(root, diagnostics, environ),
        sources=read_sources(root),
        prometheus_url=read_prometheus_url(root, diagnostics, environ),
        links=read_links(root.find_node("links"), diagnostics),
        notices_channel=read_notices_channel(root, diagnostics),
        business_hours=read_business_hours(root, diagnostics),
        flap_window=read_duration(root.find_node("flap_window"), diagnostics, 600.0),
        flap_count=read_count(root.find_node("flap_count"), diagnostics, 4, least=2),
        history=read_duration(root.find_node("history"), diagnostics, 90 * 86400.0, least=1.0),
        heartbeats=read_heartbeats(root, diagnostics, responders, severities),
        heartbeat_url=read_url(root.find_node("heartbeat_url"), diagnostics),
        limits=read_limits(root, diagnostics),
        severities=severities,
        warnings=diagnostics.warnings,
    )


def _check_version(root: MappingNode, diagnostics: Diagnostics) -> None:
    node = root.find_node("version")
    if node is None:
        diagnostics.error(root.lines.get("version", 1), "no version", f"version: {VERSION}")
    elif not isinstance(node, ScalarNode) or node.value != VERSION:
        diagnostics.error(node.line, f"{describe_node(node)} is unknown", f"version: {VERSION}")


def _read_file(path: Path, diagnostics: Diagnostics) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        diagnostics.abort(
            1, f"the file can't be read: {error.strerror or type(error).__name__}", "a readable file"
        )
    except ValueError:
        diagnostics.abort(1, "the file's name holds a NUL", "a file")
    if len(raw) > MAX_BYTES:
        diagnostics.abort(1, f"the file is larger than {MAX_BYTES // 1024} KiB", "a smaller one")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        diagnostics.abort(raw.count(b"\n", 0, error.start) + 1, "a byte that is no UTF-8", "UTF-8")


# Each route is compared with all routes before it, so their number is limited.
MAX_ROUTES = 1_000
NEXT_BUSINESS_DAY = "next-business-day"
ROUTE_KEYS = ("match", "channel", "escalation", "review", "fallback", "links")


@dataclass(frozen=True)
class _ParsedRoute:
    """A route with its position in the file."""

    route: Route
    line: int
    path: str


@dataclass(frozen=True)
class _MatcherSets:
    """A route's matchers: those of the severity, which may cover one another, and the others."""

    severities: frozenset[Matcher]
    others: frozenset[Matcher]

    def covers(self, later: _MatcherSets) -> bool:
        """Tell whether each alert that matches *later* matches these: fewer matchers, or a wider severity."""
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
    """Return the routes in order; *escalations* and *responders* are the names that they may refer to."""
    node = root.find_node("routes")
    members = read_list(node, diagnostics)
    if not members:
        diagnostics.error(root.lines.get("routes", 1), "no routes", "routes: with a channel at least")
    if len(members) > MAX_ROUTES:
        diagnostics.abort(members[MAX_ROUTES].line, f"more than {MAX_ROUTES} routes", "fewer")
    found: list[_ParsedRoute] = []
    names: set[str] = set()
    for member in members:
        table = read_table(member, diagnostics, ROUTE_KEYS)
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
    """Return the channel, followed by the matchers if another route already has that name."""
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
    """Warn of unreachable routes, and of alerts that no route matches."""
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
