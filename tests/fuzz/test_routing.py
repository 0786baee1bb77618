"""Any routing.yaml: it is loaded into a Routing that matches alerts, or refused with lines."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from receiver.config.routing_loader import load_routing
from receiver.errors import ConfigError, Problem
from tests.fuzz.mutations import FUZZED, NASTY
from tests.support.catalogues import a_catalogue

SHIPPED = (Path(__file__).parents[2] / "routing.yaml").read_text(encoding="utf-8")
LINES = SHIPPED.splitlines()
TEXTS = [text.encode("utf-8", "replace").decode() for text in NASTY if isinstance(text, str)]
PIECES = [
    *TEXTS,
    "${file:/dev/zero}",
    "${file:/etc}",
    "${X}",
    "*a",
    "&a",
    "<<:",
    "!!python/object:os.system",
    "- ",
]


def change(rng: random.Random, lines: list[str], times: int) -> str:
    lines = list(lines)
    for _ in range(times):
        n = rng.randrange(len(lines))
        step = rng.randrange(6)
        if step == 0:
            del lines[n]
        elif step == 1:
            lines.insert(n, rng.choice(lines))
        elif step == 2:
            lines[n] = "  " * rng.randrange(3) + lines[n].strip()
        elif step == 3:
            start = rng.randrange(len(lines[n]) + 1)
            lines[n] = lines[n][:start] + rng.choice(PIECES) + lines[n][start + rng.randrange(8) :]
        elif step == 4 and ":" in lines[n]:
            lines[n] = lines[n].partition(":")[0] + ": " + rng.choice(PIECES)
        else:
            lines[n], lines[-1 - n] = lines[-1 - n], lines[n]
        if not lines:
            return ""
    return "\n".join(lines) + "\n"


def test_every_file_is_loaded_or_refused_with_lines(tmp_path: Path) -> None:
    path = tmp_path / "routing.yaml"

    @FUZZED
    @given(st.integers(0, 2**32), st.integers(0, 8))
    def load(seed: int, times: int) -> None:
        rng = random.Random(seed)
        text = change(rng, LINES, times)
        path.write_bytes(text.encode("utf-8", "replace"))
        problems: Sequence[Problem] = ()
        try:
            routing = load_routing(path, {"X": rng.choice(TEXTS)})
        except ConfigError as error:
            problems = error.problems or [Problem("", 0, "a refusal without a reason")]
        if problems:
            assert all(1 <= problem.line <= len(text) + 1 for problem in problems), problems
            return
        repr(routing)
        for severity in ("critical", "warning", "info", ""):
            route = routing.find_route({"alertname": "A", "severity": severity})
            routing.get_policy(route.escalation)
        a_catalogue(routing.runbooks)

    load()
