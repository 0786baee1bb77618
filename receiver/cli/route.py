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
from receiver.domain.journey import Journey, trace_journey
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

    journey: Journey
    runbook: Runbook | None
    has_slack: bool


def trace(config: Config, labels: Mapping[str, str]) -> Traced:
    """Return where an alert with *labels* goes."""
    journey = trace_journey(config.routing, config.shelf, labels)
    excerpt = journey.excerpt
    return Traced(journey, config.shelf.find(excerpt.name) if excerpt else None, bool(config.slack_token))


def render_json(traced: Traced) -> dict[str, Any]:
    """Return the journey for programs."""
    journey = traced.journey
    steps = [
        {
            "step": step.name,
            "responder": step.responder.name,
            "after_s": step.after,
            "at_s": at,
            "targets": [_name(target) for target in step.responder.targets],
        }
        for step, at in zip(journey.policy.steps, journey.moments, strict=True)
    ]
    return {
        "route": journey.route.name,
        "channel": journey.route.channel,
        "matchers": [str(matcher) for matcher in journey.route.matchers],
        "severity": journey.severity,
        "escalation": journey.policy.name or None,
        "steps": steps,
        "review": journey.route.review or None,
        "runbook": traced.runbook.name if traced.runbook else None,
        "warnings": list(journey.warnings),
    }


def render_text(traced: Traced) -> str:
    """Return the journey for people."""
    journey = traced.journey
    simulated = "" if traced.has_slack else " (simulated)"
    fields = [
        ("Route", _say_route(journey)),
        ("Channel", journey.route.channel + simulated),
        ("Severity", journey.severity),
        ("Escalation", _say_escalation(journey)),
        *((responder.title, _say_targets(responder, traced)) for responder in _responders(journey)),
        ("Review", journey.route.review),
        ("Runbook", _say_runbook(traced)),
    ]
    shown = render_fields([(name, one_line(value, 500)) for name, value in fields])
    return "\n".join([shown, *(f"warning: {one_line(each, 500)}" for each in journey.warnings)])


def _say_route(journey: Journey) -> str:
    if not journey.is_matched:
        return f"{journey.route.name}: no route matches these labels, so the last one takes them"
    matchers = ", ".join(str(matcher) for matcher in journey.route.matchers)
    return f"{journey.route.name}: {matchers or 'takes whatever no route before it matches'}"


def _say_escalation(journey: Journey) -> str:
    if not journey.policy.steps:
        return "none, nobody is paged"
    said = [
        f"{step.responder.title} {f'after {format_duration(at)}' if at else 'at once'}"
        for step, at in zip(journey.policy.steps, journey.moments, strict=True)
    ]
    return f"{journey.policy.name}: {', '.join(said)}"


def _responders(journey: Journey) -> list[Responder]:
    return list(dict.fromkeys(step.responder for step in journey.policy.steps))


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
    excerpt = traced.journey.excerpt
    return (excerpt.url if excerpt else "") or "none"
