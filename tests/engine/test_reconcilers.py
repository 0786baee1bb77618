"""Which reconciler gets an entry of a work queue."""

from __future__ import annotations

import pytest

from receiver.engine.reconcilers import Reconcilers
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
        ("0h2kq8fbz3ax-1", SLACK, "incidents"),
        (new_storm_id("responder:on-call", 1_795_435_200.0), PAGERDUTY, "storms"),
        ("notices", TASKS, "periodic_tasks"),
        ("job-0123", TASKS, "periodic_tasks"),
    ],
)
def test_each_entry_goes_to_the_reconciler_of_its_kind(entry_id: str, queue: str, kind: str) -> None:
    recorded = {one: Recorded() for one in ("incidents", "storms", "periodic_tasks")}
    assert Reconcilers(**recorded).reconcile(entry_id, queue, "w1") == {queue: 1.0}  # type: ignore[arg-type]
    assert {one: found.entries for one, found in recorded.items() if found.entries} == {kind: [entry_id]}
