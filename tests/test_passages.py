"""Prose and code fences in the text of annotations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.passages import (
    Passage,
    balance_backticks,
    cut_passages,
    cut_text,
    format_passages,
    split_code,
    split_passages,
)

COLUMNS = "NAME    READY\nweb-1   0/1\n\tdb    1/1"
_PIECES = [*"ab `~\n\t\r", "```", "~~~", "\n```\n", "\u200d", "é", "日", "\ud800", "word"]
TEXTS = st.lists(st.sampled_from(_PIECES), max_size=40).map("".join)


@pytest.mark.parametrize(
    "written",
    [
        f"Pods:\n```\n{COLUMNS}\n```\nSee",
        f"Pods:\n```text\n{COLUMNS}\n```\nSee",
        f"Pods:\n~~~\n{COLUMNS}\n~~~\nSee",
        f"Pods:\n````\n{COLUMNS}\n````\nSee",
        f"Pods: ```{COLUMNS}```\nSee",
        f"Pods: ```\n{COLUMNS}\n``` See",
        f"Pods:\n```{COLUMNS}\n```\nSee",
        f"Pods:\r\n```\r\n{COLUMNS}\r\n```\r\nSee",
    ],
)
def test_a_fence_keeps_its_blanks_however_it_is_opened_and_closed(written: str) -> None:
    assert [(one.text.strip(" "), one.is_fence) for one in split_passages(written)] == [
        ("Pods:", False),
        (COLUMNS, True),
        ("See", False),
    ]


def test_a_fence_that_is_not_closed_ends_with_the_text() -> None:
    assert split_passages("a\n```\nb  c\n") == [Passage("a"), Passage("b  c", is_fence=True)]
    assert format_passages(split_passages("a\n```\nb  c")) == "a\n```\nb  c\n```"


def test_an_indented_fence_loses_the_indent_of_its_first_mark_only() -> None:
    assert split_passages("1. x\n   ```\n   a:\n     b\n   ```")[1] == Passage("a:\n  b", is_fence=True)


def test_a_longer_fence_may_hold_a_shorter_one() -> None:
    (passage,) = split_passages("````\n```\nx\n```\n````")
    assert passage == Passage("```\nx\n```", is_fence=True)
    assert format_passages([passage]) == "~~~\n```\nx\n```\n~~~"


def test_three_backticks_without_a_partner_are_prose() -> None:
    assert split_passages("a ``` b") == [Passage("a ``` b")]
    assert split_passages("```x``` and `y`") == [Passage("```x``` and `y`")]


def test_a_long_fence_is_cut_by_whole_lines_and_the_prose_behind_it_stays() -> None:
    lines = [f"pod-{number:03}   0/1   CrashLoopBackOff" for number in range(50)]
    shown = cut_text("Pods:\n```\n" + "\n".join(lines) + "\n```\nSee the wiki", 500)
    assert len(shown) <= 500
    assert shown.endswith("\n```\nSee the wiki")
    code = shown.split("```\n")[1].rstrip("\n").split("\n")
    assert code[:-1] == lines[: len(code) - 1]
    assert code[-1] == f"… {50 - len(code) + 1} more lines"


def test_of_a_single_long_line_of_code_the_beginning_is_shown() -> None:
    shown = cut_text(f"```\n{'x' * 5000}\n```", 300)
    assert len(shown) <= 300
    assert shown.startswith("```\nxxx")
    assert shown.endswith("…\n```")


@given(TEXTS, st.integers(0, 80))
def test_no_text_exceeds_its_limit_and_every_fence_is_closed(text: str, limit: int) -> None:
    shown = format_passages(cut_passages(split_passages(text), limit))
    assert len(shown) <= limit
    assert sum(line == "```" for line in shown.split("\n")) % 2 == 0 or "~~~" in shown
    assert len(cut_text(text, limit)) <= limit


@given(TEXTS)
def test_no_passage_is_empty_and_fences_lose_no_line(text: str) -> None:
    passages = split_passages(text)
    assert all(one.text.strip() for one in passages)
    assert cut_passages(passages, 10_000) == passages


@given(st.text(st.sampled_from("ab `"), max_size=40))
def test_backticks_are_left_in_pairs_only(line: str) -> None:
    shown = balance_backticks(line)
    assert shown.count("`") % 2 == 0
    assert "``" not in shown
    assert not any("`" in piece for piece, _ in split_code(line))


def test_code_spans_of_any_length_become_single_ones() -> None:
    cases = {
        "a `b` c": "a `b` c",
        "a ``b`c`` d": "a `b'c` d",
        "a ` b": "a ' b",
        "```x```": "`x`",
        "`a` `b": "`a` 'b",
        "` `": "' '",
    }
    assert {line: balance_backticks(line) for line in cases} == cases
