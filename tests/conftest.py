"""Settings for all tests: their order, and whether a skipped test fails.

With RECEIVER_TESTS_NO_SKIP=1, as `.ci/run` sets it, a skipped test fails: a developer's machine may lack
Alertmanager or Chromium, but where everything is installed a skip means that the test never runs.
"""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.fixtures import redis_client, rig, valkey_url
from tests.sampling import (
    ENDS_AT_VARIABLE,
    EXHAUSTIVE_VARIABLE,
    SEED_VARIABLE,
    Budget,
    find_seed,
    load_budget,
)
from tests.support.compiled import share_compiled_code

__all__ = ["redis_client", "rig", "valkey_url"]

# No deadline for Hypothesis: other processes use the machine, too.
settings.register_profile("receiver", deadline=None)
settings.load_profile("receiver")
share_compiled_code()

# The longest files, each of those that mostly wait beside one that mostly computes.
_LONGEST = (
    "e2e/test_chaos.py",
    "simulation/test_simulation.py",
    "e2e/test_page_evidence.py",
    "story/test_storms.py",
    "cli/test_run.py",
    "story/test_storm_crashes.py",
    "e2e/test_redis_faults.py",
    "browser/test_access.py",
    "e2e/test_clocks_apart.py",
    "story/test_storm_refused.py",
    "e2e/test_alertmanagers.py",
    "browser/test_public_path.py",
    "e2e/test_processes.py",
    "story/test_rate_limits.py",
)
_TESTS = Path(__file__).parent
_MEMORY = Path("/dev/shm")
_NEEDED_BYTES = 2 * 1024**3
_NO_SKIP = os.environ.get("RECEIVER_TESTS_NO_SKIP") == "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--exhaustive", action="store_true", help="play all cases, not a sample of them")
    parser.addoption(
        "--budget",
        type=float,
        default=None,
        help="seconds after which no test takes a new case (tests/sampling.py)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed, the end of the budget and the temporary folder, for the processes of pytest-xdist, too."""
    os.environ.setdefault(SEED_VARIABLE, find_seed())
    if config.getoption("--exhaustive"):
        os.environ[EXHAUSTIVE_VARIABLE] = "1"
    budget_s = config.getoption("--budget")
    if budget_s is not None:
        os.environ.setdefault(ENDS_AT_VARIABLE, str(time.time() + budget_s))
    if _is_usable(_MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


def _is_usable(folder: Path) -> bool:
    """Return whether a memory file system has room for the tests' files and may run programs.

    The Valkey of each `receiver run` syncs its file after each write, and no test takes the power away.
    """
    if not os.access(folder, os.W_OK) or shutil.disk_usage(folder).free < _NEEDED_BYTES:
        return False
    with tempfile.NamedTemporaryFile(dir=folder) as probe:
        Path(probe.name).chmod(0o700)
        return os.access(probe.name, os.X_OK)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"samples: {SEED_VARIABLE}={find_seed()}")


@pytest.fixture
def budget(request: pytest.FixtureRequest) -> Budget:
    """This test's share of the run's budget: what is left, divided by the tests of its file that need some."""
    items: list[pytest.Item] = request.session.items
    rest = items[items.index(request.node) :]
    alike = [
        item for item in rest if item.path == request.path and "budget" in getattr(item, "fixturenames", ())
    ]
    return load_budget().share(len(alike))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, and beside each end-to-end test, which mostly waits, one that computes.

    So no pytest process works alone at the end, and none of the cores waits at the beginning.
    """
    by_file: dict[str, list[pytest.Item]] = {}
    for item in items:
        by_file.setdefault(item.path.relative_to(_TESTS).as_posix(), []).append(item)
    longest = [by_file.pop(name) for name in _LONGEST if name in by_file]
    waiting = [of_file for name, of_file in by_file.items() if name.startswith("e2e/")]
    others = [of_file for name, of_file in by_file.items() if not name.startswith("e2e/")]
    pairs = itertools.zip_longest(waiting, others, fillvalue=[])
    items[:] = [item for of_file in (*longest, *itertools.chain(*pairs)) for item in of_file]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let the garbage collector never look at modules and test items: they live as long as the process."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if _NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason}\nRECEIVER_TESTS_NO_SKIP is set: here nothing may be skipped"
