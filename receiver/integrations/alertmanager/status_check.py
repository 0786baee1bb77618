"""Asks Alertmanager before an escalation step, and periodically, whether alerts still fire unmuted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from receiver.cache import Cache
from receiver.errors import DeliveryError, NotFound
from receiver.incidents.queries import RedisListing
from receiver.incidents.service import IncidentService
from receiver.integrations.alertmanager.client import AlertmanagerClient
from receiver.integrations.alertmanager.status import Poll, PollPolicy, evaluate_poll
from receiver.model.actions import CheckBeforeStep
from receiver.model.incident import Incident

# Many steps may be due at once; they share one poll.
_GOOD_FOR_S = 2.0


@dataclass
class AlertmanagerStatusCheck:
    """Polls the Alertmanager of a source, with a cache of `_GOOD_FOR_S` seconds; thread-safe."""

    alertmanagers: Mapping[str, AlertmanagerClient]
    poll_policies: Mapping[str, PollPolicy]
    incidents: RedisListing
    incident_service: IncidentService
    clock: Callable[[], float]
    _polls: Cache[Poll] = field(init=False)

    def __post_init__(self) -> None:
        self._polls = Cache(
            "alertmanager", self._fetch_poll, self.clock, ttl_s=_GOOD_FOR_S, retry_s=_GOOD_FOR_S
        )

    def check_incident(self, action: CheckBeforeStep, incident: Incident) -> None:
        """Poll Alertmanager and apply the result to the incident; raises StoreError."""
        source = incident.source
        poll, policy = self._polls.get_value(source, since=action.since), self.poll_policies[source]
        # `since` may come from a host whose clock is ahead: this poll was started after it all the same.
        now = max(self.clock(), action.since)
        evaluate = partial(evaluate_poll, poll=poll, policy=policy, now=now, is_for_step=True)
        self.incident_service.update(incident.id, evaluate, now)

    def poll_source(self, source: str) -> None:
        """Poll once, and apply the result to each open incident of *source*.

        So silences, their ends, and resolves whose webhook never arrived are detected. Incidents without a
        change are read but not written. Raises StoreError.
        """
        mine = [incident for incident in self.incidents.list_open() if incident.source == source]
        if not mine:
            return
        poll, now = self._polls.get_value(source, since=0.0), self.clock()
        policy = self.poll_policies[source]
        evaluate = partial(evaluate_poll, poll=poll, policy=policy, now=now, is_for_step=False)
        for incident in mine:
            if evaluate(incident).is_changed:
                with suppress(NotFound):
                    self.incident_service.update(incident.id, evaluate, now)

    def _fetch_poll(self, source: str) -> Poll:
        """Poll; fetch the unexpired silences for their author and end, where an alert is silenced."""
        client = self.alertmanagers[source]
        poll = client.poll_alerts()
        if any(alert.silenced_by for replica in poll.replicas for alert in replica.alerts.values()):
            with suppress(DeliveryError):
                return replace(poll, silences={silence.id: silence for silence in client.list_silences("")})
        return poll
