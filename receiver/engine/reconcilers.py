"""The registry of reconcilers, one for each kind of entry in the work queues.

The IDs of entries tell their kind; only this module decides it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from receiver.engine.ports import Reconciles
from receiver.model.delivery import STORM as STORM_PREFIX
from receiver.storage.keys import TASKS

INCIDENT, STORM, TASK = "incident", "storm", "task"


def find_kind(entry_id: str, queue: str) -> str:
    """Return the kind of an entry of *queue*."""
    if queue == TASKS:
        return TASK
    return STORM if entry_id.startswith(STORM_PREFIX) else INCIDENT


@dataclass(frozen=True, repr=False)
class Reconcilers:
    """Reconciles an entry with the reconciler that is registered for its kind."""

    by_kind: Mapping[str, Reconciles]

    def reconcile(self, entry_id: str, queue: str, worker: str) -> dict[str, float | None]:
        """Reconcile the entry; return by queue when it is due again (None: never).

        An entry of a kind without a reconciler leaves the queue. Raises StoreError, LeaseLost.
        """
        reconciler = self.by_kind.get(find_kind(entry_id, queue))
        return reconciler.reconcile(entry_id, queue, worker) if reconciler is not None else {}
