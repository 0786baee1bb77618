"""docs/guarantees.md: every test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROMISES = (ROOT / "docs" / "guarantees.md").read_text()


def test_every_test_of_a_guarantee_exists() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", PROMISES))
    assert len(named) > 30
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_every_guarantee_names_its_mechanism_and_its_tests() -> None:
    rows = [line for line in PROMISES.splitlines() if line.startswith("| **")]
    assert len(rows) >= 20
    for row in rows:
        promise, how, tried = (cell.strip() for cell in row.strip("|").split(" | "))
        assert promise
        assert how
        assert "`tests/" in tried


def test_every_story_belongs_to_a_guarantee_or_only_to_texts() -> None:
    """A story test that belongs to no guarantee shows that a guarantee is missing in the document."""
    stories = {f"tests/story/{path.name}" for path in (ROOT / "tests" / "story").glob("test_*.py")}
    elsewhere = {
        "tests/story/test_senders.py",  # texts
        "tests/story/test_links.py",  # texts
        "tests/story/test_closing.py",  # what an incident is, as the README defines it
        "tests/story/test_configuration_changes.py",
        "tests/story/test_acknowledgement_timeout.py",
        "tests/story/test_long_lives.py",
        "tests/story/test_on_call.py",
        "tests/story/test_review.py",
        "tests/story/test_stale.py",
        "tests/story/test_alertmanager_check.py",
    }
    assert [name for name in sorted(stories - elsewhere) if name not in PROMISES] == []
