"""The inquiry: PagerDuty, asked before anybody further is woken whether somebody has answered.

It finds what its webhooks should have told and did not, and what was forgotten with a lost store.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec.structs import replace

from receiver.domain.incident import Change, Event, Incident
from receiver.domain.paged import Paged
from receiver.domain.pager_news import PagerStatus
from receiver.domain.person import Person
from receiver.domain.policy import PAGERDUTY, Responder
from receiver.engine.hands import Hands
from receiver.engine.pager_answers import PagerAnswers
from receiver.errors import DeliveryError, TemporaryDeliveryError

logger = logging.getLogger(__name__)

# Who asks holds a thread of the pages' lane meanwhile: while PagerDuty's API gives no answer, others go
# on without one.
_LEFT_ALONE_FOR_S = 5.0
_LEFT_ALONE_AT_MOST_S = 60.0
# The end of a page and the next page may lie close together, and PagerDuty's clock is not ours.
_CLOCK_SLACK_S = 5.0


class Pager(Protocol):
    """Tells how PagerDuty's incidents stand, newest first, by dedup key; may raise a DeliveryError.

    It answers within the time there is before a step (`LOOK_AHEAD_S`).
    """

    def find_statuses(self, dedup_keys: Sequence[str]) -> Mapping[str, Sequence[PagerStatus]]: ...


class Inquiry:
    """Asks PagerDuty about an incident's pages, and does here what somebody did there."""

    def __init__(
        self, pager: Pager, pager_answers: PagerAnswers, hands: Hands, clock: Callable[[], float]
    ) -> None:
        self._pager = pager
        self._answers = pager_answers
        self._hands = hands
        self._clock = clock
        self._left_alone_until = 0.0

    def inquire(self, incident: Incident, responders: Sequence[Responder]) -> None:
        """Ask about the pages of *responders* and note on *incident* that it was asked.

        What was done there is done first: a step must not go on by the note alone. Raises StoreError.
        """
        pages = [Paged(incident, responder) for responder in responders]
        try:
            found = self._ask([page.key for page in pages])
        except DeliveryError as error:
            fields = {"incident": incident.id, "reason": error.reason}
            logger.warning("pagerduty can't be asked", extra={"fields": fields})
            # What won't change in a second isn't asked again for this step.
            self._note(incident, reason=error.reason, is_over=not isinstance(error, TemporaryDeliveryError))
            return
        for page in pages:
            outcome = self._take(page, found.get(page.key, ()))
            logger.info("pager asked", extra={"fields": {"incident": incident.id, "outcome": outcome}})
        self._note(incident)

    def _ask(self, keys: Sequence[str]) -> Mapping[str, Sequence[PagerStatus]]:
        if self._clock() < self._left_alone_until:
            raise TemporaryDeliveryError("no_answer", "it gave none a moment ago")
        try:
            return self._pager.find_statuses(keys)
        except TemporaryDeliveryError as error:
            if error.reason in ("no_answer", "rate_limited"):
                wait = min(max(error.retry_after, _LEFT_ALONE_FOR_S), _LEFT_ALONE_AT_MOST_S)
                self._left_alone_until = self._clock() + wait
            raise

    def _take(self, page: Paged, statuses: Sequence[PagerStatus]) -> str:
        """Do what the page's PagerDuty incident says; return how it stands, for the log."""
        is_open = {status.status for status in statuses} & {"triggered", "acknowledged"}
        status = _find_answer(page, statuses, is_open=bool(is_open))
        if status is None:
            return "triggered" if is_open else "unknown"
        by = Person(status.by or "PagerDuty", via=PAGERDUTY)
        if status.status == "acknowledged":
            self._answers.acknowledge(page, by)
        else:
            self._answers.resolve(page, by)
        return status.status

    def _note(self, incident: Incident, *, reason: str = "", is_over: bool = False) -> None:
        now = self._clock()

        def note(latest: Incident) -> Change:
            # A hold lasts, and what is known now will be old by its end.
            if latest.is_held or latest.is_resolved or latest.is_acknowledged:
                return Change(latest)
            is_unasked = bool(reason) and not is_over
            noted = replace(latest, pager_asked_at=now, is_pager_unasked=is_unasked)
            is_news = bool(reason) and not latest.is_pager_unasked
            text = f"PagerDuty could not be asked whether somebody has it: {reason}"
            return Change(noted, is_changed=True, events=(Event(now, "not_asked", text),) if is_news else ())

        self._hands.change(incident.id, note, now)


def _find_answer(page: Paged, statuses: Sequence[PagerStatus], *, is_open: bool) -> PagerStatus | None:
    """Return what somebody did with the page that is open now, None where nobody did anything."""
    if is_open:
        acknowledged = (status for status in statuses if status.status == "acknowledged")
        return next((status for status in acknowledged if not page.is_past(status.changed_at)), None)
    # PagerDuty takes events before it makes incidents of them: an end before our page is another's.
    resolved = (status for status in statuses if status.status == "resolved")
    return next((s for s in resolved if s.changed_at >= page.sent_at + _CLOCK_SLACK_S), None)
