"""The worker: one lane for each channel kind, woken when something is due, loans kept alive."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from receiver.clock import CLOCKS_AGREE_WITHIN_S
from receiver.domain.ports import Agenda
from receiver.engine.duties import KEEP_EVERY_S, Duties
from receiver.engine.duties import LANE as DUTIES
from receiver.engine.lane import Lane, Reconciles
from receiver.engine.reconcile import Reconciler
from receiver.errors import StoreError

logger = logging.getLogger(__name__)

_BEAT_EVERY_S = 0.7
_RECONNECT_AFTER_S = 0.5
# A clock is corrected by less than this all the time.
_SET_BY_S = 1.0
# Only an answer as prompt as this tells how clocks differ.
_PROMPT_S = 0.5


class Worker:
    """Works off the agenda until stopped. Any number of workers may share one store."""

    def __init__(
        self,
        name: str,
        agenda: Agenda,
        reconciler: Reconciler,
        duties: Duties,
        clock: Callable[[], float],
        *,
        threads: Mapping[str, int],
    ) -> None:
        self.name = name
        self._agenda = agenda
        self._clock = clock
        self._reconciler = reconciler
        self._duties = duties
        self._stopped = threading.Event()
        self._is_store_away = False
        self._ahead_s: float | None = None  # of Redis' clock, at the last beat
        self._is_apart = False
        self._lanes = {
            lane: Lane(lane, name, agenda, self._whose(lane), clock, threads=count)
            for lane, count in threads.items()
        }

    def _whose(self, lane: str) -> Callable[[], Reconciles]:
        return (lambda: self._duties) if lane == DUTIES else (lambda: self._reconciler)

    def run(self) -> None:
        """Work until `stop`; what is in hand then is finished, for some seconds at most."""
        for lane in self._lanes.values():
            lane.start()
        threading.Thread(target=self._listen, name="listen", daemon=True).start()
        logger.info("worker started", extra={"fields": {"worker": self.name}})
        keep_at = 0.0  # until the duties are begun
        while not self._stopped.is_set():
            keep_at = self._see_to_duties(keep_at)
            self._beat()
            self._stopped.wait(_BEAT_EVERY_S)
        self._finish()

    def stop(self) -> None:
        """Ask `run` to end; may be called from a signal handler."""
        self._stopped.set()

    def use(self, reconciler: Reconciler, duties: Duties) -> None:
        """Go on with another configuration; what is in hand is finished with the old one."""
        self._reconciler = reconciler
        self._duties = duties
        self._begin_duties()

    def _see_to_duties(self, keep_at: float) -> float:
        """Begin the duties, and see now and then that none was lost; return when to do so next."""
        now = self._clock()
        if now < keep_at <= now + KEEP_EVERY_S:  # further off: the clock was put back
            return keep_at
        is_done = self._keep_duties() if keep_at else self._begin_duties()
        return now + KEEP_EVERY_S if is_done else keep_at

    def _keep_duties(self) -> bool:
        return self._reach(self._duties.keep)

    def _begin_duties(self) -> bool:
        return self._reach(self._duties.begin)

    def _reach(self, see_to: Callable[[Agenda], None]) -> bool:
        try:
            see_to(self._agenda)
        except StoreError as error:
            _log_away("duties", error)
            return False
        return True

    def _notice_clocks(self, now: float, ahead_s: float) -> None:
        """Have everything looked at once where Redis' clock or ours was set, or another Redis took over: what
        waits would be early or late by as much, and what is not due goes on waiting. Raises StoreError.
        """
        if self._ahead_s is not None and abs(ahead_s - self._ahead_s) > _SET_BY_S:
            seconds = round(ahead_s - self._ahead_s, 3)
            logger.warning(
                "the clock was set, or Redis' was", extra={"fields": {"seconds": seconds}, "state": "clock"}
            )
            for lane in self._lanes:
                self._agenda.look_at_all(lane, now)
        self._ahead_s = ahead_s
        is_apart = abs(ahead_s) > CLOCKS_AGREE_WITHIN_S
        if is_apart and not self._is_apart:
            logger.warning("the clock differs from Redis'", extra={"fields": {"ahead_s": round(ahead_s, 1)}})
        self._is_apart = is_apart

    def _listen(self) -> None:
        """Pass on what the store says is due. Lost wake-ups cost half a second, no more."""
        while not self._stopped.is_set():
            try:
                for wake in self._agenda.listen():
                    if self._stopped.is_set():
                        return
                    if wake is not None and wake[0] in self._lanes:
                        self._lanes[wake[0]].wake(wake[1])
            except StoreError as error:
                fields = {"error": str(error)}
                logger.warning("wake-ups out of reach", extra={"fields": fields, "state": "wake-ups"})
                self._stopped.wait(_RECONNECT_AFTER_S)

    def _beat(self) -> None:
        """Say that we live, and keep what we have on loan."""
        try:
            now = self._clock()
            for name, lane in self._lanes.items():
                if held := lane.held():
                    self._agenda.renew(name, self.name, held, now)
            asked_at = self._clock()
            ahead_s = self._agenda.beat(self.name, asked_at)
            if 0 <= self._clock() - asked_at < _PROMPT_S:  # else the way there and back counts, too
                self._notice_clocks(asked_at, ahead_s)
        except StoreError as error:
            self._is_store_away = True
            _log_away("beat", error)
            return
        if self._is_store_away:
            self._is_store_away = False
            logger.info("redis available again", extra={"fields": {"worker": self.name}, "state": "beat"})

    def _finish(self, timeout_s: float = 6.0) -> None:
        for lane in self._lanes.values():
            lane.stop()
        end = time.monotonic() + timeout_s
        for name, lane in self._lanes.items():
            while not lane.wait_until_idle(min(_BEAT_EVERY_S, max(0.0, end - time.monotonic()))):
                if time.monotonic() >= end:
                    logger.warning(
                        "left to the lease", extra={"fields": {"lane": name, "incidents": lane.held()}}
                    )
                    break
                self._beat()
        try:
            self._agenda.leave(self.name)
        except StoreError as error:
            _log_away("leaving", error)
        logger.info("worker stopped", extra={"fields": {"worker": self.name}})


def _log_away(what: str, error: StoreError) -> None:
    fields = {"what": what, "error": str(error)}
    logger.warning("store out of reach", extra={"fields": fields, "state": what})
