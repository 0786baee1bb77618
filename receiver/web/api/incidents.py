"""The API's operations on incidents, history and failed deliveries."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from receiver.clock import Clock, parse_duration
from receiver.config.model import Routing
from receiver.incidents.failures import Failure, RedisFailures, retry_by_request
from receiver.incidents.service import IncidentService
from receiver.incidents.store import RedisIncidents
from receiver.maintenance import RedisMaintenance
from receiver.model.delivery import Delivery
from receiver.model.delivery_keys import silence_key
from receiver.model.escalation import EscalationState, evaluate_escalation
from receiver.model.incident import Incident, Person
from receiver.model.plan import plan, resolve_policy
from receiver.model.routing import EscalationPolicy
from receiver.text import one_line
from receiver.web.api.requests import (
    MAX_VIA,
    ActorFields,
    CreateSilenceRequest,
    FailureQuery,
    HistoryQuery,
    ListQuery,
    SnoozeRequest,
)
from receiver.web.api.responses import (
    FailedDelivery,
    FailurePage,
    HistoryPage,
    IncidentDetail,
    IncidentListPage,
)
from receiver.web.api.serializers import (
    delivery_keys,
    delivery_state,
    format_optional_moment,
    serialize_history_row,
    serialize_incident,
    serialize_row,
)
from receiver.web.auth.principal import current_principal
from receiver.web.server.errors import RequestError

_MAX_NAME = 200
_LONGEST_S = 366 * 86400.0
_API = "api"
_MAX_COMMENT = 1000
# How long the API waits until Alertmanager has the silence; the worker's request takes 3 s at most.
_WAIT_S = 4.5
_POLL_EVERY_S = 0.05
# Python has no year after 9999, and adding a day, a time zone or rounding may lead there.
LATEST = datetime(9999, 12, 30, tzinfo=UTC).timestamp()
_STATES = {
    "": frozenset[str](),
    "open": frozenset({"open", "acknowledged"}),
    "acknowledged": frozenset({"acknowledged"}),
    "resolved": frozenset({"resolved"}),
}
R = TypeVar("R")


class IncidentHandler:
    """The operations on incidents and failed deliveries. All raise NotFound and StoreError."""

    def __init__(
        self,
        *,
        incidents: RedisIncidents,
        incident_service: IncidentService,
        failures: RedisFailures,
        maintenance: RedisMaintenance,
        routing: Routing,
        clock: Clock,
    ) -> None:
        self._incidents = incidents
        self._incident_service = incident_service
        self._failures = failures
        self._maintenance = maintenance
        self._routing = routing
        self._clock = clock
        self._delivery_keys = delivery_keys(routing)

    def describe(self, incident_id: str) -> IncidentDetail:
        """Return one incident with all its details."""
        now = self._clock()
        incident, policy = self.load(incident_id, now)
        return self.serialize(incident, policy, now)

    def load(self, incident_id: str, now: float) -> tuple[Incident, EscalationPolicy]:
        """Return one incident, and its escalation policy at *now*: paused during maintenance."""
        incident = self._incidents.load(incident_id)
        return incident, resolve_policy(self._routing, incident, self._maintenance.paused_until(now))

    def serialize(self, incident: Incident, policy: EscalationPolicy, now: float) -> IncidentDetail:
        """Return *incident* with its timeline, which is read here."""
        return serialize_incident(plan(incident, policy, now), self._incidents.load_timeline(incident.id))

    def acknowledge(self, incident_id: str, fields: ActorFields) -> IncidentDetail:
        """Acknowledge the incident and return it; a repeated call restarts the acknowledgement timeout."""
        self._incident_service.acknowledge(incident_id, read_actor(fields), self._clock())
        return self.describe(incident_id)

    def unacknowledge(self, incident_id: str, fields: ActorFields) -> IncidentDetail:
        """Remove the acknowledgement and return the incident."""
        self._incident_service.unacknowledge(incident_id, read_actor(fields), self._clock())
        return self.describe(incident_id)

    def resolve(self, incident_id: str, fields: ActorFields) -> IncidentDetail:
        """Resolve the incident by hand and return it."""
        self._incident_service.resolve(incident_id, read_actor(fields), self._clock())
        return self.describe(incident_id)

    def snooze(self, incident_id: str, fields: SnoozeRequest) -> IncidentDetail:
        """Pause the escalation of the incident for a time and return it."""
        for_s = parse_for_field(fields)
        self._incident_service.snooze(incident_id, read_actor(fields), for_s, self._clock())
        return self.describe(incident_id)

    def silence(self, incident_id: str, fields: CreateSilenceRequest) -> IncidentDetail:
        """Silence the incident's firing alerts, and return it once Alertmanager has the silence.

        Raises RequestError: 409 where no alert fires, 502 where Alertmanager can't be reached; the request is
        then withdrawn.
        """
        by, for_s, now = read_actor(fields), parse_for_field(fields), self._clock()
        incident = self._incidents.load(incident_id)
        if incident.is_resolved:
            raise RequestError(409, "the incident is resolved: none of its alerts fires")
        if incident.source not in self._routing.alertmanagers:
            raise RequestError(502, "no Alertmanager is configured; set alertmanager.url in routing.yaml")
        comment = one_line(fields.comment or "", _MAX_COMMENT)
        change = self._incident_service.silence(incident_id, by, for_s, comment, now)
        if not change.is_changed or change.incident is None:
            raise RequestError(409, "no alert of the incident fires that could be silenced")
        requested = _find_requested(incident, change.incident, by, now)
        try:
            self._wait_until_created(incident_id, requested)
        except RequestError:
            # The request was answered with an error, so its silences must not be created later.
            for number in requested:
                self._incident_service.expire_silence(incident_id, number, by, self._clock())
            raise
        return self.describe(incident_id)

    def _wait_until_created(self, incident_id: str, requested: Sequence[int]) -> None:
        """Return once Alertmanager has all silences; raises RequestError where one fails or takes too
        long.
        """
        end = time.monotonic() + _WAIT_S
        while time.monotonic() < end:
            deliveries = self._incidents.load(incident_id).deliveries
            made = [deliveries.get(silence_key(number), Delivery()) for number in requested]
            if all(one.receipt for one in made):
                return
            reason = next((one.reason for one in made if one.reason), "")
            if reason:
                raise RequestError(502, f"Alertmanager could not be reached ({reason}); nothing is silenced")
            time.sleep(_POLL_EVERY_S)
        raise RequestError(502, "Alertmanager could not be reached in time; nothing is silenced")

    def list_incidents(self, fields: ListQuery) -> IncidentListPage:
        """Return one page of the incidents, newest first."""
        page = self._incidents.list_newest(
            states=_STATES[fields.state],
            severity=fields.severity,
            alertname=fields.alertname,
            limit=fields.limit,
            cursor=fields.cursor,
            deliveries=self._delivery_keys,
        )
        return IncidentListPage(list(self._serialize_rows(page.incidents, serialize_row)), page.next_cursor)

    def list_history(self, fields: HistoryQuery) -> HistoryPage:
        """Return one page of the incidents that opened at or after a moment, newest first."""
        page = self._incidents.list_newest(
            alertname=fields.alertname,
            opened_from=parse_since(fields.since, self._clock()),
            limit=fields.limit,
            cursor=fields.cursor,
            deliveries=self._delivery_keys,
        )
        return HistoryPage(
            list(self._serialize_rows(page.incidents, serialize_history_row)), page.next_cursor
        )

    def _serialize_rows(
        self, incidents: Iterable[Incident], serialize: Callable[[Incident, EscalationState], R]
    ) -> Iterator[R]:
        now = self._clock()
        paused_until = self._maintenance.paused_until(now)
        for incident in incidents:
            policy = resolve_policy(self._routing, incident, paused_until)
            yield serialize(incident, evaluate_escalation(incident, policy, now))

    def list_failures(self, fields: FailureQuery) -> FailurePage:
        """Return one page of the failed deliveries that were not sent since, newest first."""
        page = self._failures.list_failures(fields.limit, fields.cursor)
        return FailurePage([_serialize_failure(failure) for failure in page.failures], page.next_cursor)

    def retry(self, failure_id: str, fields: ActorFields) -> FailedDelivery:
        """Send a failed delivery again, at once; the second time changes nothing."""
        failure, now = self._failures.get_failure(failure_id), self._clock()
        if failure.delivery.failed_at:
            again, event = retry_by_request(failure, read_actor(fields), now)
            self._failures.retry_delivery(failure, again, event, now)
        return _serialize_failure(self._failures.get_failure(failure_id))


def read_actor(fields: ActorFields) -> Person:
    """Return the person who acts; without a name it is `api`.

    For a signed-in user, or one named by a trusted proxy, it is always their verified name.
    """
    principal, via = current_principal(), one_line(fields.via or "", MAX_VIA) or _API
    if principal is not None and principal.is_verified:
        return Person(principal.name, via)
    return Person(one_line(fields.by or "", _MAX_NAME) or _API, via)


def parse_for_field(fields: SnoozeRequest) -> float:
    """Return the duration in seconds; raises RequestError with a message where it is invalid or too long."""
    try:
        for_s = parse_duration(fields.for_)
    except ValueError:
        for_s = 0.0
    if not 0 < for_s <= _LONGEST_S:
        raise RequestError(
            400, f"for is {one_line(fields.for_, 100)!r}, expected a time like 30m or 2h, a year at most"
        )
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
    """Return the moment for `7d` (back from *now*), a date or RFC 3339; 0 for an empty *text*.

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
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        return min(max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()), LATEST)
    except (ValueError, OverflowError):
        raise RequestError(
            400,
            f"{name} is {one_line(text, 100)!r}, expected a duration like 7d, a day like 2026-11-23 "
            "or a moment like 2026-11-23T12:00:00Z",
        ) from None


def _serialize_failure(failure: Failure) -> FailedDelivery:
    incident, delivery = failure.incident, failure.delivery
    return FailedDelivery(
        id=failure.id,
        incident=incident.id,
        alertname=incident.alertname,
        severity=incident.severity,
        target=delivery.target,
        what=failure.key,
        state=delivery_state(delivery),
        reason=delivery.reason or None,
        detail=delivery.detail or None,
        attempts=delivery.attempts,
        failed_at=format_optional_moment(delivery.failed_at),
    )
