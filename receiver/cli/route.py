"""`receiver route` and `receiver runbook`: dry runs of the routing and of a runbook's excerpt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from receiver.cli.configuration import Config, config_option, load_config, show_path
from receiver.cli.fire import collect_pairs, read_pair
from receiver.cli.terminal import print_json, print_text, render_fields, show_examples
from receiver.clock import format_duration
from receiver.incidents.routing_preview import RoutingPreview, preview_route
from receiver.model.alert import Alert
from receiver.model.routing import PAGERDUTY, SLACK, Responder, Target
from receiver.runbooks.catalogue import RunbookCatalogue
from receiver.runbooks.model import Runbook, render_markdown
from receiver.text import one_line

MAX_SUGGESTIONS = 3


@click.command(epilog=show_examples("receiver runbook HighCPUUsage", "receiver runbook highcpuusage | less"))
@click.argument("alertname")
@config_option
def runbook(alertname: str, config: Path) -> None:
    """Print a runbook's excerpt as it would be posted with the alert, in Markdown.

    Reads the files that the configuration names; needs no running receiver. Ends with 1 when there
    is no runbook for that alert.
    """
    catalogue = load_config(config).catalogue
    excerpt = catalogue.find_excerpt(Alert("", {"alertname": alertname}, {}, 0.0))
    if excerpt is None:
        raise click.ClickException(describe_missing(alertname, catalogue))
    print_text(f"**{one_line(excerpt.name, 200)}**\n\n{render_markdown(excerpt)}")


def describe_missing(alertname: str, catalogue: RunbookCatalogue) -> str:
    """Return the sentence for an alert without runbook, with similar names."""
    said = f"no runbook for {one_line(alertname, 100)!r}"
    known = {name.casefold(): name for name in catalogue.list_names()}
    near = get_close_matches(alertname[:200].casefold(), known, n=MAX_SUGGESTIONS)
    if near:
        return f"{said}: did you mean {' or '.join(known[name] for name in near)}?"
    if not known:
        return f"{said}: there are no runbooks at all, see `runbooks:` in the configuration"
    return f"{said} among the {len(known)} there are"


@click.command(
    epilog=show_examples(
        "receiver route severity=critical",
        "receiver route alertname=DiskFull severity=warning team=web",
        "receiver route alertname=DiskFull severity=critical --json",
    )
)
@click.argument("labels", nargs=-1, required=True, type=read_pair, metavar="LABEL=VALUE...")
@config_option
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def route(labels: tuple[tuple[str, str], ...], config: Path, is_json: bool) -> None:
    """Show where an alert with these labels would go: channel, escalation, runbook.

    A dry run: it reads the configuration, calls no server and sends nothing. Times count from the
    start of the incident and assume that no responder acknowledges.
    """
    result = trace_route(load_config(config), collect_pairs(labels))
    if is_json:
        print_json(render_json(result))
    else:
        print_text(render_text(result))


@dataclass(frozen=True)
class RouteResult:
    """The routing of an alert under a configuration, and its runbook."""

    preview: RoutingPreview
    runbook: Runbook | None
    has_slack: bool


def trace_route(config: Config, labels: Mapping[str, str]) -> RouteResult:
    """Return where an alert with *labels* is routed."""
    preview = preview_route(config.routing, config.catalogue, labels)
    excerpt = preview.excerpt
    return RouteResult(
        preview, config.catalogue.find_runbook(excerpt.name) if excerpt else None, bool(config.slack_token)
    )


def render_json(result: RouteResult) -> dict[str, Any]:
    """Return the result as JSON."""
    preview = result.preview
    steps = [
        {
            "step": step.name,
            "responder": step.responder.name,
            "after_s": step.after,
            "at_s": at,
            "targets": [_format_target(target) for target in step.responder.targets],
        }
        for step, at in zip(preview.policy.steps, preview.notify_at, strict=True)
    ]
    return {
        "route": preview.route.name,
        "channel": preview.route.channel,
        "matchers": [str(matcher) for matcher in preview.route.matchers],
        "severity": preview.severity,
        "escalation": preview.policy.name or None,
        "steps": steps,
        "review": preview.route.review or None,
        "runbook": result.runbook.name if result.runbook else None,
        "warnings": list(preview.warnings),
    }


def render_text(result: RouteResult) -> str:
    """Return the result as text."""
    preview = result.preview
    simulated = "" if result.has_slack else " (simulated)"
    fields = [
        ("Route", _format_route(preview)),
        ("Channel", preview.route.channel + simulated),
        ("Severity", preview.severity),
        ("Escalation", _format_escalation(preview)),
        *((responder.title, _format_targets(responder, result)) for responder in _list_responders(preview)),
        ("Review", preview.route.review),
        ("Runbook", _format_runbook(result)),
    ]
    shown = render_fields([(name, one_line(value, 500)) for name, value in fields])
    return "\n".join([shown, *(f"warning: {one_line(each, 500)}" for each in preview.warnings)])


def _format_route(preview: RoutingPreview) -> str:
    if not preview.is_matched:
        return f"{preview.route.name}: no route matches these labels, so the last one takes them"
    matchers = ", ".join(str(matcher) for matcher in preview.route.matchers)
    return f"{preview.route.name}: {matchers or 'takes whatever no route before it matches'}"


def _format_escalation(preview: RoutingPreview) -> str:
    if not preview.policy.steps:
        return "none, nobody is paged"
    said = [
        f"{step.responder.title} {f'after {format_duration(at)}' if at else 'at once'}"
        for step, at in zip(preview.policy.steps, preview.notify_at, strict=True)
    ]
    return f"{preview.policy.name}: {', '.join(said)}"


def _list_responders(preview: RoutingPreview) -> list[Responder]:
    return list(dict.fromkeys(step.responder for step in preview.policy.steps))


def _format_targets(responder: Responder, result: RouteResult) -> str:
    return ", ".join(
        _format_target(target) + (" (simulated)" if _is_simulated(target, result) else "")
        for target in responder.targets
    )


def _is_simulated(target: Target, result: RouteResult) -> bool:
    if target.kind == PAGERDUTY:
        return not target.secret
    return target.kind == SLACK and not result.has_slack


def _format_target(target: Target) -> str:
    """Return a target as `kind:address`; a routing key is a secret and left out."""
    return f"{target.kind}:{target.address}"


def _format_runbook(result: RouteResult) -> str:
    if result.runbook is not None:
        return f"{result.runbook.name} ({show_path(result.runbook.file)}:{result.runbook.line})"
    excerpt = result.preview.excerpt
    return (excerpt.url if excerpt else "") or "none"
