"""Deliveries over the API: those given up, and having one sent again."""

from __future__ import annotations

from receiver.incidents.failures import Failure, retry_by_request
from receiver.web.answering import read_actor
from receiver.web.bodies import FailedDelivery, FailurePage
from receiver.web.questions import ActorFields, FailureQuery
from receiver.web.rows import delivery_state, format_optional_moment
from receiver.wiring.parts import Services


def list_failures(services: Services, asked: FailureQuery) -> FailurePage:
    """Return part of the deliveries that were given up and not sent since, newest first."""
    page = services.failures.list_failures(asked.limit, asked.cursor)
    return FailurePage([_serialize_failure(failure) for failure in page.failures], page.next_cursor)


def retry(services: Services, failure_id: str, asked: ActorFields) -> FailedDelivery:
    """Have a delivery sent again, at once; the second time changes nothing. Raises NotFound."""
    failure, now = services.failures.get_failure(failure_id), services.clock()
    if failure.delivery.failed_at:
        again, event = retry_by_request(failure, read_actor(asked), now)
        services.failures.retry_delivery(failure, again, event, now)
    return _serialize_failure(services.failures.get_failure(failure_id))


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
