"""The check of a storm's page: asks PagerDuty for its incident, once for all members of the batch."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial

from receiver.engine.health import DeliveryHealthRecorder
from receiver.engine.ports import Notices, PageStatuses
from receiver.errors import DeliveryError
from receiver.model import page_confirmation
from receiver.model.actions import ConfirmPage
from receiver.model.delivery import Delivery
from receiver.model.delivery_keys import is_page_key
from receiver.model.incident import Person
from receiver.model.page_confirmation import Finding
from receiver.model.routing import PAGERDUTY
from receiver.storms.model import Storm, VersionedStorm, parse_batch, storm_dedup_key
from receiver.storms.service import StormService

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StormPageConfirmer:
    """Compares the pages of storms with PagerDuty's incidents.

    Without a *status_client*, the resolve in a webhook of PagerDuty is trusted.
    """

    storms: StormService
    status_client: PageStatuses | None
    notices: Notices
    health: DeliveryHealthRecorder

    @property
    def can_read_pages(self) -> bool:
        """Whether PagerDuty can be asked, not only its webhooks be trusted."""
        return self.status_client is not None

    def confirm_page(self, action: ConfirmPage, loaded: VersionedStorm, now: float) -> None:
        """Read a page's state from PagerDuty, once for all members of the batch, and save the finding.

        Where the storm changed meanwhile, nothing is saved and the next pass evaluates it again.
        """
        storm, key, store = loaded.storm, action.event_key, self.storms.store
        before, is_page = storm.deliveries[key], is_page_key(key)
        try:
            finding = self._evaluate_page(action, storm, before, is_page=is_page)
        except DeliveryError:
            store.save_if_unchanged(
                loaded, storm.with_delivery(key, page_confirmation.postpone_check(before, now))
            )
            return
        if is_page and finding.is_by_person and finding.status is not None:
            transition = "acknowledge" if finding.what == "acknowledged" else "resolve"
            by = Person(finding.status.by or "PagerDuty", via=PAGERDUTY)
            self.storms.record_response(
                storm.id, transition, by, now, batch=parse_batch(key), done_in_pagerduty=True
            )
            return
        record = page_confirmation.record_check if is_page else page_confirmation.record_resolve_check
        after = page_confirmation.record_hint(record(before, finding, now), action.hint)
        if text := _format_check(before, after, action.responder.title):
            self.notices.save_notice(f"{storm.id}/{key}/{text}", f"{text} ({storm.id})", now)
        if store.save_if_unchanged(loaded, storm.with_delivery(key, after)):
            if is_page:
                self.health.record_delivery(PAGERDUTY, action.responder.name, after, now)
            fields = {"storm": storm.id, "key": key, "outcome": finding.what}
            logger.info("page confirmation", extra={"fields": fields})

    def _evaluate_page(self, action: ConfirmPage, storm: Storm, event: Delivery, *, is_page: bool) -> Finding:
        if self.status_client is None:
            return page_confirmation.TRUSTED_RESOLVE
        evaluate = partial(page_confirmation.find_left_open, resolve=event)
        if is_page:
            evaluate = partial(page_confirmation.evaluate_page, sent_at=event.first_attempt_at)
        key = storm_dedup_key(storm.id, parse_batch(action.event_key))
        return self.status_client.evaluate_event(key, action.hint, evaluate)


def _format_check(before: Delivery, after: Delivery, who: str) -> str:
    """Return the text of a notice about a checked event; empty where nothing is new."""
    if page_confirmation.is_unconfirmed(after) and not page_confirmation.is_unconfirmed(before):
        return (
            f"PagerDuty accepted the storm's page to {who} and has no incident for it, probably due to a "
            "maintenance window, a disabled service or an event rule; it is sent again"
        )
    is_resolved_too_often = page_confirmation.is_resolved_too_often
    if is_resolved_too_often(after) and not is_resolved_too_often(before):
        return f"PagerDuty resolves the storm's page to {who} again and again, and no person does"
    if page_confirmation.is_left_open(after):
        return f"PagerDuty's incident of the storm's page to {who} is still open after our resolves"
    return ""
