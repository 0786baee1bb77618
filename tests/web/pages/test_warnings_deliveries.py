"""Deliveries in the reader's words."""

from __future__ import annotations

import pytest

from receiver.web.pages.warnings import delivery_label


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("root", "the message"),
        ("page:on-call", "page to on-call"),
        ("step:team-lead", "word to team-lead in the thread"),
        ("page:", "page:"),
        ("something_new", "something new"),
        ("something_new:x", "something new:x"),
    ],
)
def test_a_delivery_is_named_for_the_reader_and_an_unknown_one_by_its_key(key: str, words: str) -> None:
    assert delivery_label(key) == words
