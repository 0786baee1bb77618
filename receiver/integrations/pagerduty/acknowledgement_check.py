"""The acknowledgement check: before an escalation step, ask PagerDuty's REST API about the earlier pages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from receiver.errors import DeliveryError, NotFound, PermanentDeliveryError, TemporaryDeliveryError
from receiver.incidents.service import IncidentService
from receiver.integrations.pagerduty.page_state import ResponderPage
from receiver.integrations.pagerduty.rest_api import PagerDutyRestClient
from receiver.integrations.pagerduty.sync import TRANSITIONS, PagerDutySync
from receiver.model import page_confirmation as confirmation
from receiver.model import transitions
from receiver.model.actions import CheckBeforeStep
from receiver.model.delivery_status import find_storm_paging, page_state
from receiver.model.escalation import CHECK_AHEAD_S
from receiver.model.incident import Incident, IncidentChange, Person, StepCheck, TimelineEvent
from receiver.model.page_confirmation import ConfirmationResult, Evaluation, PagerDutyStatus
from receiver.model.routing import PAGERDUTY, Responder
from receiver.storms.model import BatchPage, parse_storm_dedup_key
from receiver.storms.service import StormService

# A lookup blocks a worker thread of the PagerDuty queue. While the API does not answer, further lookups
# therefore fail at once, and the steps go on without the check.
_BACKOFF_S = 5.0
_MAX_BACKOFF_S = 60.0


@dataclass
class PagerDutyStatusClient:
    """Looks up statuses by dedup key, with a cache and a back-off shared by all threads of a process.

    A lookup ends within `CHECK_AHEAD_S`, the time between the check and the step.
    """

    rest: PagerDutyRestClient
    clock: Callable[[], float]
    _backoff_until: float = field(default=0.0, init=False)
    # The time and the result of the last lookup of each storm page.
    _cached: dict[str, tuple[float, Sequence[PagerDutyStatus]]] = field(default_factory=dict, init=False)

    def find_statuses(self, keys: Sequence[str]) -> Mapping[str, Sequence[PagerDutyStatus]]:
        """Return the statuses of the latest PagerDuty incidents of each key, newest first.

        The status of a storm page is cached for `CHECK_AHEAD_S`. Raises a DeliveryError; during the back-off
        after a request without an answer or a 429, it raises without sending a request.
        """
        now = self.clock()
        cached = {key: one for key, one in self._cached.items() if abs(now - one[0]) < CHECK_AHEAD_S}
        known = {key: cached[key][1] for key in keys if key in cached}
        missing = [key for key in keys if key not in known]
        if not missing:
            return known
        # A clock that was set back must not stretch the back-off.
        if 0 < self._backoff_until - now <= _MAX_BACKOFF_S:
            raise TemporaryDeliveryError("no_answer", "it gave none a moment ago")
        try:
            found = self.rest.find_statuses(missing)
        except TemporaryDeliveryError as error:
            if error.reason in ("no_answer", "rate_limited"):
                wait = min(max(error.retry_after, _BACKOFF_S), _MAX_BACKOFF_S)
                self._backoff_until = self.clock() + wait
            raise
        # Other threads read the cache: replace the dict instead of changing it.
        self._cached = cached | {key: (now, found[key]) for key in found if parse_storm_dedup_key(key)}
        return {**known, **found}

    def evaluate_event(self, key: str, hint: str, evaluate: Evaluation) -> ConfirmationResult:
        """Return what *evaluate* finds in the statuses of *key*. Raises a DeliveryError.

        Where PagerDuty refuses the API key, the resolve in a webhook, *hint*, is trusted.
        """
        try:
            return evaluate(self.find_statuses([key]).get(key, ()))
        except PermanentDeliveryError:
            if hint:
                return confirmation.TRUSTED_RESOLVE
            raise


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AcknowledgementCheck:
    """Looks up an incident's pages in PagerDuty, and applies acknowledgements and resolves found there.

    An incident that was paged by a storm is looked up by the storm's page: once for all incidents whose steps
    are due together.
    """

    status_client: PagerDutyStatusClient
    pagerduty_sync: PagerDutySync
    incident_service: IncidentService
    storms: StormService
    clock: Callable[[], float]

    def check_incident(self, action: CheckBeforeStep, incident: Incident) -> None:
        """Look up the pages of the action's responders, apply the result, and record the check on *incident*.

        The check is recorded last: the next step may start as soon as it is. Raises StoreError.
        """
        pages = self._find_pages(incident, action.responders)
        try:
            found = self.status_client.find_statuses([page.key for page in pages])
        except DeliveryError as error:
            fields = {"incident": incident.id, "reason": error.reason}
            logger.warning("pagerduty unavailable", extra={"fields": fields, "state": error.reason})
            # A permanent error would only repeat: do not ask again for this step.
            is_over = not isinstance(error, TemporaryDeliveryError)
            self._record_check(incident, reason=error.reason, is_over=is_over)
            return
        for page in pages:
            outcome = self._apply_statuses(page, found.get(page.key, ()), incident)
            logger.info("pagerduty checked", extra={"fields": {"incident": incident.id, "outcome": outcome}})
        self._record_check(incident)

    def _find_pages(
        self, incident: Incident, responders: Sequence[Responder]
    ) -> list[ResponderPage | BatchPage]:
        """Return the pages to look up; a response that the storm already has is applied at once."""
        pages: list[ResponderPage | BatchPage] = []
        for responder in responders:
            if page_state(incident, responder).is_active:
                pages.append(ResponderPage(incident, responder))
            elif storm_id := find_storm_paging(incident, responder):
                page = self.storms.find_batch_page(storm_id, incident.id)
                known = page.response if page is not None else None
                if known is not None and incident.run.started_at <= known.at:
                    self._apply_response(incident, known.transition, known.by)
                elif page is not None and page.may_be_open:
                    pages.append(page)
        return pages

    def _apply_statuses(
        self, page: ResponderPage | BatchPage, statuses: Sequence[PagerDutyStatus], incident: Incident
    ) -> str:
        """Apply what a person did with the page in PagerDuty; return its state there, for the log.

        A resolve that did not come from a person closes nothing here: it starts a page confirmation.
        """
        result = confirmation.evaluate_page(statuses, page.sent_at, acknowledged_after=page.former_until)
        status = result.status
        if not result.is_by_person or status is None:
            if result.what == "resolved" and status is not None:
                reference = f"{status.id}@{status.changed_at:.0f}"
                if isinstance(page, ResponderPage):
                    self.pagerduty_sync.record_hint(page, reference)
                else:
                    with suppress(NotFound):
                        self.storms.record_hint(page.storm.id, page.batch, reference, self.clock())
            return result.what
        by = Person(status.by or "PagerDuty", via=PAGERDUTY)
        if isinstance(page, BatchPage):
            what, now = TRANSITIONS[result.what], self.clock()
            with suppress(NotFound):
                self.storms.record_response(
                    page.storm.id, what, by, now, batch=page.batch, done_in_pagerduty=True
                )
            self._apply_response(incident, what, by)  # at once, as its step is due
        else:
            self.pagerduty_sync.apply_status(page, result.what, by)
        return result.what

    def _apply_response(self, incident: Incident, what: str, by: Person) -> None:
        now = self.clock()
        transition = transitions.acknowledge if what == "acknowledge" else transitions.resolve
        self.pagerduty_sync.update_incident(incident, lambda latest: transition(latest, by, now), now)

    def _record_check(self, incident: Incident, *, reason: str = "", is_over: bool = False) -> None:
        now = self.clock()

        def record(latest: Incident) -> IncidentChange:
            # A suppression can last for hours; this result would be outdated at its end.
            if latest.is_suppressed or latest.is_resolved or latest.is_acknowledged:
                return IncidentChange(latest)
            check = StepCheck(now, has_failed=bool(reason) and not is_over)
            text = f"PagerDuty could not be asked whether the page is acknowledged: {reason}"
            is_first_failure = reason and not latest.find_check(PAGERDUTY).has_failed
            events = (TimelineEvent(now, "check_failed", text),) if is_first_failure else ()
            return IncidentChange(latest.with_check(PAGERDUTY, check), is_changed=True, events=events)

        self.incident_service.update(incident.id, record, now)
