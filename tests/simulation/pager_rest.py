"""PagerDuty's REST API in the simulation: it returns the state of the account, or fails as the seed says."""

from __future__ import annotations

from collections.abc import Sequence

from receiver.errors import TemporaryDeliveryError
from receiver.model.page_confirmation import PagerDutyStatus
from tests.mocks.pagerduty_account import Account, PagedIncident, reference_of
from tests.simulation.scheduler import Scheduler, pick_by_chance


class FakePagerDutyRest:
    """Its times are by PagerDuty's own clock, in whole seconds of the requesting host's clock."""

    def __init__(self, scheduler: Scheduler, account: Account) -> None:
        self.scheduler = scheduler
        self.account = account
        self.chances: dict[str, float] = {}

    def find_statuses(self, dedup_keys: Sequence[str]) -> dict[str, tuple[PagerDutyStatus, ...]]:
        self._wait_for_turn(f"statuses of {', '.join(dedup_keys)}")
        return {
            key: tuple(self._render(one) for one in reversed(self.account.opened()) if one.dedup_key == key)
            for key in dedup_keys
        }

    def find_status(self, incident_id: str) -> PagerDutyStatus:
        self._wait_for_turn(f"status of {incident_id}")
        incident = self.account.find(incident_id)
        assert incident is not None
        return self._render(incident)

    def find_alert_keys(self, incident_id: str) -> tuple[str, ...]:
        self._wait_for_turn(f"alerts of {incident_id}")
        incident = self.account.find(incident_id)
        assert incident is not None
        return (incident.dedup_key,)

    def find_open(self, dedup_key: str) -> tuple[str, ...]:
        self._wait_for_turn(f"open of {dedup_key}")
        return tuple(one.id for one in self.account.still_open() if one.dedup_key == dedup_key)

    def find_on_call(self, schedule: str) -> tuple[()]:
        return ()

    def _wait_for_turn(self, what: str) -> None:
        actor = self.scheduler.wait_for_turn(f"pagerduty? {what}")
        if actor is not None and pick_by_chance(self.scheduler.rng, self.chances):
            self.scheduler.add_trace("pagerduty: no answer")
            raise TemporaryDeliveryError("no_answer")

    def _render(self, incident: PagedIncident) -> PagerDutyStatus:
        ahead_s = self.scheduler.clock() - self.scheduler.redis_clock()
        return PagerDutyStatus(
            incident.state,
            by=incident.acknowledged_by or incident.changed_by,
            changed_at=float(int(incident.changed_at)) + ahead_s,
            is_person=reference_of(incident.changed_by) == "user_reference",
            created_at=float(int(incident.opened_at)) + ahead_s,
            id=incident.id,
        )
