"""Apply to our incidents what was done in PagerDuty, without sending it back to PagerDuty."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from msgspec import ValidationError, convert
from msgspec.structs import replace

from receiver.errors import NotFound, PermanentDeliveryError, TemporaryDeliveryError
from receiver.incidents.service import IncidentService
from receiver.incidents.store import RedisIncidents
from receiver.integrations.pagerduty.page_state import ResponderPage
from receiver.integrations.pagerduty.rest_api import PagerDutyRestClient
from receiver.model import transitions
from receiver.model.delivery import Delivery, Receipt
from receiver.model.delivery_keys import DeliveryKey, hint_key
from receiver.model.delivery_status import build_gone_responder, list_paged_names
from receiver.model.incident import (
    Incident,
    IncidentChange,
    Person,
    TimelineEvent,
    dedup_key,
    parse_dedup_key,
)
from receiver.model.page_confirmation import PagerDutyEvent, PagerDutyStatus
from receiver.model.routing import PAGERDUTY, RoutingTable
from receiver.storms.model import parse_storm_dedup_key
from receiver.storms.service import StormService


@dataclass(frozen=True)
class PagerDutySync:
    """Applies what a person did in PagerDuty to an incident. Every method raises NotFound and StoreError.

    `occurred_at` is PagerDuty's time of the event (0: the current state, or unknown). An event older than the
    latest one seen changes nothing, nor does one for an earlier escalation run.
    """

    incident_service: IncidentService
    incidents: RedisIncidents
    clock: Callable[[], float]

    def apply_status(self, page: ResponderPage, status: str, by: Person, occurred_at: float = 0.0) -> None:
        """Make the incident `acknowledged` (renewed by a newer event), `triggered` or `resolved`."""
        now = self.clock()

        def transition(incident: Incident) -> IncidentChange:
            if status == "acknowledged":
                is_newer = occurred_at > incident.last_pagerduty_event_at
                return transitions.acknowledge(incident, by, now, is_renewing=is_newer)
            apply = transitions.resolve if status == "resolved" else transitions.unacknowledge
            return apply(incident, by, now)

        # After an un-acknowledge PagerDuty notifies its users again by itself. If the page still counted as
        # acknowledged, it would be resolved and triggered anew for that.
        if done := page.mark_done(status, now):
            self.incidents.record_delivery(page.incident.id, *done)
        self.update_incident(page.incident, transition, now, occurred_at)

    def record_hint(self, page: ResponderPage, reference: str) -> None:
        """Schedule a check of a page that was not resolved by a person, once for each *reference*."""
        name, now = page.responder.name, self.clock()
        target, receipt = f"{PAGERDUTY}:{name}", Receipt(now, reference)
        hint = Delivery(str(page.state.opened), target=target, attempts=1, receipt=receipt)
        self.incidents.record_delivery(page.incident.id, hint_key(name), hint, wake=(PAGERDUTY,), due=now)

    def update_incident(
        self,
        incident: Incident,
        transition: Callable[[Incident], IncidentChange],
        now: float,
        occurred_at: float = 0.0,
    ) -> None:
        """Save *transition* of the incident, unless another escalation run of it has begun."""

        def update(latest: Incident) -> IncidentChange:
            if latest.run != incident.run or 0 < occurred_at < latest.last_pagerduty_event_at:
                return IncidentChange(latest)
            change = transition(latest)
            if change.incident is None or occurred_at <= latest.last_pagerduty_event_at:
                return change
            updated = replace(change.incident, last_pagerduty_event_at=occurred_at)
            return IncidentChange(updated, is_changed=True, events=change.events)

        self.incident_service.update(incident.id, update, now)


T = TypeVar("T")
logger = logging.getLogger(__name__)
# The transition of an incident for a status in PagerDuty.
TRANSITIONS = {"acknowledged": "acknowledge", "resolved": "resolve"}
# Events that change an incident, with the status that PagerDuty's incident must have then.
_STATUSES = {
    "incident.acknowledged": "acknowledged",
    "incident.unacknowledged": "triggered",
    "incident.resolved": "resolved",
}
# Events that are only recorded in the timeline.
_NOTED_EVENTS = {
    "incident.reopened": "reopened",
    "incident.reassigned": "reassigned",
    "incident.escalated": "escalated",
    "incident.delegated": "delegated",
    "incident.responder.added": "help was asked for",
    "incident.responder.replied": "a request for help was answered",
}
EVENTS = frozenset({*_STATUSES, *_NOTED_EVENTS})
# When PagerDuty cannot be asked about an event younger than this, the job is retried. An older event is
# trusted: a person may have responded, and others would be paged meanwhile.
_ASK_AGAIN_FOR_S = 30.0
# The end of a page and the next page may be close together, and PagerDuty's clock differs from ours.
_CLOCK_SLACK_S = 5.0
_NOTE_KEY = DeliveryKey("note:pagerduty")
_FORMER = "of a former page"
_OUTDATED = "outdated"
# Reasons for which an event changes nothing, but still outdates earlier events that arrive after it.
_NO_CHANGE = ("already acknowledged", "not acknowledged")


@dataclass(frozen=True)
class PagerDutyWebhookHandler:
    """Handles PagerDuty's webhook events. Without *rest* it trusts the event itself."""

    pagerduty_sync: PagerDutySync
    incidents: RedisIncidents
    rest: PagerDutyRestClient | None
    routing: RoutingTable
    storms: StormService
    clock: Callable[[], float]

    def handle_event(self, event: Mapping[str, Any]) -> None:
        """Apply *event* (the fields of a PagerDutyEvent); the second time changes nothing.

        Raises StoreError, and TemporaryDeliveryError when PagerDuty must be asked and does not answer.
        """
        try:
            parsed = convert(dict(event), PagerDutyEvent)
        except ValidationError as error:
            logger.warning("pagerduty event not understood", extra={"fields": {"reason": str(error)}})
            return
        keys = tuple(self._find_keys(parsed))
        pages = list(self._find_pages(keys))
        batches = [page for page in map(parse_storm_dedup_key, keys) if page is not None]
        if not pages and not batches:
            _log_event(parsed, "not ours")
            return
        wanted = _STATUSES.get(parsed.event_type)
        status = self._find_status(parsed, wanted) if wanted else PagerDutyStatus(parsed.status)
        for page in pages:
            _log_event(parsed, self._apply_to_page(page, parsed, status), page.incident.id)
        for storm_id, batch in batches:
            _log_event(parsed, self._apply_to_storm(storm_id, batch, parsed, status), storm_id)

    def _find_pages(self, keys: Iterable[str]) -> Iterator[ResponderPage]:
        """Yield the pages of ours with *keys*; several when PagerDuty grouped or merged alerts."""
        for key in keys:
            parts = parse_dedup_key(key)
            latest = self.incidents.load_latest([parts[0]])[0].incident if parts else None
            if latest is None:
                continue
            incident = self.incidents.load_incident(latest.id)
            # A responder may have been paged before it was removed from the configuration.
            gone = {name: build_gone_responder(name) for name in list_paged_names(incident)}
            for name, responder in {**gone, **self.routing.responders}.items():
                if dedup_key(incident, name) == key:
                    yield ResponderPage(incident, responder)

    def _find_keys(self, event: PagerDutyEvent) -> Iterable[str]:
        key = event.incident_key
        if parse_dedup_key(key) or parse_storm_dedup_key(key) or self.rest is None:
            return (key,)
        try:
            return self.rest.find_alert_keys(event.incident_id)
        except PermanentDeliveryError as error:
            _log_refusal("alerts", error)
            return ()

    def _find_status(self, event: PagerDutyEvent, expected: str) -> PagerDutyStatus:
        """Return the status of PagerDuty's incident: as the API says, or *expected* from the event.

        A status older than the event comes from a part of PagerDuty that is not up to date yet.
        """
        hint = PagerDutyStatus("merged" if event.merged_into else expected)
        status = self._query_rest(event, lambda rest: rest.find_status(event.incident_id), hint)
        is_older = 0 < status.changed_at < int(event.occurred_at)  # the API has whole seconds
        return hint if is_older else status

    def _query_rest(
        self, event: PagerDutyEvent, question: Callable[[PagerDutyRestClient], T], otherwise: T
    ) -> T:
        if self.rest is None:
            return otherwise
        try:
            return question(self.rest)
        except PermanentDeliveryError as error:
            _log_refusal("incidents", error)
        except TemporaryDeliveryError:
            # A clock that was set back must not stretch the retries.
            if abs(self.clock() - event.occurred_at) < _ASK_AGAIN_FOR_S:
                raise
        return otherwise

    def _apply_to_page(self, page: ResponderPage, event: PagerDutyEvent, status: PagerDutyStatus) -> str:
        """Apply the event to one page; return the outcome for the log."""
        if event.event_type in _NOTED_EVENTS:
            return self._record_note(page, event, _describe_event(page, event))
        if status.status == "merged" and event.event_type == "incident.resolved":
            text = "PagerDuty: merged into another incident, where the page goes on"
            return self._record_note(page, event, text)
        reason = _find_reason_to_ignore(page, event, status)
        if reason in _NO_CHANGE:
            self.pagerduty_sync.update_incident(
                page.incident, IncidentChange, self.clock(), event.occurred_at
            )
        if reason:
            return reason
        by = Person(event.by or status.by or "PagerDuty", via=PAGERDUTY)
        if event.event_type == "incident.resolved":
            return self._resolve_incident(page, event, by, is_person=event.is_person or status.is_person)
        self.pagerduty_sync.apply_status(page, status.status, by, event.occurred_at)
        return status.status

    def _apply_to_storm(
        self, storm_id: str, batch: int, event: PagerDutyEvent, status: PagerDutyStatus
    ) -> str:
        """Apply the event to all incidents that a storm page counts; return the outcome for the log.

        Un-acknowledging does nothing here: PagerDuty notifies its users again by itself, and each incident of
        the page is un-acknowledged on its own.
        """
        expected = _STATUSES.get(event.event_type)
        if expected not in TRANSITIONS:
            return "nothing to do"
        if status.status != expected:
            return _OUTDATED
        by = Person(event.by or status.by or "PagerDuty", via=PAGERDUTY)
        try:
            if expected == "resolved" and not (event.is_person or status.is_person):
                self.storms.record_hint(storm_id, batch, event.event_id or event.incident_id, self.clock())
                return "resolved by no person"
            self.storms.record_response(
                storm_id,
                TRANSITIONS[expected],
                by,
                self.clock(),
                batch=batch,
                done_in_pagerduty=True,
                is_renewing=event.is_person,
            )
        except NotFound:
            return "no storm of ours any more"
        return expected

    def _resolve_incident(
        self, page: ResponderPage, event: PagerDutyEvent, by: Person, *, is_person: bool
    ) -> str:
        """Resolve the incident, unless the resolved page is a former one and another is open now.

        A resolve by anything but a person changes nothing: auto-resolve, an event rule or another integration
        does not know whether the alerts fire. The page is checked, and triggered again.
        """
        nothing: tuple[str, ...] = ()
        still_open = self._query_rest(event, lambda rest: rest.find_open(page.key), nothing)
        if any(incident_id != event.incident_id for incident_id in still_open):
            return _FORMER
        if not is_person:
            self.pagerduty_sync.record_hint(page, event.event_id or event.incident_id)
            return "resolved by no person"
        self.pagerduty_sync.apply_status(page, "resolved", by, event.occurred_at)
        return "resolved"

    def _record_note(self, page: ResponderPage, event: PagerDutyEvent, text: str) -> str:
        """Add *text* to the timeline, once for each event."""
        recorded = page.incident.deliveries.get(_NOTE_KEY, Delivery())
        if event.event_id and recorded.instance == event.event_id:
            return "already noted"
        now, target = self.clock(), f"{PAGERDUTY}:{page.responder.name}"
        note = Delivery(event.event_id, target=target, attempts=1, receipt=Receipt(now))
        entry = TimelineEvent(now, "noted", text, event.by, PAGERDUTY)
        self.incidents.record_delivery(page.incident.id, _NOTE_KEY, note, events=(entry,))
        return "noted"


def _find_reason_to_ignore(page: ResponderPage, event: PagerDutyEvent, status: PagerDutyStatus) -> str:
    """Return why the event changes nothing here, for the log; empty when it does."""
    incident, expected = page.incident, _STATUSES.get(event.event_type)
    slack_s = _CLOCK_SLACK_S if expected == "resolved" else 0.0
    former_until = page.former_until
    is_about_former = former_until > 0 and 0 < event.occurred_at < former_until + slack_s
    # A person may acknowledge again in PagerDuty; our acknowledgements cause events, too.
    latest = max(incident.acknowledged_at, incident.last_pagerduty_event_at)
    is_renewal = event.is_person and not incident.snoozed_until and event.occurred_at > latest
    is_known = expected == "acknowledged" and incident.is_acknowledged and not is_renewal
    reasons = (
        (_OUTDATED, 0 < event.occurred_at < incident.last_pagerduty_event_at),
        (_OUTDATED, status.status != expected),
        ("already closed", incident.is_resolved),
        (_FORMER, not page.is_open),
        (_FORMER, expected != "triggered" and is_about_former),
        ("not acknowledged", expected == "triggered" and not incident.is_acknowledged),
        ("already acknowledged", is_known),
    )
    return next((reason for reason, is_so in reasons if is_so), "")


def _describe_event(page: ResponderPage, event: PagerDutyEvent) -> str:
    """Return the timeline text for an event that changes nothing here."""
    text = f"PagerDuty: {_NOTED_EVENTS[event.event_type]}"
    if event.event_type == "incident.reopened" and page.incident.is_resolved:
        by = page.incident.resolved_by
        return f"{text}; it stays closed here, as {f'{by} closed it' if by else 'all its alerts are over'}"
    if event.event_type == "incident.reopened" or not event.to:
        return text
    people = ", ".join(event.to)
    if event.event_type == "incident.responder.added":
        return f"PagerDuty: {people} was asked to help"
    if event.event_type == "incident.responder.replied":
        reply = f" ({event.status})" if event.status else ""
        return f"PagerDuty: {people} answered the request for help{reply}"
    return f"{text} to {people}"


def _log_event(event: PagerDutyEvent, outcome: str, incident_id: str = "") -> None:
    fields = {"incident": incident_id, "type": event.event_type, "pagerduty": event.incident_id}
    logger.info("pagerduty event", extra={"fields": {**fields, "outcome": outcome}})


def _log_refusal(what: str, error: PermanentDeliveryError) -> None:
    fields = {"what": what, "reason": error.reason}
    logger.warning("pagerduty unavailable", extra={"fields": fields, "state": f"{what} {error.reason}"})
