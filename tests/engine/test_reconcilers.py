"""Which reconciler gets an entry of a work queue."""

from __future__ import annotations

import pytest

from receiver.engine.reconcilers import INCIDENT, STORM, TASK, Reconcilers, find_kind
from receiver.model.routing import PAGERDUTY, SLACK
from receiver.storage.keys import TASKS
from receiver.storms.model import new_storm_id


class Recorded:
    """A reconciler that records the entries it was given."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    def reconcile(self, entry_id: str, queue: str, worker: str) -> dict[str, float | None]:
        self.entries.append(entry_id)
        return {queue: 1.0}


@pytest.mark.parametrize(
    ("entry_id", "queue", "kind"),
    [
        ("0h2kq8fbz3ax-1", SLACK, INCIDENT),
        (new_storm_id("responder:on-call", 1_795_435_200.0), PAGERDUTY, STORM),
        ("notices", TASKS, TASK),
        ("job-0123", TASKS, TASK),
    ],
)
def test_each_entry_goes_to_the_reconciler_of_its_kind(entry_id: str, queue: str, kind: str) -> None:
    registered = {one: Recorded() for one in (INCIDENT, STORM, TASK)}
    assert find_kind(entry_id, queue) == kind
    assert Reconcilers(registered).reconcile(entry_id, queue, "w1") == {queue: 1.0}
    assert {one: found.entries for one, found in registered.items() if found.entries} == {kind: [entry_id]}


def test_an_entry_of_a_kind_without_a_reconciler_leaves_the_queue() -> None:
    assert Reconcilers({}).reconcile("0h2kq8fbz3ax-1", SLACK, "w1") == {}
