"""`receiver check`: every fault of the configuration at once, and what it amounts to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click

from receiver.cli.config import Config, config_option, load_config, show_path
from receiver.cli.examples import show_examples
from receiver.cli.findings import Findings
from receiver.cli.terminal import say
from receiver.config.coverage import find_disagreements
from receiver.config.ways_in import list_auth_methods
from receiver.domain.policy import PAGERDUTY
from receiver.errors import ConfigError, Problem
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
    findings, loaded = inspect(config)
    if is_online and loaded is not None:
        from receiver.cli.probe import probe_all

        probe_all(loaded, str(config), findings)
    for line in _render(findings):
        say(line)
    if loaded is not None and (methods := list_auth_methods(loaded.settings)):
        say(one_line(f"let in to API and page: {'; '.join(methods)}", MAX_LINE))
    say(_conclude(config, findings, loaded))
    if findings.faults:
        sys.exit(1)


def inspect(config: Path) -> tuple[Findings, Config | None]:
    """Return what can be told without asking anybody, and the configuration if it can be used."""
    findings = Findings()
    try:
        loaded = load_config(config)
    except ConfigError as error:
        findings.faults += error.problems
        return findings, None
    findings.add_warnings(loaded.routing.warnings)
    findings.add_warnings(_find_unreadable(loaded))
    findings.add_warnings(loaded.shelf.warnings)
    findings.add_warnings(find_disagreements(loaded.routing, loaded.shelf.all(), loaded.shelf.matrix_rows()))
    return findings, loaded


def _find_unreadable(loaded: Config) -> Iterator[Problem]:
    """Yield the files that can't be read; of a path that isn't there the configuration told already."""
    missing = {str(path) for path in loaded.routing.runbooks if not path.exists()}
    return (problem for problem in loaded.shelf.problems if problem.file not in missing)


def _render(findings: Findings) -> Iterator[str]:
    for problem in findings.faults:
        yield _render_problem(problem)
    for problem in findings.warnings:
        yield f"warning: {_render_problem(problem)}"
    for sentence in findings.good:
        yield f"ok: {one_line(sentence, MAX_LINE)}"


def _render_problem(problem: Problem) -> str:
    return one_line(str(replace(problem, file=show_path(problem.file))), MAX_LINE)


def _conclude(config: Path, findings: Findings, loaded: Config | None) -> str:
    """Return the whole in one sentence."""
    if findings.faults:
        return f"{config} is not fine: {_count(len(findings.faults), 'fault')}."
    if loaded is None:
        return ""
    routing = loaded.routing
    runbooks = loaded.shelf.names()
    counts = [
        _count(len(routing.routes), "route"),
        _count(len(routing.policies), "escalation"),
        _count(len(routing.responders), "responder"),
        _count(len(runbooks), "runbook"),
    ]
    but = f", with {_count(len(findings.warnings), 'warning')}" if findings.warnings else ""
    return f"{config} is fine{but}: {', '.join(counts)}; {_say_simulated(loaded)}."


def _say_simulated(loaded: Config) -> str:
    """Return which channels are only simulated, for want of a token or a key."""
    simulated = [] if loaded.slack_token else ["Slack"]
    pagers = {name: who.find_target(PAGERDUTY) for name, who in loaded.routing.responders.items()}
    silent = [name for name, pager in pagers.items() if pager is not None and not pager.secret]
    if silent:
        everybody = len(silent) == sum(pager is not None for pager in pagers.values())
        simulated.append("PagerDuty" if everybody else f"PagerDuty for {', '.join(silent)}")
    if not simulated:
        return "nothing is simulated"
    return f"{' and '.join(simulated)} {'is' if len(simulated) == 1 else 'are'} simulated"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
