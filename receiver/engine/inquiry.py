"""The inquiry: PagerDuty, asked before anybody further is woken whether somebody has answered.

It finds what its webhooks should have told and did not, and what was forgotten with a lost store.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from msgspec.structs import replace

from receiver.domain import answers
from receiver.domain.escalation import LOOK_AHEAD_S
from receiver.domain.incident import Change, Event, Incident
from receiver.domain.page_line import find_storm_paging, has_own_page
from receiver.domain.paged import Paged
from receiver.domain.pager_news import PagerStatus
from receiver.domain.person import Person
from receiver.domain.policy import PAGERDUTY, Responder
from receiver.domain.storm import parse_storm_dedup_key
from receiver.domain.storm_page import StormPage
from receiver.engine.hands import Hands
from receiver.engine.pager_answers import PagerAnswers
from receiver.errors import DeliveryError, NotFound, TemporaryDeliveryError

logger = logging.getLogger(__name__)

# Who asks holds a thread of the pages' lane meanwhile: while PagerDuty's API gives no answer, others go
# on without one.
_LEFT_ALONE_FOR_S = 5.0
_LEFT_ALONE_AT_MOST_S = 60.0
# The end of a page and the next page may lie close together, and PagerDuty's clock is not ours.
_CLOCK_SLACK_S = 5.0
_WHATS = {"acknowledged": "acknowledge", "resolved": "resolve"}


class Pager(Protocol):
    """Tells how PagerDuty's incidents stand, newest first, by dedup key; may raise a DeliveryError.

    It answers within the time there is before a step (`LOOK_AHEAD_S`).
    """

    def find_statuses(self, dedup_keys: Sequence[str]) -> Mapping[str, Sequence[PagerStatus]]: ...


class Storms(Protocol):
    """Finds the page that a storm has for many, and takes answers to it; may raise StoreError."""

    def find_page(self, storm_id: str, incident_id: str) -> StormPage | None: ...
    def answer(
        self, storm_id: str, what: str, by: Person, now: float, *, wave: int = 0, done_at_pager: bool = False
    ) -> object: ...


class Inquiry:
    """Asks PagerDuty about an incident's pages, and does here what somebody did there.

    Where a storm's page told of it, that one is asked about: once for all whose steps are due together.
    """

    def __init__(
        self,
        pager: Pager,
        pager_answers: PagerAnswers,
        hands: Hands,
        storms: Storms,
        clock: Callable[[], float],
    ) -> None:
        self._pager = pager
        self._answers = pager_answers
        self._hands = hands
        self._storms = storms
        self._clock = clock
        self._left_alone_until = 0.0
        # What PagerDuty said of storms' pages a moment ago, and when.
        self._said: dict[str, tuple[float, Sequence[PagerStatus]]] = {}

    def inquire(self, incident: Incident, responders: Sequence[Responder]) -> None:
        """Ask about the pages of *responders* and note on *incident* that it was asked.

        What was done there is done first: a step must not go on by the note alone. Raises StoreError.
        """
        pages = self._find_pages(incident, responders)
        try:
            found = self._ask_lately([page.key for page in pages])
        except DeliveryError as error:
            fields = {"incident": incident.id, "reason": error.reason}
            logger.warning("pagerduty can't be asked", extra={"fields": fields, "state": error.reason})
            # What won't change in a second isn't asked again for this step.
            self._note(incident, reason=error.reason, is_over=not isinstance(error, TemporaryDeliveryError))
            return
        for page in pages:
            outcome = self._take(page, found.get(page.key, ()), incident)
            logger.info("pager asked", extra={"fields": {"incident": incident.id, "outcome": outcome}})
        self._note(incident)

    def _find_pages(self, incident: Incident, responders: Sequence[Responder]) -> list[Paged | StormPage]:
        """Return the pages to ask about; what a storm has heard already is done at once."""
        pages: list[Paged | StormPage] = []
        for responder in responders:
            if has_own_page(incident, responder):
                pages.append(Paged(incident, responder))
            elif storm_id := find_storm_paging(incident, responder):
                page = self._storms.find_page(storm_id, incident.id)
                known = page.answer if page is not None else None
                if known is not None and incident.run.started_at <= known.at:
                    self._answer(incident, known.what, known.by)
                elif page is not None and page.may_stand:
                    pages.append(page)
        return pages

    def _ask_lately(self, keys: Sequence[str]) -> Mapping[str, Sequence[PagerStatus]]:
        """Ask, but for what was said of a storm's page within the time there is before a step."""
        now = self._clock()
        said = {key: one for key, one in self._said.items() if abs(now - one[0]) < LOOK_AHEAD_S}
        known = {key: said[key][1] for key in keys if key in said}
        found = self._ask(left) if (left := [key for key in keys if key not in known]) else {}
        # Other threads ask, too: a new one each time, so that nobody's changes under their eyes.
        self._said = said | {key: (now, found[key]) for key in found if parse_storm_dedup_key(key)}
        return {**known, **found}

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

    def _take(self, page: Paged | StormPage, statuses: Sequence[PagerStatus], incident: Incident) -> str:
        """Do what the page's PagerDuty incident says; return how it stands, for the log."""
        is_open = {status.status for status in statuses} & {"triggered", "acknowledged"}
        status = _find_answer(page, statuses, is_open=bool(is_open))
        if status is None:
            return "triggered" if is_open else "unknown"
        by = Person(status.by or "PagerDuty", via=PAGERDUTY)
        if isinstance(page, StormPage):
            self._answer_storm(page, _WHATS[status.status], by, incident)
        elif status.status == "acknowledged":
            self._answers.acknowledge(page, by)
        else:
            self._answers.resolve(page, by)
        return status.status

    def _answer_storm(self, page: StormPage, what: str, by: Person, incident: Incident) -> None:
        """Have all hear of it that *page* counts, and *incident* at once, as its step is due."""
        with suppress(NotFound):
            self._storms.answer(page.storm.id, what, by, self._clock(), wave=page.wave, done_at_pager=True)
        self._answer(incident, what, by)

    def _answer(self, incident: Incident, what: str, by: Person) -> None:
        now, how = self._clock(), answers.acknowledge if what == "acknowledge" else answers.resolve

        def change(latest: Incident) -> Change:
            return how(latest, by, now) if latest.run == incident.run else Change(latest)

        self._hands.change(incident.id, change, now)

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


def _find_answer(
    page: Paged | StormPage, statuses: Sequence[PagerStatus], *, is_open: bool
) -> PagerStatus | None:
    """Return what somebody did with the page that is open now, None where nobody did anything."""
    if is_open:
        acknowledged = (status for status in statuses if status.status == "acknowledged")
        return next((status for status in acknowledged if not page.is_past(status.changed_at)), None)
    # PagerDuty takes events before it makes incidents of them: an end before our page is another's.
    resolved = (status for status in statuses if status.status == "resolved")
    return next((s for s in resolved if s.changed_at >= page.sent_at + _CLOCK_SLACK_S), None)
