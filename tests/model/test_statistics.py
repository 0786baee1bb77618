"""What could be better, by the statistics of the alerts."""

from __future__ import annotations

import pytest

from receiver.model.statistics import AlertStats, list_recommendations


@pytest.mark.parametrize("name", ["InfoInhibitor", "Watchdog"])
@pytest.mark.parametrize("count", [1, 100])
def test_alerts_that_are_no_problem_are_to_be_routed_to_a_null_receiver(name: str, count: int) -> None:
    (hint,) = list_recommendations([AlertStats(name, count, short=count, unacknowledged=count)])
    assert hint.startswith(name)
    assert "route this to a null receiver" in hint


@pytest.mark.parametrize("name", ["DiskFull", "", "watchdog"])
def test_other_alerts_are_not(name: str) -> None:
    assert not any("null receiver" in hint for hint in list_recommendations([AlertStats(name, 1)]))
