"""routing.yaml → Routing: read whole, all faults at once, each with its line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from receiver.config.environment import Environment
from receiver.config.escalations import read_heartbeats, read_policies, read_responders
from receiver.config.hours import read_business_hours
from receiver.config.model import Routing
from receiver.config.nodes import MAX_BYTES, MappingNode, Node, ScalarNode, describe_node, parse_document
from receiver.config.report import Diagnostics
from receiver.config.routes import read_routes
from receiver.config.runbooks import read_runbooks
from receiver.config.services import (
    read_alertmanagers,
    read_limits,
    read_links,
    read_notices_channel,
    read_pagerduty_token,
    read_prometheus_url,
    read_slack_responders,
    read_slack_token,
    read_sources,
)
from receiver.config.severities import read_severities
from receiver.config.substitute import Interpolation
from receiver.config.values import read_count, read_duration, read_table, read_url
from receiver.model.routing import PAGERDUTY

__all__ = ["Routing", "load_routing", "parse_routing"]

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
    """Return what the file says, with `${...}` filled in from *environ* and mounted secrets.

    Raises ConfigError with every fault of the file, by line. What is only odd, or simulated for
    want of a token, is in the result's warnings.
    """
    environ = Environment(environ)
    diagnostics = Diagnostics(str(path))
    text = _read_file(path, diagnostics)
    folder = path.parent.absolute()  # a process that changes its folder later still finds the runbooks
    document = parse_document(text, diagnostics, Interpolation(environ, folder))
    return parse_routing(document, diagnostics, environ, folder)


def parse_routing(
    document: Node | None, diagnostics: Diagnostics, environ: Mapping[str, str], folder: Path
) -> Routing:
    """Return what a document says; relative paths in it start from *folder*."""
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
