"""Which schedules the simulation runs: a sample chosen by the commit, or thousands (`make test-exhaustive`).

`pytest tests/simulation --seed N` runs schedule N again and prints its trace; `--schedules M` runs M
schedules from there on. SIM_SEED and SIM_SCHEDULES do the same.
"""

from __future__ import annotations

import os

import pytest

from tests.sampling import build_random, is_exhaustive

SAMPLED, EXHAUSTIVE = 30, 5000


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="the first schedule to play")
    parser.addoption("--schedules", type=int, default=None, help="how many schedules to play")


@pytest.fixture(scope="session")
def seeds(request: pytest.FixtureRequest) -> range:
    """Return the seeds of the schedules to run: one if only a seed is given."""
    seed = request.config.getoption("--seed", None)
    count = request.config.getoption("--schedules", None)
    if seed is None and "SIM_SEED" in os.environ:
        seed = int(os.environ["SIM_SEED"])
    if count is None and "SIM_SCHEDULES" in os.environ:
        count = int(os.environ["SIM_SCHEDULES"])
    if seed is not None:
        return range(seed, seed + (count or 1))
    first = build_random("simulation").randrange(1_000_000)
    return range(first, first + (count or (EXHAUSTIVE if is_exhaustive() else SAMPLED)))
