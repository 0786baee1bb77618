"""One lane of a worker: takes what is due off its agenda and has threads reconcile it."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Protocol

from receiver import telemetry
from receiver.domain.policy import SLACK
from receiver.domain.ports import Agenda
from receiver.errors import ClaimLost, StoreError

logger = logging.getLogger(__name__)

# A wake-up may get lost with its line; nothing is later than this for it.
_LOOK_AT_LEAST_EVERY_S = 0.5
# After a fault of our own the incident is looked at again, but not in a hot loop.
_AFTER_FAULT_S = 5.0
_AFTER_OUTAGE_S = 0.5
# What a killed worker had just sent may still be on its way: Slack is given time to show it to whoever looks
# for it, PagerDuty joins what comes twice.
_ON_ITS_WAY_S = {SLACK: 2.0}


class Reconciles(Protocol):
    """Does what is missing for one entry of the agenda; returns when each lane is to look again."""

    def reconcile(self, incident_id: str, lane: str, worker: str) -> dict[str, float | None]: ...


class Lane:
    """Claims, reconciles and releases the incidents of one channel kind, several at once."""

    def __init__(
        self,
        name: str,
        worker: str,
        agenda: Agenda,
        reconciler: Callable[[], Reconciles],
        clock: Callable[[], float],
        *,
        threads: int,
    ) -> None:
        self.name = name
        self._worker = worker
        self._agenda = agenda
        self._reconciler = reconciler
        self._clock = clock
        self._threads = threads
        self._held: set[str] = set()
        self._again: set[str] = set()  # of these, what was lent to us a second time
        # When what is lent to us and not held ends: we were killed, or the store was away.
        self._loans_end_in_s: float | None = _ON_ITS_WAY_S.get(name, 0.0)
        self._state = threading.Condition()
        self._look_at: float | None = None
        self._is_stopping = False
        self._jobs: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def start(self) -> None:
        """Start the threads; they end after `stop`."""
        for number in range(self._threads):
            threading.Thread(target=self._work, name=f"{self.name}-{number}", daemon=True).start()
        threading.Thread(target=self._dispatch, name=f"{self.name}-dispatch", daemon=True).start()

    def wake(self, moment: float) -> None:
        """Say that something in this lane is due at *moment*."""
        with self._state:
            if self._look_at is None or moment < self._look_at:
                self._look_at = moment
                self._state.notify_all()

    def held(self) -> list[str]:
        """Return the incidents this lane has on loan."""
        with self._state:
            return list(self._held)

    def stop(self) -> None:
        """Take no further incident; those in hand are finished."""
        with self._state:
            self._is_stopping = True
            self._state.notify_all()
        for _ in range(self._threads):
            self._jobs.put(None)

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Return whether everything in hand is finished within *timeout_s*."""
        with self._state:
            return self._state.wait_for(lambda: not self._held, timeout_s)

    def _dispatch(self) -> None:
        while not self._is_stopping:
            with self._state:
                free = self._threads - len(self._held)
                self._look_at = None
            look_at = self._claim(free) if free else None
            with self._state:
                if self._is_stopping:
                    return
                if self._look_at is not None:
                    look_at = min(self._look_at, look_at or self._look_at)
                self._look_at = look_at
                self._state.wait_for(self._is_time, _LOOK_AT_LEAST_EVERY_S)

    def _is_time(self) -> bool:
        """Tell whether to look now. Waits no longer than until the next moment known."""
        if self._is_stopping:
            return True
        if len(self._held) >= self._threads or self._look_at is None:
            return False
        left = self._look_at - self._clock()
        if left > 0 and left < _LOOK_AT_LEAST_EVERY_S:
            self._state.wait(left)
            return True
        return left <= 0

    def _claim(self, free: int) -> float | None:
        try:
            self._end_loans()
            claims = self._agenda.claim(self.name, self._worker, self._clock(), free)
        except StoreError as error:
            fields = {"lane": self.name, "error": str(error)}
            logger.warning("agenda out of reach", extra={"fields": fields, "state": self.name})
            self._doubt_loans()  # what was lent may not have reached us
            return None
        except Exception:
            # Whatever it was: a lane whose dispatcher is gone would page nobody and look alive.
            telemetry.WORKER_ERRORS.inc()
            fields = {"lane": self.name}
            logger.exception("fault while claiming", extra={"fields": fields, "state": self.name})
            self._doubt_loans()
            return None
        with self._state:
            # A loan that ran out while the store was away, lent to us again: it is still being worked on, by
            # a state that may be old, and what made it due is off the agenda. So it is looked at once more.
            taken = [incident_id for incident_id in claims.incidents if incident_id not in self._held]
            self._again.update(self._held.intersection(claims.incidents))
            self._held.update(taken)
        for incident_id in taken:
            self._jobs.put(incident_id)
        return claims.look_at

    def _end_loans(self) -> None:
        with self._state:
            wait_s, held = self._loans_end_in_s, list(self._held)
            self._loans_end_in_s = None
        if wait_s is None:
            return
        try:
            self._agenda.end_loans(self.name, self._worker, held, self._clock() + wait_s)
        except BaseException:
            self._doubt_loans(wait_s)
            raise

    def _doubt_loans(self, wait_s: float = _AFTER_OUTAGE_S) -> None:
        """Have what is lent to us, and not held, end in *wait_s*, or as late as meant: nobody works on it."""
        with self._state:
            self._loans_end_in_s = max(wait_s, self._loans_end_in_s or 0.0)

    def _work(self) -> None:
        while (incident_id := self._jobs.get()) is not None:
            is_given_back = False
            try:
                is_given_back = self._reconcile(incident_id)
            finally:
                with self._state:
                    is_lent_again = incident_id in self._again
                    self._held.discard(incident_id)
                    self._again.discard(incident_id)
                    if not is_given_back:
                        self._doubt_loans()
                    self._state.notify_all()
                if is_lent_again and is_given_back:
                    self._look_again(incident_id)

    def _reconcile(self, incident_id: str) -> bool:
        """Reconcile and give back; tell whether it is given back, or was no longer ours."""
        fields = {"incident": incident_id, "lane": self.name}
        try:
            dues = self._reconciler().reconcile(incident_id, self.name, self._worker)
            with self._state:
                if incident_id in self._again:
                    self._again.discard(incident_id)
                    dues[self.name] = self._clock()
            self._agenda.release(self.name, self._worker, incident_id, dues)
        except ClaimLost:
            logger.info("claim lost", extra={"fields": fields})
        except StoreError as error:
            # Whoever takes it up next looks anew.
            fields["error"] = str(error)
            logger.warning("store out of reach", extra={"fields": fields, "state": self.name})
            return False
        except Exception as error:
            telemetry.WORKER_ERRORS.inc()
            # Many incidents may meet the same fault, each of them again every 5 s.
            state = f"{self.name} {type(error).__name__}"
            logger.exception("fault while reconciling", extra={"fields": fields, "state": state})
            return self._release_after_fault(incident_id)
        return True

    def _look_again(self, incident_id: str) -> None:
        """Have an incident looked at that was lent to us once more while we gave it back: no thread works on
        that loan, so it ends now; and as it may be the one that was given back, the incident is put on the
        agenda, too.
        """
        now = self._clock()
        self._doubt_loans(0.0)
        try:
            self._agenda.put(self.name, incident_id, now)
        except StoreError:
            fields = {"incident": incident_id, "lane": self.name}
            logger.warning("store out of reach", extra={"fields": fields, "state": self.name})
        except Exception:  # without its threads a lane would page nobody and look alive
            telemetry.WORKER_ERRORS.inc()
            fields = {"incident": incident_id, "lane": self.name}
            logger.exception("fault while giving back", extra={"fields": fields, "state": self.name})
        self.wake(now)

    def _release_after_fault(self, incident_id: str) -> bool:
        try:
            due = self._clock() + _AFTER_FAULT_S
            self._agenda.release(self.name, self._worker, incident_id, {self.name: due})
        except StoreError:
            fields = {"incident": incident_id, "lane": self.name}
            logger.warning("store out of reach", extra={"fields": fields, "state": self.name})
            return False
        return True
