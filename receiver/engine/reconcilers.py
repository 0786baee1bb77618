"""The reconcilers of a worker, one for each kind of entry in the work queues."""

from __future__ import annotations

from dataclasses import dataclass

from receiver.engine.jobs import PeriodicTasks
from receiver.engine.ports import Reconciles
from receiver.model.delivery import STORM
from receiver.storage.keys import TASKS


@dataclass(frozen=True, repr=False)
class Reconcilers:
    """Reconciles an entry with the reconciler of its kind, which only this class tells from its ID."""

    incidents: Reconciles
    storms: Reconciles
    periodic_tasks: PeriodicTasks

    def reconcile(self, entry_id: str, queue: str, worker: str) -> dict[str, float | None]:
        """Reconcile the entry; return by queue when it is due again (None: never).

        Raises StoreError, LeaseLost.
        """
        if queue == TASKS:
            return self.periodic_tasks.reconcile(entry_id, queue, worker)
        reconciler = self.storms if entry_id.startswith(STORM) else self.incidents
        return reconciler.reconcile(entry_id, queue, worker)
