"""Which of many cases a run tests: a sample chosen by the commit, or all of them with `pytest --exhaustive`.

SAMPLE_SEED repeats the sample of another run, which prints its seed at the end. `--budget SECONDS` limits an
exhaustive run: when the time is up, no test starts a further case, and cases that were not run are no
failure.
"""

from __future__ import annotations

import math
import os
import random
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

SEED_VARIABLE = "SAMPLE_SEED"
EXHAUSTIVE_VARIABLE = "SAMPLE_EXHAUSTIVE"  # set by --exhaustive
ENDS_AT_VARIABLE = "SAMPLE_ENDS_AT"  # seconds since 1970; absent without a budget


def find_seed() -> str:
    """Return the seed of this run's samples: SAMPLE_SEED, or else the commit."""
    if seed := os.environ.get(SEED_VARIABLE):
        return seed
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no commit"


def build_random(name: str) -> random.Random:
    """Return the random generator of this run for the purpose *name*."""
    return random.Random(f"{find_seed()} {name}")


def sample(cases: Sequence[T], count: int, name: str) -> list[T]:
    """Return *count* of *cases* in their order: one at random from each of as many equal parts."""
    if len(cases) <= count:
        return list(cases)
    rng = build_random(name)
    bounds = [n * len(cases) // count for n in range(count + 1)]
    return [cases[rng.randrange(first, end)] for first, end in pairwise(bounds)]


def count_examples(exhaustive: int) -> int:
    """Return the number of Hypothesis examples of a property: *exhaustive*, or a sixth of that for a sample."""
    return exhaustive if is_exhaustive() else math.ceil(exhaustive / 6)


def is_exhaustive() -> bool:
    """Return whether this run tests all cases."""
    return bool(os.environ.get(EXHAUSTIVE_VARIABLE))


def shuffle(cases: Sequence[T], name: str) -> list[T]:
    """Return all *cases* in an order of this run, so that runs with a budget test different ones."""
    return build_random(name).sample(cases, len(cases))


class Budget:
    """The time until which a test may start new cases; each test runs at least one."""

    def __init__(self, ends_at: float | None) -> None:
        """*ends_at* is in seconds since 1970, None for no limit."""
        self._ends_at = ends_at

    def limit(self, cases: Iterable[T]) -> Iterator[T]:
        for number, case in enumerate(cases):
            if number and self._ends_at is not None and time.time() >= self._ends_at:
                return
            yield case

    def share(self, tests: int) -> Budget:
        """Return the budget of the next of *tests* that run one after the other."""
        if self._ends_at is None:
            return self
        now = time.time()
        return Budget(now + max(0.0, self._ends_at - now) / tests)


def load_budget() -> Budget:
    """Return the budget of the whole run."""
    ends_at = os.environ.get(ENDS_AT_VARIABLE)
    return Budget(float(ends_at) if ends_at else None)
