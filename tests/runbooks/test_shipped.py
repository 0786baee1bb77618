"""The runbooks that come with the receiver."""

from pathlib import Path

import pytest

from receiver.runbooks.excerpt import EXCERPT_LIMIT, cut_excerpt
from receiver.runbooks.model import render_plain
from tests.support.catalogues import a_catalogue

CATALOGUE = a_catalogue([Path(__file__).parents[2] / "runbooks"])
SEVERITIES = {
    "APIHighErrorRate": "warning",
    "APIRateLimitExceeded": "critical",
    "DeepSeekAPIDown": "critical",
    "HighCPUUsage": "critical",
    "HighDiskUsage": "warning",
    "MemoryLeakDetected": "critical",
    "PerplexityAPIDown": "critical",
    "TestCoverageDrop": "critical",
    "TestCoverageLow": "warning",
    "TestWatcherDown": "critical",
    "TestWatcherHighErrorRate": "critical",
    "TestWatcherQueueBacklog": "warning",
    "TestWatcherSlowTests": "warning",
}


def test_the_shipped_runbooks_cover_thirteen_alerts_with_their_severities():
    assert {runbook.name: runbook.severity for runbook in CATALOGUE.list_runbooks()} == SEVERITIES
    assert (CATALOGUE.problems, CATALOGUE.warnings) == ((), ())


@pytest.mark.parametrize("name", SEVERITIES)
def test_each_runbook_fits_into_a_message_with_all_its_sections(name):
    runbook = CATALOGUE.find_runbook(name)
    assert runbook is not None
    excerpt = cut_excerpt(runbook, EXCERPT_LIMIT)
    assert [section.title for section in excerpt.sections] == [
        "Symptom",
        "Impact",
        "Diagnosis",
        "Resolution",
        "Escalation",
    ]
    assert not excerpt.is_cut
    assert render_plain(excerpt)


def test_the_shipped_matrix_has_three_severities():
    assert [(row.severity, row.response, row.path) for row in CATALOGUE.list_matrix_rows()] == [
        ("critical", "5 minutes", ("On-call", "Team Lead", "Manager")),
        ("warning", "30 minutes", ("On-call", "Team Lead")),
        ("info", "Next business day", ("Team review",)),
    ]


def test_no_runbook_uses_the_removed_api_of_alertmanager():
    assert not any(
        "9093/api/v1" in path.read_text() for path in (Path(__file__).parents[2] / "runbooks").glob("*.md")
    )
