"""Noting how deliveries go, and telling somebody outside every minute that all is well."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from receiver import telemetry
from receiver.domain.delivery import Delivery
from receiver.domain.health import PlaceHealth, judge_kind
from receiver.errors import DeliveryError, StoreError
from receiver.text import one_line

logger = logging.getLogger(__name__)

DUTY = "heartbeat_url"
CALL_EVERY_S = 60.0
LATE_AFTER_S = 60.0
# The same news of the same place is written no oftener.
_NOTE_EVERY_S = 5.0
_MAX_REASON = 100


class Store(Protocol):
    """Where health is kept; every method may raise StoreError."""

    def note_arrival(self, kind: str, place: str, at: float) -> None: ...
    def note_failure(self, kind: str, place: str, reason: str, at: float) -> None: ...
    def find_all(self) -> list[PlaceHealth]: ...


class Agenda(Protocol):
    def depth(self, lane: str, now: float) -> tuple[int, float]: ...


class HealthNotes:
    """Notes how deliveries go; that can't be noted disturbs no delivery. Threads may share it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._noted: dict[tuple[str, str], tuple[str, float]] = {}

    def note(self, kind: str, place: str, delivery: Delivery, now: float) -> None:
        """Note what became of a delivery to a place."""
        reason = "" if delivery.receipt else one_line(delivery.reason, _MAX_REASON) or "unknown"
        with self._lock:
            known, at = self._noted.get((kind, place), (None, 0.0))
            if known == reason and abs(now - at) < _NOTE_EVERY_S:
                return
            self._noted[kind, place] = reason, now
        try:
            if reason:
                self._store.note_failure(kind, place, reason, now)
            else:
                self._store.note_arrival(kind, place, now)
        except StoreError:
            with self._lock:
                self._noted.pop((kind, place), None)


class Caller:
    """Calls an address while all is well. A call that fails is logged once until that changes.

    *call* raises a DeliveryError, and says nothing of the address in it: it may be a secret.
    """

    def __init__(
        self,
        call: Callable[[], None],
        store: Store,
        agenda: Agenda,
        lanes: Sequence[str],
        kinds: Iterable[str],
    ) -> None:
        self._call = call
        self._store = store
        self._agenda = agenda
        self._lanes = lanes
        self._kinds = tuple(kinds)
        self._said = ""

    def work(self, now: float) -> float:
        """Call if all is well; return when to do it again. Raises StoreError: then nothing is well."""
        trouble = self.find_trouble(now)
        outcome = "withheld"
        if not trouble:
            outcome, trouble = self._try()
        telemetry.HEARTBEAT_CALLS.labels(outcome).inc()
        if trouble != self._said:
            if trouble:
                logger.warning("heartbeat_url not called", extra={"fields": {"because": trouble}})
            else:
                logger.info("heartbeat_url is called again")
            self._said = trouble
        return now + CALL_EVERY_S

    def find_trouble(self, now: float) -> str:
        """Return what is not well, in a few words that stay the same while it is; empty when all is."""
        for lane in self._lanes:
            if self._agenda.depth(lane, now)[1] >= LATE_AFTER_S:
                return f"lane {lane} is late"
        places = self._store.find_all()
        for kind in self._kinds:
            if not judge_kind(kind, places, now).is_well:
                return f"nothing goes through to {kind}"
        return ""

    def _try(self) -> tuple[str, str]:
        try:
            self._call()
        except DeliveryError as error:
            return "failed", f"the call failed: {error.reason}"
        return "called", ""
