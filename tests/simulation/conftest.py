"""`pytest tests/simulation --seed N` plays schedule N again and prints what happened; `--schedules M` plays M
from there on. Without them, or SIM_SEED and SIM_SCHEDULES, the same hundreds are played each time;
`make test-exhaustive` plays thousands.
"""

from __future__ import annotations

import os

import pytest

SCHEDULES = 300


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="the first schedule to play")
    parser.addoption("--schedules", type=int, default=None, help="how many schedules to play")


@pytest.fixture(scope="session")
def seeds(request: pytest.FixtureRequest) -> range:
    """The schedules to play: one, when only its seed is given."""
    seed = request.config.getoption("--seed", None)
    count = request.config.getoption("--schedules", None)
    if seed is None and "SIM_SEED" in os.environ:
        seed = int(os.environ["SIM_SEED"])
    if count is None and "SIM_SCHEDULES" in os.environ:
        count = int(os.environ["SIM_SCHEDULES"])
    first = 0 if seed is None else seed
    return range(first, first + (count or (SCHEDULES if seed is None else 1)))
