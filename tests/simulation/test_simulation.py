"""Random schedules of effects, failures and kills, thousands of them, checked against the guarantees.

pytest tests/simulation                         # schedules chosen by the commit
pytest tests/simulation --seed 1234             # one of them again, with its trace
pytest tests/simulation --seed 5000 --schedules 50000
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.engine.notification import IncidentNotification
from receiver.model.delivery import Receipt
from tests.sampling import load_budget
from tests.simulation.fakes import FakePagerDuty, FakeSlack
from tests.simulation.running import SimulationEnv, SimulationReport, run_all
from tests.valkey import valkey_url

__all__ = ["valkey_url"]

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def found(seeds: range) -> SimulationReport:
    found = run_all(seeds, load_budget())
    print(found)
    return found


@pytest.fixture
def simulation_env(tmp_path: Path, valkey_url: str) -> Iterator[SimulationEnv]:
    simulation_env = SimulationEnv(tmp_path, valkey_url)
    yield simulation_env
    simulation_env.close()


def test_no_guarantee_is_broken_by_kills_failures_and_concurrency(found: SimulationReport) -> None:
    for seed, story in found.broken.items():
        pytest.fail(f"{found}\nseeds {list(found.broken)}; play one again with --seed {seed}:\n{story}")


def test_at_most_one_in_a_hundred_messages_is_posted_twice_in_slack(found: SimulationReport) -> None:
    assert found.doubled <= max(1, found.said // 100), str(found)


def test_a_seed_reproduces_its_schedule(simulation_env: SimulationEnv, seeds: range) -> None:
    first, _ = simulation_env.run_scenario(seeds[0])
    second, _ = simulation_env.run_scenario(seeds[0])
    assert first.scheduler.trace == second.scheduler.trace


def test_a_lost_page_is_detected(simulation_env: SimulationEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks themselves must be able to fail."""

    def drop(self: FakePagerDuty, notification: IncidentNotification, fate: str) -> Receipt:
        return Receipt(self.scheduler.moment, "lost")

    monkeypatch.setattr(FakePagerDuty, "accept_notification", drop)
    reports = (simulation_env.run_scenarios([seed]) for seed in range(20))
    assert any("PagerDuty" in story for report in reports for story in report.broken.values())


def test_a_message_posted_twice_is_detected(
    simulation_env: SimulationEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeSlack, "find_receipt", lambda *_: None)
    assert any(simulation_env.run_scenarios([seed]).doubled for seed in range(40))
