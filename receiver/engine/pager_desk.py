"""The pager desk: what people do in PagerDuty is done here, too, once and without an echo.

PagerDuty's news may come late, twice or out of order, and tells of our own events as well. So each
is a hint: where PagerDuty can be asked it is, and what is done goes by how things stand there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from msgspec import ValidationError, convert

from receiver.domain.delivery import Delivery, Receipt
from receiver.domain.incident import TimelineEvent, dedup_key, parse_dedup_key
from receiver.domain.page_line import build_gone_responder, list_paged_names
from receiver.domain.paged import Paged
from receiver.domain.pager_news import PagerNews, PagerStatus
from receiver.domain.person import Person
from receiver.domain.policy import PAGERDUTY
from receiver.domain.ports import Incidents, Rules
from receiver.domain.storm import parse_storm_dedup_key
from receiver.engine.hands import IncidentService
from receiver.engine.pager_answers import PagerAnswers
from receiver.engine.storms import Storms
from receiver.errors import NotFound, PermanentDeliveryError, TemporaryDeliveryError

T = TypeVar("T")

logger = logging.getLogger(__name__)

# Events that change something here, by the status that PagerDuty's incident must then have.
_STATUSES = {
    "incident.acknowledged": "acknowledged",
    "incident.unacknowledged": "triggered",
    "incident.resolved": "resolved",
}
# Events that people may want to know of.
_NOTED = {
    "incident.reopened": "reopened",
    "incident.reassigned": "reassigned",
    "incident.escalated": "escalated",
    "incident.delegated": "delegated",
    "incident.responder.added": "help was asked for",
    "incident.responder.replied": "a request for help was answered",
}
EVENTS = frozenset({*_STATUSES, *_NOTED})
# While news is as young as this, a PagerDuty that can't be asked just now is asked again; older news
# is believed, for somebody may have answered and others are paged meanwhile.
_PATIENCE_S = 30.0
# The end of a page and the next page may lie close together, and PagerDuty's clock is not ours.
_CLOCK_SLACK_S = 5.0
_NOTE_KEY = "note:pagerduty"
_FORMER = "of a former page"
_OUTDATED = "outdated"
_TAKING = ("acknowledged", "unacknowledged")
# What changes nothing, and yet outdates what was told before it and comes after it.
_SO_ALREADY = ("already acknowledged", "not acknowledged")


class Pager(Protocol):
    """Tells how things stand in PagerDuty; every method may raise a DeliveryError."""

    def find_alert_keys(self, incident_id: str) -> tuple[str, ...]: ...
    def find_status(self, incident_id: str) -> PagerStatus: ...
    def find_open(self, dedup_key: str) -> tuple[str, ...]: ...


class PagerDesk:
    """Does here what was done in PagerDuty. Without a *pager* the news itself is believed."""

    def __init__(
        self,
        incident_service: IncidentService,
        incidents: Incidents,
        pager: Pager | None,
        rules: Rules,
        clock: Callable[[], float],
        *,
        storms: Storms | None = None,
    ) -> None:
        self._answers = PagerAnswers(incident_service, incidents, clock)
        self._storms = storms
        self._incidents = incidents
        self._pager = pager
        self._rules = rules
        self._clock = clock

    def take(self, news: Mapping[str, Any]) -> None:
        """Do what *news* (the fields of a PagerNews) asks for; the second time changes nothing.

        Raises TemporaryDeliveryError where PagerDuty must be asked and can't be, and StoreError.
        """
        try:
            told = convert(dict(news), PagerNews)
        except ValidationError as error:
            logger.warning("pager news not understood", extra={"fields": {"reason": str(error)}})
            return
        keys = tuple(self._find_keys(told))
        pages = list(self._find_pages(keys))
        waves = [page for page in map(parse_storm_dedup_key, keys) if page is not None]
        if not pages and not waves:
            _log(told, "not ours")
            return
        wanted = _STATUSES.get(told.event_type)
        status = self._find_status(told, wanted) if wanted else PagerStatus(told.status)
        for page in pages:
            _log(told, self._apply(page, told, status), page.incident.id)
        for storm_id, wave in waves:
            _log(told, self._apply_to_storm(storm_id, wave, told, status), storm_id)

    # --- whose page it is ---

    def _find_pages(self, keys: Iterable[str]) -> Iterator[Paged]:
        """Yield our pages in PagerDuty's incident; several where alerts were grouped or merged there."""
        for key in keys:
            slot_and_tail = parse_dedup_key(key)
            if slot_and_tail is None:
                continue
            incident = self._incidents.load_latest([slot_and_tail[0]])[0].incident
            if incident is None:
                continue
            whole = self._incidents.load(incident.id)
            # One that left the configuration may have been paged before.
            gone = {name: build_gone_responder(name) for name in list_paged_names(whole)}
            for name, responder in {**gone, **self._rules.responders}.items():
                if dedup_key(whole, name) == key:
                    yield Paged(whole, responder)

    def _find_keys(self, news: PagerNews) -> Iterable[str]:
        key = news.incident_key
        if parse_dedup_key(key) or parse_storm_dedup_key(key) or self._pager is None:
            return (news.incident_key,)
        try:
            return self._pager.find_alert_keys(news.incident_id)
        except PermanentDeliveryError as error:
            _log_refusal("alerts", error)
            return ()

    # --- how it stands there ---

    def _find_status(self, news: PagerNews, told: str) -> PagerStatus:
        """Return how PagerDuty's incident stands: as PagerDuty says, or as *told* by the news.

        An answer of before the news comes of a part of PagerDuty that has not heard yet.
        """
        hint = PagerStatus("merged" if news.merged_into else told)
        status = self._ask(news, lambda pager: pager.find_status(news.incident_id), hint)
        is_older = 0 < status.changed_at < int(news.occurred_at)  # told in whole seconds
        return hint if is_older else status

    def _ask(self, news: PagerNews, question: Callable[[Pager], T], otherwise: T) -> T:
        if self._pager is None:
            return otherwise
        try:
            return question(self._pager)
        except PermanentDeliveryError as error:
            _log_refusal("incidents", error)
        except TemporaryDeliveryError:
            if self._clock() - news.occurred_at < _PATIENCE_S:
                raise
        return otherwise

    # --- what it means here ---

    def _apply(self, page: Paged, news: PagerNews, status: PagerStatus) -> str:
        """Do what the news means for one page; return what became of it, for the log."""
        if news.event_type in _NOTED:
            return self._note(page, news, _tell(page, news))
        if status.status == "merged" and news.event_type == "incident.resolved":
            return self._note(page, news, "PagerDuty: merged into another incident, where the page goes on")
        obstacle = _find_obstacle(page, news, status)
        if obstacle in _SO_ALREADY:
            self._answers.hear(page, news.occurred_at)
        if obstacle:
            return obstacle
        by = Person(news.by or status.by or "PagerDuty", via=PAGERDUTY)
        if news.event_type == "incident.resolved":
            return self._resolve(page, news, by, is_person=news.is_person or status.is_person)
        is_taken = news.event_type == "incident.acknowledged"
        answer = self._answers.acknowledge if is_taken else self._answers.unacknowledge
        answer(page, by, news.occurred_at)
        return status.status

    def _apply_to_storm(self, storm_id: str, wave: int, news: PagerNews, status: PagerStatus) -> str:
        """Do for all that a storm's page counts what was done to the page; return what became of it.

        PagerDuty tells its people again by itself when one is un-acknowledged there; each incident that it
        counts is un-acknowledged here, one by one.
        """
        what = {"incident.acknowledged": "acknowledge", "incident.resolved": "resolve"}.get(news.event_type)
        if self._storms is None or what is None:
            return "nothing to do"
        if status.status != _STATUSES[news.event_type]:
            return "outdated"
        by = Person(news.by or status.by or "PagerDuty", via=PAGERDUTY)
        try:
            if what == "resolve" and not (news.is_person or status.is_person):
                self._storms.hint(storm_id, wave, news.event_id or news.incident_id, self._clock())
                return "resolved by no person"
            self._storms.answer(
                storm_id,
                what,
                by,
                self._clock(),
                wave=wave,
                done_at_pager=True,
                is_renewing=news.is_person,
            )
        except NotFound:
            return "no storm of ours any more"
        return _STATUSES[news.event_type]

    def _resolve(self, page: Paged, news: PagerNews, by: Person, *, is_person: bool) -> str:
        """Close the incident, unless what ended is a page before the one that is open now.

        A resolve by anything but a person closes nothing: auto-resolve, an event rule or another integration
        does not know whether the alerts fire. The page is checked, and triggered again.
        """
        nothing: tuple[str, ...] = ()
        still_open = self._ask(news, lambda pager: pager.find_open(page.key), nothing)
        if any(incident_id != news.incident_id for incident_id in still_open):
            return _FORMER
        if not is_person:
            now = self._clock()
            hint = page.hint(news.event_id or news.incident_id, now)
            self._incidents.record_delivery(page.incident.id, *hint, wake=(PAGERDUTY,), due=now)
            return "resolved by no person"
        self._answers.resolve(page, by, news.occurred_at)
        return "resolved"

    def _note(self, page: Paged, news: PagerNews, text: str) -> str:
        """Have *text* in the timeline, once for each event."""
        noted = page.incident.deliveries.get(_NOTE_KEY, Delivery())
        if news.event_id and noted.about == news.event_id:
            return "already noted"
        now = self._clock()
        target = f"{PAGERDUTY}:{page.responder.name}"
        note = Delivery(news.event_id, target=target, attempts=1, receipt=Receipt(now))
        event = TimelineEvent(now, "noted", text, news.by, PAGERDUTY)
        self._incidents.record_delivery(page.incident.id, _NOTE_KEY, note, events=(event,))
        return "noted"


def _find_obstacle(page: Paged, news: PagerNews, status: PagerStatus) -> str:
    """Return why the news changes nothing here, for the log; empty where it does."""
    incident, event_type = page.incident, news.event_type
    slack_s = _CLOCK_SLACK_S if event_type == "incident.resolved" else 0.0
    is_taking, is_taking_back = (event_type == f"incident.{word}" for word in _TAKING)
    for why, is_so in (
        (_OUTDATED, 0 < news.occurred_at < incident.last_pagerduty_event_at),
        (_OUTDATED, status.status != _STATUSES.get(event_type)),
        ("already closed", incident.is_resolved),
        (_FORMER, not page.is_open),
        (_FORMER, not is_taking_back and page.is_past(news.occurred_at, slack_s)),
        ("not acknowledged", is_taking_back and not incident.is_acknowledged),
        ("already acknowledged", is_taking and incident.is_acknowledged and not _is_renewal(page, news)),
    ):
        if is_so:
            return why
    return ""


def _is_renewal(page: Paged, news: PagerNews) -> bool:
    """Tell whether a person acknowledged once more there; our own acknowledgement comes back as news, too."""
    latest = max(page.incident.acknowledged_at, page.incident.last_pagerduty_event_at)
    return news.is_person and not page.incident.snoozed_until and news.occurred_at > latest


def _tell(page: Paged, news: PagerNews) -> str:
    """Return the timeline's words for an event that changes nothing here."""
    said = f"PagerDuty: {_NOTED[news.event_type]}"
    if news.event_type == "incident.reopened":
        return said + (f"; it stays closed here, {_why_closed(page)}" if page.incident.is_resolved else "")
    if not news.to:
        return said
    people = ", ".join(news.to)
    if news.event_type == "incident.responder.added":
        return f"PagerDuty: {people} was asked to help"
    if news.event_type == "incident.responder.replied":
        return f"PagerDuty: {people} answered the request for help" + (
            f" ({news.status})" if news.status else ""
        )
    return f"{said} to {people}"


def _why_closed(page: Paged) -> str:
    by = page.incident.resolved_by
    return f"as {by} closed it" if by else "as all its alerts are over"


def _log(news: PagerNews, outcome: str, incident_id: str = "") -> None:
    fields = {
        "incident": incident_id,
        "event": news.event_type,
        "pagerduty": news.incident_id,
        "outcome": outcome,
    }
    logger.info("pager news", extra={"fields": fields})


def _log_refusal(what: str, error: PermanentDeliveryError) -> None:
    fields = {"what": what, "reason": error.reason}
    logger.warning("pagerduty can't be asked", extra={"fields": fields, "state": f"{what} {error.reason}"})
