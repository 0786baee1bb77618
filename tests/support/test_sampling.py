"""A sample is spread over all cases, can be reproduced, and differs between commits."""

from __future__ import annotations

import time

import pytest

from tests.sampling import SEED_VARIABLE, Budget, sample, shuffle

CASES = list(range(100))


def test_a_sample_has_one_case_of_each_part_in_their_order() -> None:
    chosen = sample(CASES, 4, "here")
    assert [case // 25 for case in chosen] == [0, 1, 2, 3]
    assert sample(CASES[:3], 4, "here") == [0, 1, 2]


def test_the_seed_reproduces_a_sample_and_another_seed_gives_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SEED_VARIABLE, "a")
    first = sample(CASES, 10, "here"), shuffle(CASES, "here")
    assert (sample(CASES, 10, "here"), shuffle(CASES, "here")) == first
    assert sorted(first[1]) == CASES
    monkeypatch.setenv(SEED_VARIABLE, "b")
    assert sample(CASES, 10, "here") != first[0]


def test_with_no_time_left_each_test_still_runs_one_case() -> None:
    assert list(Budget(time.time() - 1).limit(CASES)) == [0]
    assert list(Budget(None).limit(CASES)) == CASES
    assert list(Budget(time.time() + 3600).share(10).limit(CASES)) == CASES
