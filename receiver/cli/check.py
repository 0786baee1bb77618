"""`receiver check`: report every fault of the configuration at once, and a summary."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click

from receiver.cli.configuration import Config, Findings, config_option, load_config, show_path
from receiver.cli.terminal import print_text, show_examples
from receiver.config.runbook_checks import find_disagreements
from receiver.config.settings import list_auth_methods
from receiver.errors import ConfigError, Problem
from receiver.model.routing import PAGERDUTY
from receiver.text import one_line

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
    findings, loaded = inspect_config(config)
    if is_online and loaded is not None:
        from receiver.cli.probes import probe_all

        probe_all(loaded, findings)
    for line in _render_findings(findings):
        print_text(line)
    if loaded is not None and (methods := list_auth_methods(loaded.settings)):
        print_text(one_line(f"let in to API and page: {'; '.join(methods)}", MAX_LINE))
    print_text(_summarize(config, findings, loaded))
    if findings.errors:
        sys.exit(1)


def inspect_config(config: Path) -> tuple[Findings, Config | None]:
    """Return what can be found without the network, and the configuration if it is usable."""
    findings = Findings(str(config))
    try:
        loaded = load_config(config)
    except ConfigError as error:
        findings.errors += error.problems
        return findings, None
    findings.add_warnings(loaded.routing.warnings)
    findings.add_warnings(_find_unreadable(loaded))
    findings.add_warnings(loaded.catalogue.warnings)
    findings.add_warnings(
        find_disagreements(
            loaded.routing, loaded.catalogue.list_runbooks(), loaded.catalogue.list_matrix_rows()
        )
    )
    return findings, loaded


def _find_unreadable(loaded: Config) -> Iterator[Problem]:
    """Yield the files that can't be read; missing paths were already reported with the configuration."""
    missing = {str(path) for path in loaded.routing.runbooks if not path.exists()}
    return (problem for problem in loaded.catalogue.problems if problem.file not in missing)


def _render_findings(findings: Findings) -> Iterator[str]:
    for problem in findings.errors:
        yield _render_problem(problem)
    for problem in findings.warnings:
        yield f"warning: {_render_problem(problem)}"
    for sentence in findings.passed:
        yield f"ok: {one_line(sentence, MAX_LINE)}"


def _render_problem(problem: Problem) -> str:
    return one_line(str(replace(problem, file=show_path(problem.file))), MAX_LINE)


def _summarize(config: Path, findings: Findings, loaded: Config | None) -> str:
    """Return the summary as one sentence."""
    if findings.errors:
        return f"{config} is not fine: {_format_count(len(findings.errors), 'fault')}."
    if loaded is None:
        return ""
    routing = loaded.routing
    runbooks = loaded.catalogue.list_names()
    counts = [
        _format_count(len(routing.routes), "route"),
        _format_count(len(routing.policies), "escalation"),
        _format_count(len(routing.responders), "responder"),
        _format_count(len(runbooks), "runbook"),
    ]
    but = f", with {_format_count(len(findings.warnings), 'warning')}" if findings.warnings else ""
    return f"{config} is fine{but}: {', '.join(counts)}; {_describe_simulated(loaded)}."


def _describe_simulated(loaded: Config) -> str:
    """Return which channels are simulated because a token or key is missing."""
    simulated = [] if loaded.slack_token else ["Slack"]
    pagers = {name: who.find_target(PAGERDUTY) for name, who in loaded.routing.responders.items()}
    silent = [name for name, pager in pagers.items() if pager is not None and not pager.secret]
    if silent:
        everybody = len(silent) == sum(pager is not None for pager in pagers.values())
        simulated.append("PagerDuty" if everybody else f"PagerDuty for {', '.join(silent)}")
    if not simulated:
        return "nothing is simulated"
    return f"{' and '.join(simulated)} {'is' if len(simulated) == 1 else 'are'} simulated"


def _format_count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
