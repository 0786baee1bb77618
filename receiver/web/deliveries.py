"""Deliveries over the API: those given up, and having one sent again."""

from __future__ import annotations

from receiver.domain.failure import Failure, retry_by_request
from receiver.web.answering import read_person
from receiver.web.bodies import FailedDelivery, FailurePage
from receiver.web.questions import Answer, FailureQuery
from receiver.web.rows import format_if_any, name_delivery
from receiver.wiring import Parts


def list_failures(parts: Parts, asked: FailureQuery) -> FailurePage:
    """Return part of the deliveries that were given up and not sent since, newest first."""
    page = parts.failures.list_failures(asked.limit, asked.cursor)
    return FailurePage([_render(failure) for failure in page.failures], page.next_cursor)


def retry(parts: Parts, failure_id: str, asked: Answer) -> FailedDelivery:
    """Have a delivery sent again, at once; the second time changes nothing. Raises NotFound."""
    failure, now = parts.failures.get_failure(failure_id), parts.clock()
    if failure.delivery.failed_at:
        again, event = retry_by_request(failure, read_person(asked), now)
        parts.failures.retry_delivery(failure, again, event, now)
    return _render(parts.failures.get_failure(failure_id))


def _render(failure: Failure) -> FailedDelivery:
    incident, delivery = failure.incident, failure.delivery
    return FailedDelivery(
        id=failure.id,
        incident=incident.id,
        alertname=incident.alertname,
        severity=incident.severity,
        target=delivery.target,
        what=failure.key,
        state=name_delivery(delivery),
        reason=delivery.reason or None,
        detail=delivery.detail or None,
        attempts=delivery.attempts,
        failed_at=format_if_any(delivery.failed_at),
    )
