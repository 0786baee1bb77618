"""The check of a storm's page: asks PagerDuty for its incident, once for all members of the batch."""

from __future__ import annotations

import logging

from receiver.engine.health import DeliveryHealthRecorder
from receiver.engine.ports import Notices, PageStatuses
from receiver.errors import DeliveryError, PermanentDeliveryError
from receiver.model.actions import ConfirmPage
from receiver.model.delivery import Delivery
from receiver.model.delivery_keys import is_page_key
from receiver.model.incident import Person
from receiver.model.page_confirmation import (
    Finding,
    PagerDutyStatus,
    evaluate_page,
    find_left_open,
    is_left_open,
    is_resolved_too_often,
    is_unconfirmed,
    postpone_check,
    record_check,
    record_hint,
    record_resolve_check,
)
from receiver.model.routing import PAGERDUTY
from receiver.storms.model import Storm, VersionedStorm, parse_batch, storm_dedup_key, with_delivery
from receiver.storms.service import StormService
from receiver.storms.store import RedisStorms

logger = logging.getLogger(__name__)


class StormPageConfirmer:
    """Compares the pages of storms with PagerDuty's incidents.

    Without a *status_client*, the resolve in a webhook of PagerDuty is trusted.
    """

    def __init__(
        self,
        store: RedisStorms,
        storms: StormService,
        status_client: PageStatuses | None,
        notices: Notices,
        health: DeliveryHealthRecorder,
    ) -> None:
        self._store = store
        self._storms = storms
        self._status_client = status_client
        self._notices = notices
        self._health = health

    @property
    def can_read_pages(self) -> bool:
        """Whether PagerDuty can be asked, not only its webhooks be trusted."""
        return self._status_client is not None

    def confirm_page(self, action: ConfirmPage, loaded: VersionedStorm, now: float) -> None:
        """Read a page's state from PagerDuty, once for all members of the batch, and save the finding.

        Where the storm changed meanwhile, nothing is saved and the next pass evaluates it again.
        """
        storm, before = loaded.storm, loaded.storm.deliveries[action.event_key]
        batch, is_page = parse_batch(action.event_key), is_page_key(action.event_key)
        try:
            finding = self._evaluate_page(action, storm, before, is_page=is_page)
        except DeliveryError:
            self._store.save_if_unchanged(
                loaded, with_delivery(storm, action.event_key, postpone_check(before, now))
            )
            return
        if is_page and finding.is_by_person and finding.status is not None:
            transition = "acknowledge" if finding.what == "acknowledged" else "resolve"
            by = Person(finding.status.by or "PagerDuty", via=PAGERDUTY)
            self._storms.respond(storm.id, transition, by, now, batch=batch, done_in_pagerduty=True)
            return
        after = record_check(before, finding, now) if is_page else record_resolve_check(before, finding, now)
        after = record_hint(after, action.hint)
        if text := _format_check(before, after, action.responder.title):
            self._notices.save_notice(f"{storm.id}/{action.event_key}/{text}", f"{text} ({storm.id})", now)
        if self._store.save_if_unchanged(loaded, with_delivery(storm, action.event_key, after)):
            if is_page:
                self._health.record_delivery(PAGERDUTY, action.responder.name, after, now)
            fields = {"storm": storm.id, "key": action.event_key, "outcome": finding.what}
            logger.info("page confirmation", extra={"fields": fields})

    def _evaluate_page(self, action: ConfirmPage, storm: Storm, event: Delivery, *, is_page: bool) -> Finding:
        if self._status_client is None:
            return Finding("resolved", PagerDutyStatus("resolved"))
        key = storm_dedup_key(storm.id, parse_batch(action.event_key))
        try:
            statuses = self._status_client.find_statuses([key]).get(key, ())
        except PermanentDeliveryError:
            if action.hint:  # trust the webhook, as without an API key
                return Finding("resolved", PagerDutyStatus("resolved"))
            raise
        return evaluate_page(statuses, event.first_attempt_at) if is_page else find_left_open(statuses, event)


def _format_check(before: Delivery, after: Delivery, who: str) -> str:
    """Return the text of a notice about a checked event; empty where nothing is new."""
    if is_unconfirmed(after) and not is_unconfirmed(before):
        return (
            f"PagerDuty accepted the storm's page to {who} and has no incident for it, probably due to a "
            "maintenance window, a disabled service or an event rule; it is sent again"
        )
    if is_resolved_too_often(after) and not is_resolved_too_often(before):
        return f"PagerDuty resolves the storm's page to {who} again and again, and no person does"
    if is_left_open(after):
        return f"PagerDuty's incident of the storm's page to {who} is still open after our resolves"
    return ""
