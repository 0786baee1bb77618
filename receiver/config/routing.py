"""routing.yaml → Routing: read whole, all faults at once, each with its line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from receiver.config.environment import Environment
from receiver.config.escalations import read_heartbeats, read_policies, read_responders
from receiver.config.hours import read_business_hours
from receiver.config.model import Routing
from receiver.config.nodes import MAX_BYTES, Item, Table, Text, describe, parse_document
from receiver.config.report import Report
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
from receiver.config.substitute import Substitution
from receiver.config.values import read_count, read_duration, read_table, read_url
from receiver.domain.policy import PAGERDUTY

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
    report = Report(str(path))
    text = _read_file(path, report)
    folder = path.parent.absolute()  # a process that changes its folder later still finds the runbooks
    document = parse_document(text, report, Substitution(environ, folder))
    return parse_routing(document, report, environ, folder)


def parse_routing(document: Item | None, report: Report, environ: Mapping[str, str], folder: Path) -> Routing:
    """Return what a document says; relative paths in it start from *folder*."""
    if document is None:
        report.stop(1, "the file is empty", "version: 1 and routes:")
    root = read_table(document, report, KEYS)
    if root is None:
        report.raise_faults()
        report.stop(1, "no table", "version: 1 and routes:")
    _check_version(root, report)
    routing = _read_root(root, report, environ, folder)
    report.raise_faults()
    return routing


def _read_root(root: Table, report: Report, environ: Mapping[str, str], folder: Path) -> Routing:
    severities = read_severities(root, report)
    responders = read_responders(root, report)
    policies = read_policies(root, report, responders)
    is_paging = any(responder.find_target(PAGERDUTY) for responder in responders.values())
    runbooks = read_runbooks(root, report, folder)
    return Routing(
        routes=read_routes(root, report, policies, responders, severities),
        policies=policies,
        responders=responders,
        runbooks=runbooks.paths,
        runbook_hosts=runbooks.hosts,
        slack_token=read_slack_token(root, report, environ),
        slack_responders=read_slack_responders(root, report),
        pagerduty_api_token=read_pagerduty_token(root, report, environ, is_needed=is_paging),
        alertmanagers=read_alertmanagers(root, report, environ),
        sources=read_sources(root),
        prometheus_url=read_prometheus_url(root, report, environ),
        links=read_links(root.find("links"), report),
        notices_channel=read_notices_channel(root, report),
        business_hours=read_business_hours(root, report),
        flap_window=read_duration(root.find("flap_window"), report, 600.0),
        flap_count=read_count(root.find("flap_count"), report, 4, least=2),
        history=read_duration(root.find("history"), report, 90 * 86400.0, least=1.0),
        heartbeats=read_heartbeats(root, report, responders, severities),
        heartbeat_url=read_url(root.find("heartbeat_url"), report),
        limits=read_limits(root, report),
        severities=severities,
        warnings=report.warnings,
    )


def _check_version(root: Table, report: Report) -> None:
    item = root.find("version")
    if item is None:
        report.fault(root.lines.get("version", 1), "no version", f"version: {VERSION}")
    elif not isinstance(item, Text) or item.value != VERSION:
        report.fault(item.line, f"{describe(item)} is unknown", f"version: {VERSION}")


def _read_file(path: Path, report: Report) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        report.stop(1, f"the file can't be read: {error.strerror or type(error).__name__}", "a readable file")
    except ValueError:
        report.stop(1, "the file's name holds a NUL", "a file")
    if len(raw) > MAX_BYTES:
        report.stop(1, f"the file is larger than {MAX_BYTES // 1024} KiB", "a smaller one")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        report.stop(raw.count(b"\n", 0, error.start) + 1, "a byte that is no UTF-8", "UTF-8")
