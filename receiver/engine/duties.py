"""What is done for no single incident: watching, reviews, and errands that came in from outside."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from receiver.errors import DeliveryError, NotFound, PermanentDeliveryError

logger = logging.getLogger(__name__)

LANE = "duties"
_ERRAND_AGAIN_AFTER_S = 5.0
KEEP_EVERY_S = 30.0


class Errands(Protocol):
    """Where errands are kept."""

    def find(self, name: str) -> tuple[str, dict[str, Any]] | None: ...
    def finish(self, name: str) -> None: ...


class Agenda(Protocol):
    """Where duties wait for their moment."""

    def put(self, lane: str, incident_id: str, due: float) -> None: ...
    def put_missing(self, lane: str, incident_id: str, due: float) -> None: ...


@dataclass(frozen=True)
class Repeated:
    """Something to be done again and again: *work* does it and returns when next."""

    work: Callable[[float], float]


class Duties:
    """Does duties by name: `errand-ID` once, the repeated ones under the names they are given."""

    def __init__(
        self,
        repeated: Mapping[str, Repeated],
        errands: Errands,
        errand_runners: Mapping[str, Callable[[dict[str, Any]], None]],
        clock: Callable[[], float],
    ) -> None:
        self._repeated = repeated
        self._errands = errands
        self._runners = errand_runners
        self._clock = clock

    def begin(self, agenda: Agenda) -> None:
        """Put every repeated duty on the agenda; one that waits there already keeps its moment."""
        for name in self._repeated:
            agenda.put(LANE, name, self._clock())

    def keep(self, agenda: Agenda) -> None:
        """Put those back on the agenda that a store which lost its data has forgotten.

        One that is just being done is on no agenda either, so it is put ahead, not to be done twice.
        """
        for name in self._repeated:
            agenda.put_missing(LANE, name, self._clock() + KEEP_EVERY_S)

    def reconcile(self, incident_id: str, lane: str, worker: str) -> dict[str, float | None]:
        """Do the duty of that name; return when to do it again. Raises StoreError."""
        del worker
        kind, _, name = incident_id.partition("-")
        if kind == "errand":
            return {lane: self._run_errand(name)}
        duty = self._repeated.get(incident_id)
        if duty is None:  # it left the configuration
            return {}
        return {lane: duty.work(self._clock())}

    def _run_errand(self, name: str) -> float | None:
        errand = self._errands.find(name)
        if errand is None:
            return None
        kind, payload = errand
        runner = self._runners.get(kind)
        if runner is None:  # of a version that knew more than this one
            return self._clock() + _ERRAND_AGAIN_AFTER_S
        try:
            runner(payload)
        except (PermanentDeliveryError, NotFound) as error:
            logger.warning("errand given up", extra={"fields": {"kind": kind, "error": repr(error)}})
        except DeliveryError as error:
            fields = {"kind": kind, "error": str(error)}
            logger.warning("errand put off", extra={"fields": fields, "state": kind})
            return self._clock() + _ERRAND_AGAIN_AFTER_S
        self._errands.finish(name)
        return None
