"""Warnings of runbooks that promise something else than routing.yaml does."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.config.model import Routing
from receiver.config.routing_loader import load_routing
from receiver.config.runbook_checks import find_disagreements
from receiver.runbooks.escalation_matrix import MatrixRow
from receiver.runbooks.model import Runbook
from tests.config.files import PEOPLE, load

SHIPPED = Path(__file__).parents[2] / "routing.yaml"
CRITICAL = MatrixRow("Critical", "5 minutes", ("On-call", "Team Lead", "Manager"), "books/a.md", 407)
WARNING = MatrixRow("Warning", "30 minutes", ("On-call", "Team Lead"), "books/a.md", 408)
INFO = MatrixRow("Info", "Next business day", ("Team review",), "books/a.md", 409)
MATRIX = (CRITICAL, WARNING, INFO)


@pytest.fixture
def shipped() -> Routing:
    return load_routing(SHIPPED, {})


def _runbook(severity: str, name: str = "DiskFull") -> Runbook:
    return Runbook(name, severity, (), file="books/a.md", line=14)


def _warn(routing: Routing, *rows: MatrixRow, runbooks: tuple[Runbook, ...] = ()) -> list[str]:
    return [str(problem) for problem in find_disagreements(routing, runbooks, rows)]


def test_the_shipped_routes_agree_with_the_usual_matrix(shipped: Routing) -> None:
    runbooks = tuple(_runbook(severity) for severity in ("Critical", "Warning", "Info", ""))
    assert _warn(shipped, *MATRIX, runbooks=runbooks) == []


@pytest.mark.parametrize("title", ["on-call", "ON CALL", "On_Call"])
def test_titles_are_compared_without_case_and_hyphens(shipped: Routing, title: str) -> None:
    assert _warn(shipped, MatrixRow("warning", "30m", (title, "teamlead"), "a.md", 1)) == []


def test_another_order_of_responders_is_a_warning(shipped: Routing) -> None:
    row = MatrixRow("Warning", "30 minutes", ("Team Lead", "On-call"), "a.md", 7)
    assert _warn(shipped, row) == [
        (
            "a.md:7: the Escalation Matrix says 'Warning' goes to Team Lead → On-call, but route '#alerts-warning'"
            " pages On-call → Team Lead, expected the same responders in the same order"
        ),
    ]


def test_another_wait_is_a_warning_for_each_step(shipped: Routing) -> None:
    row = MatrixRow("Critical", "15 min", CRITICAL.path, "a.md", 7)
    assert _warn(shipped, row) == [
        (
            "a.md:7: the Escalation Matrix says 'Critical' is answered within 15m, but Team Lead is notified 5m"
            " after On-call, expected after: 15m on that step"
        ),
        (
            "a.md:7: the Escalation Matrix says 'Critical' is answered within 15m, but Manager is notified 5m"
            " after Team Lead, expected after: 15m on that step"
        ),
    ]


@pytest.mark.parametrize("response", ["5 minutes", "5m", "within 5 Min.", "300 s", "immediately", ""])
def test_a_response_time_is_parsed_in_the_usual_spellings(shipped: Routing, response: str) -> None:
    assert _warn(shipped, MatrixRow("Critical", response, CRITICAL.path, "a.md", 7)) == []


def test_a_review_whose_route_pages_is_a_warning(shipped: Routing) -> None:
    row = MatrixRow("Warning", "Next business day", ("Team review",), "a.md", 7)
    assert _warn(shipped, row) == [
        (
            "a.md:7: the Escalation Matrix says 'Warning' is for review, but route '#alerts-warning' pages"
            " On-call → Team Lead, expected a route with review and without escalation"
        ),
    ]


def test_a_review_that_no_route_has_is_a_warning(tmp_path: Path) -> None:
    routing = load(tmp_path, "version: 1\nroutes: [{channel: '#a'}]\n")
    assert _warn(routing, INFO) == [
        (
            "books/a.md:409: the Escalation Matrix says 'Info' is for review, but route '#a' has none,"
            " expected review: next-business-day"
        ),
    ]


def test_a_critical_runbook_whose_route_does_not_page_is_a_warning(tmp_path: Path) -> None:
    text = "version: 1\nroutes:\n  - {match: severity=page, channel: '#page', escalation: critical}\n"
    routing = load(tmp_path, text + "  - {channel: '#rest', review: next-business-day}\n" + PEOPLE)
    problems = _warn(routing, CRITICAL, INFO, runbooks=(_runbook("Critical"), _runbook("Info")))
    assert problems[0] == (
        "books/a.md:14: DiskFull is 'Critical' and the Escalation Matrix names On-call → Team Lead → Manager,"
        " but its route '#rest' pages nobody, expected an escalation on that route"
    )
    assert len(problems) == 2  # the other is that of the matrix row


def test_a_critical_runbook_on_the_catch_all_route_is_a_warning_without_a_matrix(tmp_path: Path) -> None:
    routing = load(tmp_path, "version: 1\nroutes: [{channel: '#rest'}]\n")
    assert _warn(routing, runbooks=(_runbook("Critical"), _runbook("Warning"))) == [
        (
            "books/a.md:14: DiskFull is 'Critical' and no route is meant for that, but its route '#rest' pages"
            " nobody, expected an escalation on that route"
        ),
    ]


def test_a_route_that_matches_the_alert_by_name_is_no_warning(tmp_path: Path) -> None:
    text = "version: 1\nroutes: [{match: alertname=DiskFull, channel: '#disks'}, {channel: '#rest'}]\n"
    assert _warn(load(tmp_path, text), runbooks=(_runbook("Critical"),)) == []


def test_an_unknown_severity_is_not_compared(shipped: Routing) -> None:
    assert _warn(shipped, runbooks=(_runbook("v2"),)) == []
