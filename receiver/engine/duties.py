"""What is done for no single incident: watching, reviews, and errands that came in from outside."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from receiver.errors import DeliveryError, NotFound, PermanentDeliveryError
from receiver.storage.keys import TASKS

logger = logging.getLogger(__name__)

_JOB_RETRY_AFTER_S = 5.0
ENSURE_EVERY_S = 30.0


class Jobs(Protocol):
    """Where errands are kept."""

    def find_job(self, name: str) -> tuple[str, dict[str, Any]] | None: ...
    def finish_job(self, name: str) -> None: ...


class TaskQueue(Protocol):
    """Where duties wait for their moment."""

    def enqueue(self, queue: str, incident_id: str, due: float) -> None: ...
    def enqueue_if_absent(self, queue: str, incident_id: str, due: float) -> None: ...


@dataclass(frozen=True)
class PeriodicTask:
    """Something to be done again and again: *work* does it and returns when next."""

    run: Callable[[float], float]


class PeriodicTasks:
    """Does duties by name: `job-ID` once, the repeated ones under the names they are given."""

    def __init__(
        self,
        tasks: Mapping[str, PeriodicTask],
        jobs: Jobs,
        job_handlers: Mapping[str, Callable[[dict[str, Any]], None]],
        clock: Callable[[], float],
    ) -> None:
        self._tasks = tasks
        self._jobs = jobs
        self._job_handlers = job_handlers
        self._clock = clock

    def enqueue_all(self, work_queue: TaskQueue) -> None:
        """Put every repeated duty on the agenda; one that waits there already keeps its moment."""
        for name in self._tasks:
            work_queue.enqueue(TASKS, name, self._clock())

    def enqueue_missing(self, work_queue: TaskQueue) -> None:
        """Put those back on the agenda that a store which lost its data has forgotten.

        One that is just being done is on no agenda either, so it is put ahead, not to be done twice.
        """
        for name in self._tasks:
            work_queue.enqueue_if_absent(TASKS, name, self._clock() + ENSURE_EVERY_S)

    def reconcile(self, incident_id: str, queue: str, worker: str) -> dict[str, float | None]:
        """Do the duty of that name; return when to do it again. Raises StoreError."""
        del worker
        kind, _, name = incident_id.partition("-")
        if kind == "job":
            return {queue: self._run_job(name)}
        task = self._tasks.get(incident_id)
        if task is None:  # it left the configuration
            return {}
        return {queue: task.run(self._clock())}

    def _run_job(self, name: str) -> float | None:
        job = self._jobs.find_job(name)
        if job is None:
            return None
        kind, payload = job
        handler = self._job_handlers.get(kind)
        if handler is None:  # of a version that knew more than this one
            return self._clock() + _JOB_RETRY_AFTER_S
        try:
            handler(payload)
        except (PermanentDeliveryError, NotFound) as error:
            logger.warning("job failed", extra={"fields": {"kind": kind, "error": repr(error)}})
        except DeliveryError as error:
            fields = {"kind": kind, "error": str(error)}
            logger.warning("job retried", extra={"fields": fields, "state": kind})
            return self._clock() + _JOB_RETRY_AFTER_S
        self._jobs.finish_job(name)
        return None
