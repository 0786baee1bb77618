"""The names of deliveries on the pages."""

from __future__ import annotations

import pytest

from receiver.web.pages.warnings import delivery_label


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("message", "the message"),
        ("page:on-call", "page to on-call"),
        ("step:team-lead", "reply to team-lead in the thread"),
        ("page:", "page:"),
        ("something_new", "something new"),
        ("something_new:x", "something new:x"),
    ],
)
def test_a_delivery_has_a_readable_name_and_an_unknown_one_its_key(key: str, name: str) -> None:
    assert delivery_label(key) == name
