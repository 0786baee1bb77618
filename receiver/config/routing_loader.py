"""Load routing.yaml into `Routing`: every fault at once, each with its line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from receiver.business_hours import BusinessHours
from receiver.config import routing_fields, yaml_tree
from receiver.config.fields import Reader, Table, Unreadable
from receiver.config.model import AlertmanagerConfig, Routing
from receiver.config.routing_fields import RoutingFile
from receiver.config.settings import Environment
from receiver.config.yaml_tree import Diagnostics, MappingNode, Node, quote_text
from receiver.heartbeats.model import Heartbeat
from receiver.model import routing
from receiver.model.alert import LABEL, Severity

_CRITICAL = str(Severity.CRITICAL)
PlacedRoute = tuple[routing.Route, MappingNode]  # with its place in the file


def load_routing(path: Path, environ: Mapping[str, str]) -> Routing:
    """Load the file, with `${...}` expanded from *environ* and mounted secrets.

    Raises ConfigError with every fault of the file, sorted by line. Oddities, and channels that are
    simulated because a token is missing, are in the result's warnings.
    """
    environ = Environment(environ)
    diagnostics = Diagnostics(str(path))
    text = _read_file(path, diagnostics)
    folder = path.parent.absolute()  # absolute, so that the runbooks are found after a chdir
    document = yaml_tree.parse_document(text, diagnostics, yaml_tree.Interpolation(environ, folder))
    return parse_routing(document, diagnostics, environ, folder)


def parse_routing(
    document: Node | None, diagnostics: Diagnostics, environ: Mapping[str, str], folder: Path
) -> Routing:
    """Parse a document; relative paths in it are resolved against *folder*."""
    if document is None:
        diagnostics.abort(1, "the file is empty", "version: 1 and routes:")
    root = replace(document, line=1)  # where faults about an absent key are reported
    reader = Reader(diagnostics, root, environ, folder)
    try:
        file = Table(RoutingFile).read_node(root, reader)
    except Unreadable:
        diagnostics.raise_errors()
        raise
    diagnostics.raise_errors()
    return _build_routing(file, reader)


def _read_file(path: Path, diagnostics: Diagnostics) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(yaml_tree.MAX_BYTES + 1)
    except OSError as error:
        what = f"the file can't be read: {error.strerror or type(error).__name__}"
        diagnostics.abort(1, what, "a readable file")
    except ValueError:
        diagnostics.abort(1, "the file's name holds a NUL", "a file")
    if len(raw) > yaml_tree.MAX_BYTES:
        diagnostics.abort(1, f"the file is larger than {yaml_tree.MAX_BYTES // 1024} KiB", "a smaller one")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        diagnostics.abort(raw.count(b"\n", 0, error.start) + 1, "a byte that is no UTF-8", "UTF-8")


def _build_routing(file: RoutingFile, reader: Reader) -> Routing:
    """Build the routing from a file without faults; add the warnings about its parts together."""
    diagnostics = reader.diagnostics
    responders = {name: _build_responder(name, section) for name, section in file.responders.items()}
    policies = {
        name: routing.EscalationPolicy(name, _build_steps(section.steps, responders), section.ack_timeout)
        for name, section in file.escalations.items()
    }
    is_paging = any(responder.find_target(routing.PAGERDUTY) for responder in responders.values())
    if is_paging and not file.pagerduty.api_token:
        what = "pagerduty.api_token is empty: PagerDuty's REST API is not called"
        diagnostics.warning(file.pagerduty.find_line("api_token"), what)
    alertmanagers = _build_alertmanagers(file, diagnostics)
    routes = _build_routes(file.routes)
    _warn_of_routes(list(zip(routes, (section.node for section in file.routes), strict=True)), diagnostics)
    _warn_of_heartbeats(file.heartbeats, diagnostics)
    _warn_of_unused(file, diagnostics)
    return Routing(
        routes=routes,
        policies=policies,
        responders=responders,
        runbooks=tuple(dict.fromkeys(place for place in file.runbooks if isinstance(place, Path))),
        runbook_hosts=tuple(dict.fromkeys(place for place in file.runbooks if isinstance(place, str))),
        section_titles=file.runbook_sections.build_titles(),
        slack_token=file.slack.token,
        slack_responders=tuple(name.removesuffix(" members") for name in file.slack.responders),
        pagerduty_api_token=file.pagerduty.api_token,
        alertmanagers=alertmanagers,
        sources=tuple(file.alertmanagers or ()),
        prometheus_url=file.prometheus.url,
        links=_list_links(file.links),
        notices_channel=file.notices.channel,
        business_hours=_build_business_hours(file.business_hours),
        flap_window=file.flap_window,
        flap_count=file.flap_count,
        history=file.history,
        heartbeats=tuple(
            Heartbeat(each.match, each.every, each.grace, responders[each.notify]) for each in file.heartbeats
        ),
        heartbeat_url=file.heartbeat_url,
        limits=file.limits,
        severities=reader.severities,
        warnings=diagnostics.warnings,
    )


def _build_responder(name: str, section: routing_fields.ResponderSection) -> routing.Responder:
    pager, targets = section.pagerduty, []
    if pager is not None:
        targets.append(routing.Target(routing.PAGERDUTY, name, pager.routing_key))
    if section.slack:
        targets.append(routing.Target(routing.SLACK, section.slack))
    return routing.Responder(name, tuple(targets), pager.schedule if pager is not None else "")


def _build_steps(
    sections: Sequence[routing_fields.StepSection], responders: Mapping[str, routing.Responder]
) -> tuple[routing.Step, ...]:
    steps, times = [], Counter[str]()
    for section in sections:
        name = section.notify
        times[name] += 1
        step_name = name if times[name] == 1 else f"{name}#{times[name]}"
        steps.append(routing.Step(step_name, responders[name], section.after))
    return tuple(steps)


def _build_alertmanagers(file: RoutingFile, diagnostics: Diagnostics) -> dict[str, AlertmanagerConfig]:
    """Return the Alertmanagers that have a URL, by source; the source of `alertmanager:` is ""."""
    sections: Mapping[str, routing_fields.AlertmanagerSection] = (
        {"": file.alertmanager} if file.alertmanagers is None else file.alertmanagers
    )
    found = {}
    for source, section in sections.items():
        urls = (section.url,) if section.node.find_node("urls") is None else section.urls
        if urls := tuple(dict.fromkeys(url for url in urls if url)):
            found[source] = AlertmanagerConfig(urls, section.look_every, section.looks, section.trust_after)
            continue
        lines = section.node.lines
        diagnostics.warning(
            lines.get("url", lines.get("urls", section.node.line)),
            f"{section.node.path}.url is empty: Alertmanager is not polled for silences and resolved alerts",
            "its address" if source else "its address, or ALERTMANAGER_URL",
        )
    return found


def _build_business_hours(section: routing_fields.BusinessHoursSection | None) -> BusinessHours | None:
    if section is None:
        return None
    days = frozenset[int]().union(*section.days) or BusinessHours.days
    return BusinessHours(section.timezone, days, section.start, section.end, section.holidays)


def _list_links(links: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((label, url) for label, url in links.items() if label)


def _build_routes(sections: Sequence[routing_fields.RouteSection]) -> tuple[routing.Route, ...]:
    routes: dict[str, routing.Route] = {}
    for section in sections:
        name = _name_route(section.channel, section.match, routes)
        routes[name] = routing.Route(
            name=name,
            channel=section.channel,
            matchers=section.match,
            escalation=section.escalation,
            review=section.review,
            fallback=section.fallback,
            links=_list_links(section.links),
        )
    return tuple(routes.values())


def _name_route(channel: str, matchers: tuple[routing.Matcher, ...], taken: Collection[str]) -> str:
    """Return the channel, followed by the matchers if another route already has that name."""
    name, n = channel, 1
    while name in taken:
        name = f"{channel} {','.join(str(matcher) for matcher in matchers)}".strip()
        name, n = (name if n == 1 else f"{name} #{n}"), n + 1
    return name


def _warn_of_unused(file: RoutingFile, diagnostics: Diagnostics) -> None:
    table, used = file.node.find_node("escalations"), {route.escalation for route in file.routes}
    for name in file.escalations:
        if name not in used and isinstance(table, MappingNode):
            diagnostics.warning(table.lines[name], f"no route uses the escalation {quote_text(name)}")


def _warn_of_heartbeats(
    sections: Sequence[routing_fields.HeartbeatSection], diagnostics: Diagnostics
) -> None:
    """Warn of heartbeats with the matchers of an earlier one: matchers identify a heartbeat."""
    seen: dict[frozenset[routing.Matcher], str] = {}
    for section in sections:
        node, first = section.node, seen.setdefault(frozenset(section.match), section.node.path)
        if first != node.path:
            what = f"{node.path} has the same matchers as {first}, so the same alert beats for both"
            diagnostics.warning(node.line, what, "one of them")


def _warn_of_routes(routes: Sequence[PlacedRoute], diagnostics: Diagnostics) -> None:
    """Warn of unreachable routes, alerts that no route matches, and criticals that page no responder."""
    seen: list[tuple[frozenset[routing.Matcher], str]] = []
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


def _covers(earlier: frozenset[routing.Matcher], later: frozenset[routing.Matcher]) -> bool:
    """Return whether each alert that matches *later* matches *earlier*: fewer matchers, or a wider severity.

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
    unpaged = {route.name: node for route, node in routes if not route.escalation}
    found = [route for route, _ in routes]
    for labels, words in _list_criticals(routes) if unpaged else ():
        route = routing.find_route(found, labels) or found[-1]
        if (node := unpaged.pop(route.name, None)) is not None:
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
