"""A page as PagerDuty's news finds it: what was sent, and what the news may change of it."""

from __future__ import annotations

from dataclasses import dataclass

from receiver.model.delivery import Delivery, Receipt
from receiver.model.delivery_status import PageState, acknowledgement_instance, hint_key, page_state
from receiver.model.incident import Incident, dedup_key
from receiver.model.routing import PAGERDUTY, Responder

DONE_THERE = "done in PagerDuty"


@dataclass(frozen=True)
class ResponderPage:
    """An incident of ours, loaded, and the responder whose PagerDuty incident the news is about."""

    incident: Incident
    responder: Responder

    @property
    def state(self) -> PageState:
        return page_state(self.incident, self.responder)

    @property
    def key(self) -> str:
        """The name by which PagerDuty knows the page."""
        return dedup_key(self.incident, self.responder.name)

    @property
    def is_open(self) -> bool:
        """Whether PagerDuty's incident is this incident's, and still open as far as we know.

        One that we remember nothing of is, unless it may be the group's former incident's. One whose
        end PagerDuty told us of counts until that end is kept here, too.
        """
        state = self.state
        if not state.opened:
            return not self.incident.previous
        closing = self._find_delivery("resolve")
        is_closed_there = closing.instance == str(state.opened) and _is_done_there(closing)
        return is_closed_there or (state.is_open and not state.is_closing)

    def is_past(self, moment: float, slack_s: float = 0.0) -> bool:
        """Tell whether something of *moment* (0: unknown) was about a page before the one open now.

        Only where there was one: their dedup keys are the same. *slack_s* is for clocks that differ.
        """
        until = self.former_until
        return bool(moment and until) and moment < until + slack_s

    @property
    def former_until(self) -> float:
        """Until when what was done in PagerDuty may have been about a former page; 0 where there was none."""
        run = self.incident.run
        return max(run.started_at, self.sent_at) if self.incident.previous or run.number > 1 else 0.0

    @property
    def sent_at(self) -> float:
        """When the page open now was first tried; 0 where none was."""
        name, instance = f"page:{self.responder.name}", str(self.state.opened)
        return max(
            (
                delivery.first_attempt_at
                for key, delivery in self.incident.deliveries.items()
                if delivery.instance == instance and (key == name or key.startswith(f"{name}#"))
            ),
            default=0.0,
        )

    def mark_done(self, kind: str, now: float) -> tuple[str, Delivery] | None:
        """Return how `acknowledge` or `resolve` stands when PagerDuty itself did it, with its key.

        So nobody tells PagerDuty what it told us. None where nothing is open there, or that is known.
        *now* is when the incident counts as acknowledged.
        """
        instance, before = str(self.state.opened), self._find_delivery(kind)
        if kind == "acknowledge":
            instance = acknowledgement_instance(self.state.opened, now)
        if not self.state.is_open or (before.instance == instance and before.receipt is not None):
            return None
        attempt = before.with_attempt(instance, "", f"{PAGERDUTY}:{self.responder.name}", now)
        return f"{kind}:{self.responder.name}", attempt.with_receipt(Receipt(now, self.key, note=DONE_THERE))

    def mark_undone(self) -> tuple[str, Delivery]:
        """Return how `acknowledge` stands when PagerDuty took it back, with its key: not done."""
        return f"acknowledge:{self.responder.name}", Delivery("0")

    def build_hint(self, reference: str, now: float) -> tuple[str, Delivery]:
        """Return what is kept where PagerDuty tells that something other than a person resolved the page,
        with its key: the page is checked for it once, by *reference*.
        """
        target = f"{PAGERDUTY}:{self.responder.name}"
        receipt = Receipt(now, reference)
        return hint_key(self.responder), Delivery(
            str(self.state.opened), target=target, attempts=1, receipt=receipt
        )

    def _find_delivery(self, kind: str) -> Delivery:
        return self.incident.deliveries.get(f"{kind}:{self.responder.name}", Delivery())


def _is_done_there(delivery: Delivery) -> bool:
    return delivery.receipt is not None and delivery.receipt.note == DONE_THERE
