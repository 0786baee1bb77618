"""Whatever a file contains, loading it soon returns a Routing or raises ConfigError."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.config.fields import Table
from receiver.config.model import Routing
from receiver.config.routing_fields import RoutingFile
from receiver.config.routing_loader import parse_routing
from receiver.config.settings import load_settings
from receiver.config.yaml_tree import Diagnostics, Interpolation, parse_document
from receiver.errors import ConfigError
from tests.config.files import PEOPLE, SMALLEST
from tests.sampling import count_examples

SHIPPED = (Path(__file__).parents[2] / "routing.yaml").read_text(encoding="utf-8")
WHOLE = (
    SMALLEST
    + PEOPLE
    + """\
business_hours: {timezone: UTC, days: "mon-fri", from: "09:00", to: "17:00", holidays: US}
heartbeats: [{match: ['a="b"'], every: 5m, grace: 2m, notify: on-call}]
limits: {slack_posts: 1/s}
runbooks: [books/, "https://wiki/"]
alertmanagers: {eu: {urls: ["http://a"], looks: 3}}
"""
)
PIECES = [
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "&a ",
    "*a",
    "<<: ",
    "!!set ",
    "!x ",
    '"',
    "'",
    "|\n",
    "? ",
    "\t",
    "%",
    "\0",
]
PIECES += [
    "${",
    "${A}",
    "${file:x}",
    "${file:\0}",
    "~",
    "9" * 30,
    "\\ud800",
    "\\UFFFFFFFF",
    "--- ",
    "\n",
    "\u2028",
    "#",
]


def _load(text: str, environ: dict[str, str] | None = None) -> Routing | None:
    """Return the routing, or None after a ConfigError with lines; any other exception is raised."""
    diagnostics, folder = Diagnostics("routing.yaml"), Path("/nonexistent")
    try:
        document = parse_document(text, diagnostics, Interpolation(environ or {}, folder))
        return parse_routing(document, diagnostics, environ or {}, folder)
    except ConfigError as error:
        problems = error.problems
    assert problems
    assert all(problem.line >= 1 for problem in problems)
    assert list(problems) == sorted(problems, key=lambda problem: problem.line)
    str(problems).encode()  # a terminal could not print a lone surrogate
    return None


@given(st.text())
def test_any_text_is_loaded_or_refused(text: str) -> None:
    _load(text)


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=30))
def test_any_pieces_of_yaml_are_loaded_or_refused(pieces: list[str]) -> None:
    _load("".join(pieces))


@pytest.mark.parametrize("whole", [SHIPPED, WHOLE], ids=["shipped", "whole"])
@settings(max_examples=count_examples(150), deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 6))
def test_any_change_of_a_valid_file_is_loaded_or_refused(whole: str, seed: int, count: int) -> None:
    rng, text = random.Random(seed), whole
    for _ in range(count):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice([0, 0, 1, 3, 40]))
        text = text[:start] + rng.choice([*PIECES, text[start : start + 20]]) + text[end:]
    _load(text)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(PIECES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
_SECTIONS = st.sampled_from([each.name for each in Table(RoutingFile).keys.values()])


@settings(deadline=None)
@given(st.dictionaries(_SECTIONS, _VALUES))
def test_any_value_in_any_place_is_loaded_or_refused(sections: dict[str, object]) -> None:
    import yaml

    _load(yaml.safe_dump({"version": 1, "routes": [{"channel": "#a"}]} | sections, allow_unicode=True))


@given(
    st.dictionaries(
        st.sampled_from(["A", "SLACK_BOT_TOKEN", "ALERTMANAGER_URL", "PROMETHEUS_URL"]), st.text()
    )
)
def test_any_environment_is_accepted_or_refused(environ: dict[str, str]) -> None:
    text = "version: 1\nroutes: [{channel: '#a', match: 'a=~\"${A}\"', fallback: '${A}'}]\nrunbooks: '${A}'\n"
    _load(text + "business_hours: {timezone: '${A}', days: '${A}'}\nlinks: {'${A}': '${A}'}\n", environ)


@given(
    st.dictionaries(
        st.sampled_from(["REDIS_URL", "PUBLIC_URL", "SLACK_BOT_TOKEN", "RECEIVER_API_TOKEN"]), st.text()
    )
)
def test_any_setting_is_accepted_or_refused(environ: dict[str, str]) -> None:
    with suppress(ConfigError):
        load_settings(environ)


def test_a_regular_expression_of_only_brackets_is_refused() -> None:
    assert (
        _load("version: 1\nroutes: [{channel: '#a', match: 'a=~\"" + "(" * 4000 + ")" * 4000 + "\"'}]\n")
        is None
    )


def test_an_environment_with_a_lone_surrogate_is_refused() -> None:
    assert _load(SMALLEST + "slack: {token: '${A}'}\n", {"A": "\udcff"}) is None
