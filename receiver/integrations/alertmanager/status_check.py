"""The Alertmanager status check before an escalation step, and the periodic poll of open incidents.

Both ask Alertmanager whether the alerts of an incident still fire unmuted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from receiver.cache import Cache
from receiver.errors import DeliveryError, NotFound
from receiver.incidents.service import IncidentService
from receiver.integrations.alertmanager.status import Poll, PollPolicy, RemoteSilence, evaluate_poll
from receiver.model.incident import Incident

# Many steps may be due at once; they share one poll.
_GOOD_FOR_S = 2.0


class Alertmanager(Protocol):
    """One Alertmanager, or the members of one cluster."""

    def poll(self, matchers: Mapping[str, str] = ...) -> Poll: ...
    def list_silences(self, mark: str) -> Sequence[RemoteSilence]: ...


@dataclass(frozen=True)
class StatusSnapshot:
    """A poll, and the silences that its alerts refer to."""

    poll: Poll
    silences: Mapping[str, RemoteSilence]


class AlertmanagerStatusCheck:
    """Polls the Alertmanager of a source, with a cache of `_GOOD_FOR_S` seconds; thread-safe."""

    def __init__(
        self,
        alertmanagers: Mapping[str, Alertmanager],
        poll_policies: Mapping[str, PollPolicy],
        incident_service: IncidentService,
        clock: Callable[[], float],
    ) -> None:
        self._alertmanagers = alertmanagers
        self._poll_policies = poll_policies
        self._incident_service = incident_service
        self._clock = clock
        self._snapshots = Cache(
            "alertmanager", self._fetch_snapshot, clock, ttl_s=_GOOD_FOR_S, retry_s=_GOOD_FOR_S
        )

    def fetch_status(self, source: str, *, since: float = 0.0) -> StatusSnapshot:
        """Return a poll that is at most `_GOOD_FOR_S` seconds old and was started after *since*."""
        return self._snapshots.get_value(source, since=since)

    def check_for_step(self, incident_id: str, source: str, since: float) -> None:
        """Poll Alertmanager and apply the result to the incident; raises StoreError."""
        snapshot = self.fetch_status(source, since=since)
        # *since* may come from a host whose clock is ahead: this poll was started after it all the same.
        now = max(self._clock(), since)
        policy = self._poll_policies[source]
        self._incident_service.update(
            incident_id,
            lambda incident: evaluate_poll(
                incident, snapshot.poll, snapshot.silences, policy, now, is_for_step=True
            ),
            now,
        )

    def _fetch_snapshot(self, source: str) -> StatusSnapshot:
        """Poll; fetch the unexpired silences for their author and end, where an alert is silenced."""
        poll = self._alertmanagers[source].poll()
        silences: dict[str, RemoteSilence] = {}
        if any(alert.silenced_by for replica in poll.replicas for alert in replica.alerts.values()):
            with suppress(DeliveryError):
                silences = {one.id: one for one in self._alertmanagers[source].list_silences("")}
        return StatusSnapshot(poll, silences)


class PolledIncidents(Protocol):
    """Lists the open incidents."""

    def list_open(self) -> Iterator[Incident]: ...


class AlertmanagerPoller:
    """Polls periodically to detect silences, their ends, and resolves whose webhook never arrived."""

    def __init__(
        self,
        status_check: AlertmanagerStatusCheck,
        incidents: PolledIncidents,
        incident_service: IncidentService,
        poll_policies: Mapping[str, PollPolicy],
        clock: Callable[[], float],
    ) -> None:
        self._status_check = status_check
        self._incidents = incidents
        self._incident_service = incident_service
        self._poll_policies = poll_policies
        self._clock = clock

    def poll_source(self, source: str) -> None:
        """Poll once, and apply the result to each open incident of *source*.

        Incidents without a change are read but not written. Raises StoreError.
        """
        mine = [incident for incident in self._incidents.list_open() if incident.source == source]
        if not mine:
            return
        snapshot, policy, now = (
            self._status_check.fetch_status(source),
            self._poll_policies[source],
            self._clock(),
        )

        for incident in mine:
            if not evaluate_poll(
                incident, snapshot.poll, snapshot.silences, policy, now, is_for_step=False
            ).is_changed:
                continue
            try:
                self._incident_service.update(
                    incident.id,
                    lambda latest: evaluate_poll(
                        latest, snapshot.poll, snapshot.silences, policy, now, is_for_step=False
                    ),
                    now,
                )
            except NotFound:
                continue
