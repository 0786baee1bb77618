"""`receiver check` and `receiver schema`: the faults of the configuration, and its JSON Schema."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click

from receiver.cli.configuration import (
    Config,
    Findings,
    load_config,
    show_path,
)
from receiver.cli.terminal import config_option, print_json, print_text, show_examples
from receiver.config.model import Routing
from receiver.config.reference import build_schema
from receiver.config.runbook_checks import find_disagreements
from receiver.config.settings import list_auth_methods
from receiver.errors import ConfigError, Problem
from receiver.text import format_count, one_line

MAX_LINE = 1000


@click.command(
    epilog=show_examples(
        "receiver check", "receiver check --config /etc/receiver/routing.yaml", "receiver check --online"
    )
)
@config_option
@click.option(
    "--online", "is_online", is_flag=True, help="Try the tokens, channels and addresses, too. Pages nobody."
)
def check(config: Path, is_online: bool) -> None:
    """Say what is wrong with the configuration: `file:line: what, expected what`.

    Faults end it with 1; warnings alone, with 0. Looks also at the environment, at the runbooks,
    and at what they promise otherwise than the escalations do. Needs no running receiver.
    """
    findings, loaded = _inspect_config(config)
    if is_online and loaded is not None:
        from receiver.cli.probes import probe_all

        probe_all(loaded, findings)
    for problem in findings.errors:
        print_text(_render_problem(problem))
    for problem in findings.warnings:
        print_text(f"warning: {_render_problem(problem)}")
    for sentence in findings.passed:
        print_text(f"ok: {one_line(sentence, MAX_LINE)}")
    if loaded is not None and (methods := list_auth_methods(loaded.settings)):
        print_text(one_line(f"let in to API and page: {'; '.join(methods)}", MAX_LINE))
    print_text(_summarize_findings(config, findings, loaded))
    if findings.errors:
        sys.exit(1)


def _inspect_config(config: Path) -> tuple[Findings, Config | None]:
    """Return what can be found without the network, and the configuration if it is usable."""
    findings = Findings(str(config))
    try:
        loaded = load_config(config)
    except ConfigError as error:
        findings.errors += error.problems
        return findings, None
    routing, catalogue = loaded.routing, loaded.catalogue
    # Missing paths are among the warnings of the routing.
    missing = {str(path) for path in routing.runbooks if not path.exists()}
    unreadable = [problem for problem in catalogue.problems if problem.file not in missing]
    disagreements = find_disagreements(routing, catalogue.list_runbooks(), catalogue.list_matrix_rows())
    warnings = (*routing.warnings, *unreadable, *catalogue.warnings, *disagreements)
    findings.warnings += dict.fromkeys(warnings)
    return findings, loaded


def _render_problem(problem: Problem) -> str:
    return one_line(str(replace(problem, file=show_path(problem.file))), MAX_LINE)


def _summarize_findings(config: Path, findings: Findings, loaded: Config | None) -> str:
    """Return the summary as one sentence."""
    if findings.errors:
        return f"{config} is not fine: {format_count(len(findings.errors), 'fault')}."
    if loaded is None:
        return ""
    routing = loaded.routing
    nouns = ("route", "escalation", "responder", "runbook")
    found = (routing.routes, routing.policies, routing.responders, loaded.catalogue.list_names())
    counts = [format_count(len(rows), noun) for rows, noun in zip(found, nouns, strict=True)]
    but = f", with {format_count(len(findings.warnings), 'warning')}" if findings.warnings else ""
    return f"{config} is fine{but}: {', '.join(counts)}; {_describe_simulated(routing)}."


def _describe_simulated(routing: Routing) -> str:
    """Return which channels are simulated because a token or key is missing."""
    simulated = [] if routing.slack_token else ["Slack"]
    if unpaged := routing.list_unpaged_responders():
        is_any_paged = len(unpaged) < len(routing.pagerduty_targets)
        simulated.append(f"PagerDuty for {', '.join(unpaged)}" if is_any_paged else "PagerDuty")
    if not simulated:
        return "nothing is simulated"
    return f"{' and '.join(simulated)} {'is' if len(simulated) == 1 else 'are'} simulated"


@click.command(epilog=show_examples("receiver schema > routing.schema.json"))
def schema() -> None:
    """Print the JSON Schema of routing.yaml, for editors that complete and check YAML by it."""
    print_json(build_schema())
