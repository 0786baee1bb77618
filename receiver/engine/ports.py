"""Protocols that the worker, the reconciler and the dispatcher need from other packages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from receiver.engine.notification import Notification
from receiver.engine.rate_limit import Permit
from receiver.model.actions import CheckBeforeStep, ConfirmPage, DeliveryAction
from receiver.model.delivery import Delivery, Receipt
from receiver.model.escalation import IncidentView
from receiver.model.incident import Incident, OnCallPerson
from receiver.model.page_confirmation import ConfirmationResult, Evaluation
from receiver.model.routing import EscalationPolicy, Responder
from receiver.storage.client import Command


class Channel(Protocol):
    """Sends notifications to the targets of one kind."""

    def send(self, notification: Notification) -> Receipt:
        """Deliver and return the receipt. Raises DeliveryError; never sleeps to retry."""
        ...

    def find_receipt(self, notification: Notification) -> Receipt | None:
        """Return the receipt of an earlier attempt that did arrive; the first was at `first_attempt_at`.

        None if it did not arrive or the channel cannot tell; then the notification is sent again. Raises
        DeliveryError if the search is to be tried again first; it has been since `searched_since`.
        """
        ...


class Reconciles(Protocol):
    """Reconciles one entry of a work queue: dispatches the actions that are missing."""

    def reconcile(self, entry_id: str, queue: str, worker: str, /) -> dict[str, float | None]:
        """Reconcile the entry; return by queue when it is due again (None: never).

        Raises StoreError, LeaseLost.
        """
        ...


class Bundler(Protocol):
    """Bundles notifications that the rate limits do not allow to be sent one by one in time."""

    def maybe_start(
        self,
        permit: Permit,
        waiting_list: Callable[[], Sequence[str]],
        action: DeliveryAction,
        incident: Incident,
        now: float,
    ) -> bool:
        """Start a storm if *permit* shows too long a wait; True if the storm announces *action* now."""
        ...

    @property
    def read_active(self) -> Command:
        """The command that reads the active storms."""
        ...

    def bundle_action(
        self, action: DeliveryAction, view: IncidentView, active: Any, worker: str
    ) -> Delivery | None:
        """Return the delivery of *action* as part of a storm; None if it must be sent by itself.

        *active* is the reply to `read_active`, perhaps an error. Raises StoreError, LeaseLost.
        """
        ...


class Policies(Protocol):
    """The escalation policies as configured now; no pages are sent while a maintenance is active."""

    @property
    def read_maintenance(self) -> Command:
        """The command that reads the maintenance."""
        ...

    def resolve_policy(self, incident: Incident, maintenance: Any, now: float) -> EscalationPolicy:
        """Return the incident's policy; *maintenance* is the reply to `read_maintenance`, perhaps an error.

        Raises StoreError.
        """
        ...


class PreEscalationCheck(Protocol):
    """Asks a vendor before an escalation step whether the step is still needed."""

    def check_incident(self, action: CheckBeforeStep, incident: Incident) -> None:
        """Apply the answer to the incident, and record the check on it. Raises StoreError."""
        ...


class PageEventConfirmer(Protocol):
    """Asks PagerDuty for the incident that an accepted event created."""

    def confirm_page(self, action: ConfirmPage, incident: Incident, worker: str) -> None:
        """Record the answer in the event's delivery. Raises StoreError, LeaseLost."""
        ...


class PageStatuses(Protocol):
    """Asks PagerDuty for the incidents of dedup keys."""

    def evaluate_event(self, key: str, hint: str, evaluate: Evaluation) -> ConfirmationResult:
        """Return what *evaluate* finds in the statuses of *key*. Raises DeliveryError."""
        ...


class OnCallLookup(Protocol):
    """Looks up who is on call."""

    def list_on_call(self, responder: Responder) -> Sequence[OnCallPerson]:
        """Return the people on call; empty if unknown. Never raises, and returns within 2 s."""
        ...


class Notices(Protocol):
    """Stores notices until they are posted."""

    def save_notice(
        self, notice_id: str, text: str, now: float, *, about: str = "", every: float = 0.0
    ) -> bool:
        """Store a notice to be posted; return False if one with that *notice_id* was posted before.

        With *every*, it may be posted again after that many seconds. Raises StoreError.
        """
        ...
