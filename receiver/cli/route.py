"""`receiver route` and `receiver runbook`: dry runs of the routing and of a runbook's excerpt."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from receiver.cli.configuration import load_config, show_path
from receiver.cli.fire import collect_pairs, read_pair
from receiver.cli.terminal import config_option, print_json, print_text, render_fields, show_examples
from receiver.clock import format_duration
from receiver.incidents.routing_preview import RoutingPreview, preview_route
from receiver.model.alert import Alert
from receiver.model.routing import SLACK, Target
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
        raise click.ClickException(_describe_missing(alertname, catalogue))
    print_text(f"**{one_line(excerpt.name, 200)}**\n\n{render_markdown(excerpt)}")


def _describe_missing(alertname: str, catalogue: RunbookCatalogue) -> str:
    sentence = f"no runbook for {one_line(alertname, 100)!r}"
    known = {name.casefold(): name for name in catalogue.list_names()}
    near = get_close_matches(alertname[:200].casefold(), known, n=MAX_SUGGESTIONS)
    if near:
        return f"{sentence}: did you mean {' or '.join(known[name] for name in near)}?"
    if not known:
        return f"{sentence}: there are no runbooks at all, see `runbooks:` in the configuration"
    return f"{sentence} among the {len(known)} there are"


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
    found = loaded.catalogue.find_runbook(preview.excerpt.name) if preview.excerpt else None
    if is_json:
        print_json(_render_json(preview, found))
    else:
        print_text(_render_text(preview, found, is_slack_simulated=not loaded.routing.slack_token))


def _render_json(preview: RoutingPreview, found: Runbook | None) -> dict[str, Any]:
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
        "runbook": found.name if found else None,
        "warnings": list(preview.warnings),
    }


def _render_text(preview: RoutingPreview, found: Runbook | None, *, is_slack_simulated: bool) -> str:
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
        ("Runbook", _format_runbook(preview, found)),
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


def _format_runbook(preview: RoutingPreview, found: Runbook | None) -> str:
    if found is not None:
        return f"{found.name} ({show_path(found.file)}:{found.line})"
    return (preview.excerpt.url if preview.excerpt else "") or "none"
