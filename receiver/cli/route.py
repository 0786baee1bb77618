"""`receiver route`: a dry run of the routing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from receiver.cli.configuration import load_config, show_path
from receiver.cli.fire import collect_pairs, read_pair
from receiver.cli.terminal import config_option, print_json, print_text, render_fields, show_examples
from receiver.clock import format_duration
from receiver.incidents.routing_preview import RoutingPreview, preview_route
from receiver.model.routing import SLACK, Target
from receiver.text import one_line


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
    loaded = load_config(config)
    preview = preview_route(loaded.routing, loaded.catalogue, collect_pairs(labels))
    if is_json:
        print_json(_render_json(preview))
    else:
        print_text(_render_text(preview, is_slack_simulated=not loaded.routing.slack_token))


def _render_json(preview: RoutingPreview) -> dict[str, Any]:
    steps = [
        {
            "step": step.name,
            "responder": step.responder.name,
            "after_s": step.after,
            "at_s": at,
            "targets": [f"{target.kind}:{target.address}" for target in step.responder.targets],
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
        "runbook": preview.runbook.name if preview.runbook else None,
        "warnings": list(preview.warnings),
    }


def _render_text(preview: RoutingPreview, *, is_slack_simulated: bool) -> str:
    def format_target(target: Target) -> str:
        is_simulated = is_slack_simulated if target.kind == SLACK else not target.secret
        return f"{target.kind}:{target.address}{' (simulated)' if is_simulated else ''}"

    responders = dict.fromkeys(step.responder for step in preview.policy.steps)
    fields = [
        ("Route", _format_route(preview)),
        ("Channel", preview.route.channel + (" (simulated)" if is_slack_simulated else "")),
        ("Severity", preview.severity),
        ("Escalation", _format_escalation(preview)),
        *((responder.title, ", ".join(map(format_target, responder.targets))) for responder in responders),
        ("Review", preview.route.review),
        ("Runbook", _format_runbook(preview)),
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
    steps = [
        f"{step.responder.title} {f'after {format_duration(at)}' if at else 'at once'}"
        for step, at in zip(preview.policy.steps, preview.notify_at, strict=True)
    ]
    return f"{preview.policy.name}: {', '.join(steps)}"


def _format_runbook(preview: RoutingPreview) -> str:
    if (found := preview.runbook) is not None:
        return f"{found.name} ({show_path(found.file)}:{found.line})"
    return (preview.excerpt.url if preview.excerpt else "") or "none"
