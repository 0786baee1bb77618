"""The page confirmation asks PagerDuty about a page 30 s after each trigger, then every 15 minutes.

A 202 of the Events API does not mean that PagerDuty opened an incident. When it has none, `plan()` wants the
page again. Without a REST API key, PagerDuty's webhooks and repeated alerts are used instead.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from receiver.engine.health import DeliveryHealthRecorder
from receiver.engine.ports import Notices
from receiver.errors import DeliveryError
from receiver.incidents.store import RedisIncidents
from receiver.integrations.pagerduty.acknowledgement_check import PagerDutyStatusClient
from receiver.integrations.pagerduty.page_state import ResponderPage
from receiver.integrations.pagerduty.sync import PagerDutySync
from receiver.model import page_confirmation as confirmation
from receiver.model.actions import ConfirmPage
from receiver.model.delivery import Delivery
from receiver.model.incident import Incident, Person, TimelineEvent
from receiver.model.page_confirmation import ConfirmationResult
from receiver.model.routing import PAGERDUTY
from receiver.text import one_line

logger = logging.getLogger(__name__)
CAUSES = "a maintenance window, a disabled service or an event rule"


@dataclass(frozen=True)
class PageConfirmer:
    """Compares our pages and resolves with PagerDuty's incidents. Thread-safe."""

    incidents: RedisIncidents
    pagerduty_sync: PagerDutySync
    status_client: PagerDutyStatusClient | None
    notices: Notices
    health: DeliveryHealthRecorder
    clock: Callable[[], float]

    def confirm_page(self, action: ConfirmPage, incident: Incident, worker: str) -> None:
        """Look up the event that *action* names and save the result in its delivery.

        An acknowledgement or resolve by a person in PagerDuty is applied to the incident. Raises StoreError
        and LeaseLost.
        """
        page, before = ResponderPage(incident, action.responder), incident.deliveries[action.event_key]
        try:
            result = self._evaluate_event(action, page, before)
        except DeliveryError:
            self._save_delivery(action, incident, confirmation.postpone_check(before, self.clock()), worker)
            return
        now = self.clock()
        if result is None:
            repeated = confirmation.record_repeat(before, now, incident.last_received_at)
            self._save_delivery(action, incident, repeated, worker)
        elif incident.is_resolved:
            after = confirmation.record_resolve_check(before, result, now)
            events = []
            if confirmation.is_left_open(after):
                text = f"PagerDuty's incident for {action.responder.title} is still open after our resolves"
                self._save_notice(action, incident, after, text)
                events.append(TimelineEvent(self.clock(), "left_open", text))
            self._save_delivery(action, incident, after, worker, events)
        elif result.is_by_person and result.status is not None:
            by = Person(result.status.by or "PagerDuty", via=PAGERDUTY)
            self.pagerduty_sync.apply_status(page, result.what, by)
        else:
            after = confirmation.record_hint(confirmation.record_check(before, result, now), action.hint)
            self._save_page(action, incident, after, result, worker)
        outcome = result.what if result is not None else "repeated"
        fields = {"incident": incident.id, "key": action.event_key, "outcome": outcome}
        logger.info("page confirmation", extra={"fields": fields})

    def _evaluate_event(
        self, action: ConfirmPage, page: ResponderPage, event: Delivery
    ) -> ConfirmationResult | None:
        """Return the state in PagerDuty; None when it cannot be looked up and the alerts were repeated."""
        if self.status_client is None:
            return None if action.is_repeated else confirmation.TRUSTED_RESOLVE
        evaluate = partial(
            confirmation.evaluate_page, sent_at=page.sent_at, acknowledged_after=page.former_until
        )
        if page.incident.is_resolved:
            evaluate = partial(confirmation.find_left_open, resolve=event)
        return self.status_client.evaluate_event(page.key, action.hint, evaluate)

    def _save_page(
        self,
        action: ConfirmPage,
        incident: Incident,
        after: Delivery,
        result: ConfirmationResult,
        worker: str,
    ) -> None:
        """Save the result for a page, with timeline entries and notices for what changed."""
        now, who, before = self.clock(), action.responder.title, incident.deliveries[action.event_key]
        events: list[TimelineEvent] = []
        if result.what == "resolved":
            events.append(_resolved_event(result, action, after))
            if before.instance != str(incident.run.number):
                # A page of an earlier escalation run is not triggered again under that run: mark it as
                # resolved, so that the current run pages the step anew.
                if done := ResponderPage(incident, action.responder).mark_done("resolved", now):
                    self.incidents.record_delivery(incident.id, *done, events=events)
                return
        is_unconfirmed = confirmation.is_unconfirmed(after)
        is_resolved_too_often = confirmation.is_resolved_too_often(after)
        if is_unconfirmed and not confirmation.is_unconfirmed(before):
            text = (
                f"PagerDuty accepted the page to {who} and has no incident for it, probably due to {CAUSES}"
            )
            events.append(TimelineEvent(now, confirmation.UNCONFIRMED, text))
        elif confirmation.is_unconfirmed(before) and after.receipt is not None:
            text = f"PagerDuty has an incident for the page to {who}"
            events.append(TimelineEvent(now, confirmation.CONFIRMED, text))
        if is_resolved_too_often and not confirmation.is_resolved_too_often(before):
            text = f"PagerDuty resolves the page to {who} again and again, and no person does"
            self._save_notice(action, incident, before, text)
        self._save_delivery(action, incident, after, worker, events)
        if is_unconfirmed or is_resolved_too_often or after.receipt is not None:
            self.health.record_delivery(PAGERDUTY, action.responder.name, after, now)

    def _save_notice(self, action: ConfirmPage, incident: Incident, event: Delivery, text: str) -> None:
        name = one_line(incident.alertname or incident.summary, 80)
        self.notices.save_notice(
            f"{incident.id}/{action.event_key}/{event.instance}/check",
            f"{text} ({incident.severity.upper()} {name}, {incident.id})",
            self.clock(),
            about=text,
        )

    def _save_delivery(
        self,
        action: ConfirmPage,
        incident: Incident,
        after: Delivery,
        worker: str,
        events: Sequence[TimelineEvent] = (),
    ) -> None:
        wake = ("slack",) if events else ()
        lease = {"worker": worker, "queue": action.queue}
        self.incidents.record_delivery(
            incident.id, action.event_key, after, **lease, events=events, wake=wake, due=self.clock()
        )


def _resolved_event(result: ConfirmationResult, action: ConfirmPage, after: Delivery) -> TimelineEvent:
    by = f" by {result.status.by}" if result.status is not None and result.status.by else ""
    then = "it is paged again later" if confirmation.is_resolved_too_often(after) else "it is paged again"
    text = f"Resolved in PagerDuty{by}, which is no person, while it still fires: {then}"
    at = confirmation.start_confirmation(after).at
    return TimelineEvent(at, "resolved_there", f"{text} ({action.responder.title})", via=PAGERDUTY)
