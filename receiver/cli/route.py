"""`receiver route LABEL=VALUE...`: where an alert with these labels would go; nothing is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from receiver.cli.config import Config, config_option, load_config, show_path
from receiver.cli.examples import show_examples
from receiver.cli.labels import gather, read_pair
from receiver.cli.terminal import render_fields, say, say_json
from receiver.clock import format_duration
from receiver.domain.journey import RoutingPreview, preview_route
from receiver.domain.policy import PAGERDUTY, SLACK, Responder, Target
from receiver.domain.runbook import Runbook
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
@click.option("--json", "is_json", is_flag=True, help="For programs.")
def route(labels: tuple[tuple[str, str], ...], config: Path, is_json: bool) -> None:
    """Show where an alert with these labels would go: channel, escalation, runbook.

    A dry run: it reads the configuration, asks no server and sends nothing. Times count from the
    start, for the case that nobody acknowledges.
    """
    traced = trace(load_config(config), gather(labels))
    if is_json:
        say_json(render_json(traced))
    else:
        say(render_text(traced))


@dataclass(frozen=True)
class Traced:
    """A journey under a configuration, and the runbook at its end."""

    preview: RoutingPreview
    runbook: Runbook | None
    has_slack: bool


def trace(config: Config, labels: Mapping[str, str]) -> Traced:
    """Return where an alert with *labels* goes."""
    preview = preview_route(config.routing, config.shelf, labels)
    excerpt = preview.excerpt
    return Traced(preview, config.shelf.find(excerpt.name) if excerpt else None, bool(config.slack_token))


def render_json(traced: Traced) -> dict[str, Any]:
    """Return the journey for programs."""
    preview = traced.preview
    steps = [
        {
            "step": step.name,
            "responder": step.responder.name,
            "after_s": step.after,
            "at_s": at,
            "targets": [_name(target) for target in step.responder.targets],
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
        "runbook": traced.runbook.name if traced.runbook else None,
        "warnings": list(preview.warnings),
    }


def render_text(traced: Traced) -> str:
    """Return the journey for people."""
    preview = traced.preview
    simulated = "" if traced.has_slack else " (simulated)"
    fields = [
        ("Route", _say_route(preview)),
        ("Channel", preview.route.channel + simulated),
        ("Severity", preview.severity),
        ("Escalation", _say_escalation(preview)),
        *((responder.title, _say_targets(responder, traced)) for responder in _responders(preview)),
        ("Review", preview.route.review),
        ("Runbook", _say_runbook(traced)),
    ]
    shown = render_fields([(name, one_line(value, 500)) for name, value in fields])
    return "\n".join([shown, *(f"warning: {one_line(each, 500)}" for each in preview.warnings)])


def _say_route(preview: RoutingPreview) -> str:
    if not preview.is_matched:
        return f"{preview.route.name}: no route matches these labels, so the last one takes them"
    matchers = ", ".join(str(matcher) for matcher in preview.route.matchers)
    return f"{preview.route.name}: {matchers or 'takes whatever no route before it matches'}"


def _say_escalation(preview: RoutingPreview) -> str:
    if not preview.policy.steps:
        return "none, nobody is paged"
    said = [
        f"{step.responder.title} {f'after {format_duration(at)}' if at else 'at once'}"
        for step, at in zip(preview.policy.steps, preview.notify_at, strict=True)
    ]
    return f"{preview.policy.name}: {', '.join(said)}"


def _responders(preview: RoutingPreview) -> list[Responder]:
    return list(dict.fromkeys(step.responder for step in preview.policy.steps))


def _say_targets(responder: Responder, traced: Traced) -> str:
    return ", ".join(
        _name(target) + (" (simulated)" if _is_simulated(target, traced) else "")
        for target in responder.targets
    )


def _is_simulated(target: Target, traced: Traced) -> bool:
    if target.kind == PAGERDUTY:
        return not target.secret
    return target.kind == SLACK and not traced.has_slack


def _name(target: Target) -> str:
    """Return a target as `kind:address`; a routing key is no address."""
    return f"{target.kind}:{target.address}"


def _say_runbook(traced: Traced) -> str:
    if traced.runbook is not None:
        return f"{traced.runbook.name} ({show_path(traced.runbook.file)}:{traced.runbook.line})"
    excerpt = traced.preview.excerpt
    return (excerpt.url if excerpt else "") or "none"
