"""The API's operations on incidents, history and failed deliveries."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from http import HTTPStatus
from typing import Any, TypeVar

from receiver.clock import LATEST, Clock, parse_duration
from receiver.config.model import Routing
from receiver.incidents.failures import Failure, RedisFailures, retry_by_request
from receiver.incidents.service import IncidentService, is_same_silence
from receiver.incidents.store import RedisIncidents
from receiver.maintenance import MaintenancePolicies, RedisMaintenance
from receiver.model.alert_links import NamedLink
from receiver.model.delivery import Delivery
from receiver.model.delivery_keys import DeliveryKey, silence_key
from receiver.model.escalation import EscalationState, evaluate_escalation
from receiver.model.incident import Incident, Person
from receiver.model.plan import IncidentPlan, plan, resolve_policy
from receiver.model.routing import EscalationPolicy
from receiver.text import one_line
from receiver.web.api import requests, responses, serializers
from receiver.web.api.openapi import operation
from receiver.web.auth.principal import current_principal
from receiver.web.server.errors import RequestError

_MAX_NAME = 200
_LONGEST_S = 366 * 86400.0
_API = "api"
_MAX_COMMENT = 1000
# How long the API waits until Alertmanager has the silence; the worker's request takes 3 s at most.
_WAIT_S = 4.5
_POLL_EVERY_S = 0.05
_STATES = {
    "": frozenset[str](),
    "open": frozenset({"open", "acknowledged"}),
    "acknowledged": frozenset({"acknowledged"}),
    "resolved": frozenset({"resolved"}),
}
_INCIDENT = "/incidents/{incident_id}"
_NO_INCIDENT = {HTTPStatus.NOT_FOUND: "There is no such incident, or it has expired."}
_NO_SILENCE = {
    **_NO_INCIDENT,
    HTTPStatus.CONFLICT: "It is resolved, or none of its alerts fires.",
    HTTPStatus.BAD_GATEWAY: "Alertmanager can't be reached; nothing is silenced.",
}
_NO_DELIVERY = {HTTPStatus.NOT_FOUND: "There is no such delivery, or its incident has expired."}
R = TypeVar("R")


@dataclass(frozen=True)
class IncidentHandler:
    """The operations on incidents and failed deliveries. All raise NotFound and StoreError."""

    incidents: RedisIncidents
    incident_service: IncidentService
    failures: RedisFailures
    maintenance: RedisMaintenance
    routing: Routing
    clock: Clock
    list_links: Callable[[Incident], Iterable[NamedLink]]

    @cached_property
    def _delivery_keys(self) -> tuple[DeliveryKey, ...]:
        return serializers.delivery_keys(self.routing)

    @cached_property
    def _policies(self) -> MaintenancePolicies:
        return MaintenancePolicies(self.routing)

    @operation("GET", "/incidents", "listIncidents")
    def list_incidents(self, fields: requests.ListQuery) -> responses.IncidentListPage:
        """List incidents, newest first."""
        states, serialize = _STATES[fields.state], serializers.serialize_row
        page = self._list_newest(fields, serialize, states=states, severity=fields.severity)
        return responses.IncidentListPage(*page)

    @operation("GET", _INCIDENT, "showIncident", _NO_INCIDENT)
    def get_incident(self, incident_id: str) -> responses.IncidentDetail:
        """Show one incident with its alerts, timeline, escalation and deliveries."""
        now = self.clock()
        return self.serialize_detail(plan(*self.load_incident(incident_id, now), now))

    def load_incident(self, incident_id: str, now: float) -> tuple[Incident, EscalationPolicy]:
        """Return one incident, and its escalation policy at *now*: paused during maintenance."""
        reads = (self._policies.read_maintenance,)
        (incident, _), (maintenance,) = self.incidents.load_with(incident_id, reads)
        return incident, self._policies.resolve_policy(incident, maintenance, now)

    def serialize_detail(self, planned: IncidentPlan) -> responses.IncidentDetail:
        """Return the incident of a plan with its timeline, which is read here."""
        incident = planned.view.incident
        timeline, links = self.incidents.load_timeline(incident.id), self.list_links(incident)
        return serializers.serialize_incident(planned, timeline, links)

    @operation("POST", f"{_INCIDENT}/acknowledge", "acknowledgeIncident", _NO_INCIDENT)
    def acknowledge(self, incident_id: str, fields: requests.ActorFields) -> responses.IncidentDetail:
        """Acknowledge an incident: no further step is notified.

        A repeated call restarts the acknowledgement timeout.
        """
        self.incident_service.acknowledge(incident_id, read_actor(fields), self.clock())
        return self.get_incident(incident_id)

    @operation("POST", f"{_INCIDENT}/unacknowledge", "unacknowledgeIncident", _NO_INCIDENT)
    def unacknowledge(self, incident_id: str, fields: requests.ActorFields) -> responses.IncidentDetail:
        """Remove the acknowledgement: the step last notified is notified again, and the escalation goes
        on.
        """
        self.incident_service.unacknowledge(incident_id, read_actor(fields), self.clock())
        return self.get_incident(incident_id)

    @operation("POST", f"{_INCIDENT}/resolve", "resolveIncident", _NO_INCIDENT)
    def resolve(self, incident_id: str, fields: requests.ActorFields) -> responses.IncidentDetail:
        """Resolve an incident by hand, even while its alerts fire."""
        self.incident_service.resolve(incident_id, read_actor(fields), self.clock())
        return self.get_incident(incident_id)

    @operation("POST", f"{_INCIDENT}/snooze", "snoozeIncident", _NO_INCIDENT)
    def snooze(self, incident_id: str, fields: requests.SnoozeRequest) -> responses.IncidentDetail:
        """Acknowledge an incident for a time; then the escalation goes on."""
        for_s = _parse_for_field(fields)
        self.incident_service.snooze(incident_id, read_actor(fields), for_s, self.clock())
        return self.get_incident(incident_id)

    @operation("POST", f"{_INCIDENT}/silence", "silenceIncident", _NO_SILENCE)
    def silence(self, incident_id: str, fields: requests.CreateSilenceRequest) -> responses.IncidentDetail:
        """Silence the firing alerts in Alertmanager.

        Returns once Alertmanager has the silence. The same request within five minutes, for example after a
        503, makes no second one. Raises RequestError: 409 where no alert fires, 502 where Alertmanager can't
        be reached; the request is then withdrawn.
        """
        by, for_s, now = read_actor(fields), _parse_for_field(fields), self.clock()
        incident = self.incidents.load_incident(incident_id)
        if incident.is_resolved:
            raise RequestError(409, "the incident is resolved: none of its alerts fires")
        if incident.source not in self.routing.alertmanagers:
            raise RequestError(502, "no Alertmanager is configured; set alertmanager.url in routing.yaml")
        comment = one_line(fields.comment or "", _MAX_COMMENT)
        known = (one for one in incident.silences if is_same_silence(one, by, for_s, comment, now))
        if not (requested := [request.number for request in known]):
            change = self.incident_service.silence(incident_id, by, for_s, comment, now)
            if not change.is_changed or change.incident is None:
                raise RequestError(409, "no alert of the incident fires that could be silenced")
            requested = _find_requested(incident, change.incident, by, now)
        try:
            self._wait_until_created(incident_id, requested)
        except RequestError:
            # The request was answered with an error, so its silences must not be created later.
            for number in requested:
                self.incident_service.expire_silence(incident_id, number, by, self.clock())
            raise
        return self.get_incident(incident_id)

    def _wait_until_created(self, incident_id: str, requested: Sequence[int]) -> None:
        """Return once Alertmanager has all silences; raises RequestError where it fails or takes too long."""
        end = time.monotonic() + _WAIT_S
        while time.monotonic() < end:
            deliveries = self.incidents.load_incident(incident_id).deliveries
            made = [deliveries.get(silence_key(number), Delivery()) for number in requested]
            if all(one.receipt for one in made):
                return
            reason = next((one.reason for one in made if one.reason), "")
            if reason:
                raise RequestError(502, f"Alertmanager could not be reached ({reason}); nothing is silenced")
            time.sleep(_POLL_EVERY_S)
        raise RequestError(502, "Alertmanager could not be reached in time; nothing is silenced")

    @operation("GET", "/history", "listHistory")
    def list_history(self, fields: requests.HistoryQuery) -> responses.HistoryPage:
        """List closed and open incidents since a moment, newest first, with their durations."""
        opened_from = parse_since(fields.since, self.clock())
        page = self._list_newest(fields, serializers.serialize_history_row, opened_from=opened_from)
        return responses.HistoryPage(*page)

    def _list_newest(
        self,
        fields: requests.ListQuery | requests.HistoryQuery,
        serialize: Callable[[Incident, EscalationState], R],
        **filters: Any,
    ) -> tuple[list[R], str | None]:
        """Return one page of the incidents that *fields* and *filters* name, and the cursor of the next."""
        page = self.incidents.list_newest(
            alertname=fields.alertname,
            limit=fields.limit,
            cursor=fields.cursor,
            deliveries=self._delivery_keys,
            **filters,
        )
        now = self.clock()
        paused_until = self.maintenance.paused_until(now)
        policies = ((one, resolve_policy(self.routing, one, paused_until)) for one in page.incidents)
        rows = [serialize(one, evaluate_escalation(one, policy, now)) for one, policy in policies]
        return rows, page.next_cursor

    @operation("GET", "/deliveries", "listDeliveries")
    def list_failures(self, fields: requests.FailureQuery) -> responses.FailurePage:
        """List deliveries that failed permanently and were not sent since, newest first."""
        page = self.failures.list_failures(fields.limit, fields.cursor)
        rows = [_serialize_failure(failure) for failure in page.failures]
        return responses.FailurePage(rows, page.next_cursor)

    @operation("POST", "/deliveries/{delivery_id}/retry", "retryDelivery", _NO_DELIVERY)
    def retry_delivery(self, failure_id: str, fields: requests.ActorFields) -> responses.FailedDelivery:
        """Send a failed delivery again; one that the plan no longer wants only leaves the list.

        The second time changes nothing.
        """
        failure, now = self.failures.get_failure(failure_id), self.clock()
        if failure.delivery.failed_at:
            again, event = retry_by_request(failure, read_actor(fields), now)
            self.failures.retry_delivery(failure, again, event, now)
        return _serialize_failure(self.failures.get_failure(failure_id))


def read_actor(fields: requests.ActorFields | requests.EndMaintenanceRequest) -> Person:
    """Return the person who acts; without a name it is `api`.

    For a signed-in user, or one named by a trusted proxy, it is always their verified name.
    """
    principal, via = current_principal(), one_line(fields.via or "", requests.MAX_VIA) or _API
    if principal is not None and principal.is_verified:
        return Person(principal.name, via)
    return Person(one_line(fields.by or "", _MAX_NAME) or _API, via)


def _parse_for_field(fields: requests.SnoozeRequest) -> float:
    """Return the duration in seconds; raises RequestError with a message where it is invalid or too long."""
    try:
        for_s = parse_duration(fields.for_)
    except ValueError:
        for_s = 0.0
    if not 0 < for_s <= _LONGEST_S:
        raise requests.invalid_value("for", fields.for_, "a time like 30m or 2h, a year at most")
    return for_s


def _find_requested(before: Incident, after: Incident, by: Person, now: float) -> list[int]:
    """Return the numbers of the silences just requested; another request may have added some meanwhile."""
    former = {request.number for request in before.silences}
    return [
        request.number
        for request in after.silences
        if request.number not in former and (request.by, request.requested_at) == (by.name, now)
    ]


def parse_since(text: str, now: float, name: str = "since") -> float:
    """Return the timestamp for `7d` (back from *now*), a date or RFC 3339; 0 for an empty *text*.

    It is limited to LATEST, so that it has a date in every time zone. A blank is read as the `+` that it was
    before URL decoding. Raises RequestError with a message about *name*.
    """
    if not text:
        return 0.0
    try:
        return max(0.0, now - parse_duration(text))
    except ValueError:
        pass
    try:
        parsed = datetime.fromisoformat(text.replace(" ", "+"))
        return min(max(0.0, parsed.replace(tzinfo=parsed.tzinfo or UTC).timestamp()), LATEST)
    except (ValueError, OverflowError):
        expected = "a duration like 7d, a day like 2026-11-23 or a moment like 2026-11-23T12:00:00Z"
        raise requests.invalid_value(name, text, expected) from None


def _serialize_failure(failure: Failure) -> responses.FailedDelivery:
    incident, delivery = failure.incident, failure.delivery
    return serializers.serialize_fields(
        responses.FailedDelivery,
        delivery,
        id=failure.id,
        incident=incident.id,
        alertname=incident.alertname,
        severity=incident.severity,
        what=failure.key,
        state=serializers.delivery_state(delivery),
    )
