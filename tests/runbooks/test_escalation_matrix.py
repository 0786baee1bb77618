"""The Escalation Matrix, as far as it is a valid table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.runbooks.escalation_matrix import MatrixRow, find_matrix

TABLE = """\
# Procedures

### Escalation Matrix
| Severity | Response Time | Escalation Path |
|----------|---------------|-----------------|
| **Critical** | 5 minutes | On-call → Team Lead → Manager |
| Warning | 30 minutes | On-call -> `Team Lead` |
| Info | Next business day | Team review |
| | | nobody |

### Contacts
| Severity | Who |
|---|---|
| Critical | me |
"""


def test_every_row_is_parsed_with_its_line():
    assert find_matrix(TABLE, "p.md") == (
        MatrixRow("critical", "5 minutes", ("On-call", "Team Lead", "Manager"), "p.md", 6),
        MatrixRow("warning", "30 minutes", ("On-call", "Team Lead"), "p.md", 7),
        MatrixRow("info", "Next business day", ("Team review",), "p.md", 8),
    )


def test_columns_are_found_by_name():
    text = "## Escalation matrix\n\n| Who is told | Level | Within |\n|-|-|-|\n| On-call | critical | 5m |\n"
    assert find_matrix(text, "p.md") == (MatrixRow("critical", "5m", ("On-call",), "p.md", 5),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "## Escalation Matrix\n\nNone yet.",
        "```\n" + TABLE + "```",
        "| Severity | Path |\n|-|-|\n| critical | me |",
    ],
)
def test_without_a_table_under_that_heading_there_are_no_rows(text):
    assert find_matrix(text, "p.md") == ()


def test_a_front_matter_does_not_shift_the_lines():
    assert find_matrix("---\na: b\n---\n" + TABLE, "p.md")[0].line == 9


@given(st.text())
def test_any_text_is_parsed_without_errors(text):
    find_matrix("## Escalation Matrix\n\n" + text, "p.md")
