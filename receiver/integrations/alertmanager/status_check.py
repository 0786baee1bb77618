"""The Alertmanager status check before an escalation step, and the periodic poll of open incidents.

Both ask Alertmanager whether the alerts of an incident still fire unmuted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from receiver.cache import Cache
from receiver.errors import DeliveryError, NotFound
from receiver.incidents.queries import RedisListing
from receiver.incidents.service import IncidentService
from receiver.integrations.alertmanager.client import AlertmanagerClient
from receiver.integrations.alertmanager.status import Poll, PollPolicy, evaluate_poll
from receiver.model.actions import CheckBeforeStep
from receiver.model.incident import Incident, IncidentChange

# Many steps may be due at once; they share one poll.
_GOOD_FOR_S = 2.0


class AlertmanagerStatusCheck:
    """Polls the Alertmanager of a source, with a cache of `_GOOD_FOR_S` seconds; thread-safe."""

    def __init__(
        self,
        alertmanagers: Mapping[str, AlertmanagerClient],
        poll_policies: Mapping[str, PollPolicy],
        incidents: RedisListing,
        incident_service: IncidentService,
        clock: Callable[[], float],
    ) -> None:
        self._alertmanagers = alertmanagers
        self._poll_policies = poll_policies
        self._incidents = incidents
        self._incident_service = incident_service
        self._clock = clock
        self._polls = Cache("alertmanager", self._fetch_poll, clock, ttl_s=_GOOD_FOR_S, retry_s=_GOOD_FOR_S)

    def check_incident(self, action: CheckBeforeStep, incident: Incident) -> None:
        """Poll Alertmanager and apply the result to the incident; raises StoreError."""
        poll = self._polls.get_value(incident.source, since=action.since)
        # `since` may come from a host whose clock is ahead: this poll was started after it all the same.
        now = max(self._clock(), action.since)
        evaluate = self._build_evaluation(incident.source, poll, now, is_for_step=True)
        self._incident_service.update(incident.id, evaluate, now)

    def poll_source(self, source: str) -> None:
        """Poll once, and apply the result to each open incident of *source*.

        So silences, their ends, and resolves whose webhook never arrived are detected. Incidents without a
        change are read but not written. Raises StoreError.
        """
        mine = [incident for incident in self._incidents.list_open() if incident.source == source]
        if not mine:
            return
        poll, now = self._polls.get_value(source, since=0.0), self._clock()
        evaluate = self._build_evaluation(source, poll, now, is_for_step=False)
        for incident in mine:
            if evaluate(incident).is_changed:
                with suppress(NotFound):
                    self._incident_service.update(incident.id, evaluate, now)

    def _build_evaluation(
        self, source: str, poll: Poll, now: float, *, is_for_step: bool
    ) -> Callable[[Incident], IncidentChange]:
        policy = self._poll_policies[source]
        return lambda incident: evaluate_poll(incident, poll, policy, now, is_for_step=is_for_step)

    def _fetch_poll(self, source: str) -> Poll:
        """Poll; fetch the unexpired silences for their author and end, where an alert is silenced."""
        poll = self._alertmanagers[source].poll()
        if any(alert.silenced_by for replica in poll.replicas for alert in replica.alerts.values()):
            with suppress(DeliveryError):
                silences = self._alertmanagers[source].list_silences("")
                return replace(poll, silences={silence.id: silence for silence in silences})
        return poll
