"""Everything that can happen between any two effects, thousands of times, against what we promise.

pytest tests/simulation                         # the same schedules each time
pytest tests/simulation --seed 1234             # one of them again, with all it did
pytest tests/simulation --seed 5000 --schedules 50000
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.domain.delivery import Receipt
from receiver.domain.notification import Notification
from tests.simulation.doubles import PagerDouble, SlackDouble
from tests.simulation.running import Found, Theatre, play_all
from tests.valkey import valkey_url

__all__ = ["valkey_url"]

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def found(seeds: range) -> Found:
    found = play_all(seeds)
    print(found)
    return found


@pytest.fixture
def theatre(tmp_path: Path, valkey_url: str) -> Iterator[Theatre]:
    theatre = Theatre(tmp_path, valkey_url)
    yield theatre
    theatre.close()


def test_no_promise_is_broken_whatever_dies_fails_or_comes_at_once(found: Found) -> None:
    for seed, story in found.broken.items():
        pytest.fail(f"{found}\nseeds {list(found.broken)}; play one again with --seed {seed}:\n{story}")


def test_at_most_one_in_a_hundred_is_said_twice_in_slack(found: Found) -> None:
    assert found.doubled <= max(1, found.said // 100), str(found)


def test_a_seed_plays_the_same_schedule_again(theatre: Theatre, seeds: range) -> None:
    first, _ = theatre.play(seeds[0])
    second, _ = theatre.play(seeds[0])
    assert first.stage.trace == second.stage.trace


def test_a_page_that_goes_nowhere_is_noticed(theatre: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks themselves must be able to fail."""

    def swallow(self: PagerDouble, notification: Notification, fate: str) -> Receipt:
        return Receipt(self.stage.moment, "lost")

    monkeypatch.setattr(PagerDouble, "take", swallow)
    assert any("PagerDuty" in story for story in theatre.run(range(20)).broken.values())


def test_a_message_that_is_said_twice_is_noticed(theatre: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SlackDouble, "find", lambda *_: None)
    assert theatre.run(range(40)).doubled > 0
