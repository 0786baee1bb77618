"""Headings underlined as in reStructuredText, and those without a blank, count like Markdown's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.runbooks.parser import parse_file
from receiver.runbooks.underlines import mark_headings


def list_headings(text: str) -> list[tuple[str, int, int]]:
    return [(one.title, one.level, one.line) for one in parse_file(text, "a.md").outline.walk_headings()][1:]


@pytest.mark.parametrize("mark", "~^\"'*+#")
def test_an_underlined_title_is_a_heading_below_markdowns_own(mark):
    text = f"Runbooks\n========\n\nDiskFull\n{mark * 8}\n\nFree it.\n\nNodeDown\n{mark * 9}\n\nStart it.\n"
    assert list_headings(text) == [("Runbooks", 1, 1), ("DiskFull", 3, 4), ("NodeDown", 3, 9)]


@pytest.mark.parametrize("mark", "=-*#")  # between two lines of `~` is code
def test_a_title_between_two_lines_is_the_highest_heading(mark):
    assert list_headings(f"{mark * 9}\n DiskFull\n{mark * 9}\n\nFree it.\n") == [("DiskFull", 1, 2)]


def test_styles_are_levels_in_the_order_in_which_they_appear():
    text = "Alpha\n~~~~~\n\nBeta\n^^^^\n\nGamma\n~~~~~\n\nx\n"
    assert list_headings(text) == [("Alpha", 3, 1), ("Beta", 4, 4), ("Gamma", 3, 7)]


def test_a_heading_needs_no_blank_behind_its_marks():
    assert list_headings("##DiskFull\n\nx\n\n###`NodeDown`\n\ny\n") == [
        ("DiskFull", 2, 1),
        ("NodeDown", 3, 5),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Run this:\n\n~~~~\nls\n~~~~\n",
        "Run this:\n~~~~\nls\n~~~~\n",  # shorter than the line above
        "Run\n~~~~\nls\n~~~~\n",  # something follows
        "two lines\nof text\n*******\n\nx\n",
        "```\nDiskFull\n~~~~~~~~\n\n##Name\n```\n",
        "- item\n\n    DiskFull\n    ~~~~~~~~\n",
        "> quoted\n~~~~~~~~\n\nx\n~~~~~~~~\n",
        "*****\n\n*****\n",
        "x\n##Name\n",
        "##!/bin/sh\n",
        "##1 is an issue\n",
    ],
)
def test_other_text_is_unchanged(text):
    assert mark_headings(text) == text


@given(st.text(st.sampled_from("~*#=-` \nab>"), max_size=80) | st.text())
def test_the_number_of_lines_stays(text):
    assert mark_headings(text).count("\n") == text.count("\n")
