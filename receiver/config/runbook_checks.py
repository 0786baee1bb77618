"""Compare the runbooks with routing.yaml and warn where they differ; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from receiver.clock import format_duration, parse_duration
from receiver.config.model import Routing
from receiver.config.yaml_tree import quote_text
from receiver.errors import Problem
from receiver.model.alert import Severity
from receiver.runbooks.escalation_matrix import MatrixRow
from receiver.runbooks.model import Runbook
from receiver.text import one_line

_RESPONSE = re.compile(r"(\d{1,6})\s*(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?)\b\.?", re.IGNORECASE)
_REVIEW = re.compile(r"\breview|business day", re.IGNORECASE)
_MAX_TITLES = 20


def find_disagreements(
    routing: Routing, runbooks: Sequence[Runbook], matrix: Sequence[MatrixRow]
) -> tuple[Problem, ...]:
    """Return a warning for each difference, by file and line.

    A runbook states that its alert, at its severity, reaches responders of the Escalation Matrix; a row
    of the matrix states which responders are notified, in which order and how soon.
    """
    problems = [problem for row in matrix for problem in _check_row(routing, row)]
    problems += [problem for runbook in runbooks for problem in _check_runbook(routing, runbook, matrix)]
    return tuple(sorted(dict.fromkeys(problems), key=lambda problem: (problem.file, problem.line)))


def _check_runbook(routing: Routing, runbook: Runbook, matrix: Sequence[MatrixRow]) -> Iterator[Problem]:
    """Yield a warning if an alert pages no responder although its severity demands it."""
    severity = routing.severities.find_severity(runbook.severity)
    labels = {"alertname": runbook.name, "severity": runbook.severity.strip().lower()}
    route = routing.find_route(labels)
    if severity in (None, Severity.NONE) or routing.get_policy(route.escalation).steps:
        return
    row = next((row for row in matrix if routing.severities.find_severity(row.severity) is severity), None)
    if row is not None and not _is_review(row):
        expectation = f"the Escalation Matrix names {_format_path(row.path)}"
    elif row is None and severity is Severity.CRITICAL and not (route.matchers and route.matches(labels)):
        expectation = "no route is meant for that"
    else:
        return
    what = (
        f"{one_line(runbook.name, 80)} is {quote_text(runbook.severity)} and {expectation}, "
        f"but its route {quote_text(route.name)} pages nobody"
    )
    yield Problem(runbook.file, runbook.line, what, "an escalation on that route")


def _check_row(routing: Routing, row: MatrixRow) -> Iterator[Problem]:
    """Yield how the escalation of this row's severity differs from the row."""
    route = routing.find_route({"severity": row.severity.strip().lower()})
    policy = routing.get_policy(route.escalation)
    statement = f"the Escalation Matrix says {quote_text(row.severity)}"
    titles = [step.responder.title for step in policy.steps]
    paging = f"route {quote_text(route.name)} pages {_format_path(titles) or 'nobody'}"
    if _is_review(row):
        if policy.steps:
            what = f"{statement} is for review, but {paging}"
            yield Problem(row.file, row.line, what, "a route with review and without escalation")
        elif not route.review:
            what = f"{statement} is for review, but route {quote_text(route.name)} has none"
            yield Problem(row.file, row.line, what, "review: next-business-day")
    elif _normalize_titles(row.path) != _normalize_titles(titles):
        what = f"{statement} goes to {_format_path(row.path)}, but {paging}"
        yield Problem(row.file, row.line, what, "the same responders in the same order")
    elif found := _RESPONSE.search(row.response):  # `5 minutes` or `1 h`, not `immediately`
        response_s = parse_duration(f"{found[1]}{found[2][0].lower()}")
        response = format_duration(response_s)
        for before, step in pairwise(policy.steps):
            if step.after != response_s:
                what = (
                    f"{statement} is answered within {response}, but {step.responder.title} is notified "
                    f"{format_duration(step.after)} after {before.responder.title}"
                )
                yield Problem(row.file, row.line, what, f"after: {response} on that step")


def _is_review(row: MatrixRow) -> bool:
    """Return whether the row demands a later review instead of a page."""
    return not row.path or any(_REVIEW.search(text) for text in (row.response, *row.path))


def _normalize_titles(titles: Sequence[str]) -> list[str]:
    """Return titles in a comparable form: `Team Lead` and `team-lead` are the same."""
    return [re.sub(r"[\s_-]+", "", title).casefold() for title in titles]


def _format_path(path: Sequence[str]) -> str:
    return " → ".join(one_line(title, 40) for title in path[:_MAX_TITLES])
