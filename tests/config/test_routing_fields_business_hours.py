"""The country of the business hours: it must be in the list of holidays."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.config.routing_loader import load_routing
from receiver.errors import ConfigError

FILE = """version: 1
routes: [{{channel: "#alerts"}}]
business_hours: {{holidays: {}}}
"""


def load(folder: Path, holidays: str):
    (folder / "routing.yaml").write_text(FILE.format(holidays))
    return load_routing(folder / "routing.yaml", {}).business_hours


@pytest.mark.parametrize(
    ("written", "expected"), [("us", "US"), ("NO", "NO"), ("de-by", "DE-BY"), ("''", "")]
)
def test_a_country_may_be_followed_by_one_of_its_parts(tmp_path, written, expected):
    assert load(tmp_path, written).holidays == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("ZZ", "'ZZ' is no country, expected a code of two letters like US"),
        ("DE-XX", "'DE-XX' is no country, expected one of its parts, like DE-BY"),
        ("XX-BY", "'XX-BY' is no country, expected a code of two letters like US"),
    ],
)
def test_an_unknown_country_is_a_fault(tmp_path, written, expected):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, written)
    assert expected in str(caught.value)
