"""The state of a responder's page, and the delivery records for what was done to it in PagerDuty."""

from __future__ import annotations

from dataclasses import dataclass

from receiver.model.delivery import Delivery, Receipt
from receiver.model.delivery_keys import DeliveryKey, acknowledge_key, resolve_key
from receiver.model.delivery_status import PageState, acknowledgement_instance, page_state
from receiver.model.incident import Incident, dedup_key
from receiver.model.routing import PAGERDUTY, Responder

DONE_THERE = "done in PagerDuty"
_EVENT_KEYS = {"acknowledged": acknowledge_key, "resolved": resolve_key}


@dataclass(frozen=True)
class ResponderPage:
    """A loaded incident, and the responder whose PagerDuty incident is concerned."""

    incident: Incident
    responder: Responder

    @property
    def state(self) -> PageState:
        return page_state(self.incident, self.responder)

    @property
    def key(self) -> str:
        """The dedup key of the page in PagerDuty."""
        return dedup_key(self.incident, self.responder.name)

    @property
    def is_open(self) -> bool:
        """Whether PagerDuty's incident belongs to this incident, and is still open as far as we know.

        Without a record of a page it counts as open, unless it may belong to an earlier incident of the
        group. One that was resolved in PagerDuty still counts as open, so that the resolve is applied here.
        """
        state = self.state
        if not state.opened:
            return not self.incident.previous
        closing = self._find_delivery("resolved")
        is_done_there = closing.receipt is not None and closing.receipt.note == DONE_THERE
        is_closed_there = closing.instance == str(state.opened) and is_done_there
        return is_closed_there or state.is_active

    @property
    def former_until(self) -> float:
        """The time before which an action may concern a former page of the dedup key; 0 without one."""
        run = self.incident.run
        return max(run.started_at, self.sent_at) if self.incident.previous or run.number > 1 else 0.0

    @property
    def sent_at(self) -> float:
        """The first attempt to send the page that is open now; 0 without one."""
        instance = str(self.state.opened)
        pages = self.incident.pages.get(self.responder.name, {}).values()
        return max((page.first_attempt_at for page in pages if page.instance == instance), default=0.0)

    def mark_done(self, status: str, now: float) -> tuple[DeliveryKey, Delivery] | None:
        """Return the key and the delivery of our event for a *status* that PagerDuty has already.

        Its receipt keeps us from sending PagerDuty its own action. None when no page is open there, or the
        receipt exists. *now* is the time of the incident's acknowledgement.
        """
        if status == "triggered":  # an acknowledgement was revoked
            return acknowledge_key(self.responder.name), Delivery("0")
        instance, before = str(self.state.opened), self._find_delivery(status)
        if status == "acknowledged":
            instance = acknowledgement_instance(self.state.opened, now)
        if not self.state.is_open or (before.instance == instance and before.receipt is not None):
            return None
        attempt = before.with_attempt(instance, None, f"{PAGERDUTY}:{self.responder.name}", now)
        receipt = Receipt(now, self.key, note=DONE_THERE)
        return _EVENT_KEYS[status](self.responder.name), attempt.with_receipt(receipt)

    def _find_delivery(self, status: str) -> Delivery:
        return self.incident.find_delivery(_EVENT_KEYS[status](self.responder.name))
