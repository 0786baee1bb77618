"""When the state of a page is checked at PagerDuty, for hosts whose clocks differ."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from receiver.model.delivery import Delivery, PageConfirmation, Receipt
from receiver.model.page_confirmation import (
    CHECK_AFTER_S,
    CHECK_AGAIN_S,
    CHECK_EVERY_S,
    ConfirmationResult,
    PagerDutyStatus,
    find_check_due_at,
    limit_confirmation,
    postpone_check,
    record_check,
)

NOW = 1_000_000.0


def sent(at: float) -> Delivery:
    return Delivery("1", attempts=1, first_attempt_at=at, last_attempt_at=at, receipt=Receipt(at))


def due(page: Delivery, now: float) -> float:
    due_at = find_check_due_at(page)
    assert due_at is not None
    return limit_confirmation(page, due_at, now)


@pytest.mark.parametrize("ahead", [0.0, 4.0])
def test_a_page_sent_by_a_clock_close_to_ours_is_checked_on_time(ahead: float) -> None:
    assert due(sent(NOW + ahead), NOW) == NOW + ahead + CHECK_AFTER_S


@pytest.mark.parametrize("ahead", [6.0, 60.0, 86400.0])
def test_a_page_sent_by_a_clock_ahead_is_checked_at_once_and_then_on_time(ahead: float) -> None:
    page = sent(NOW + ahead)
    assert due(page, NOW) == NOW
    checked = record_check(page, ConfirmationResult("triggered", PagerDutyStatus("triggered")), NOW)
    assert due(checked, NOW) == NOW + CHECK_EVERY_S


@pytest.mark.parametrize("ahead", [0.0, 60.0, 86400.0])
def test_a_check_without_a_response_is_postponed_by_our_clock(ahead: float) -> None:
    postponed = postpone_check(sent(NOW + ahead - CHECK_AFTER_S), NOW)
    again_at = NOW + CHECK_AGAIN_S
    assert due(postponed, NOW) == again_at
    assert due(postponed, again_at) <= again_at


def test_a_wait_from_before_the_clock_was_set_back_by_a_day_is_ignored() -> None:
    later = NOW + 86400
    page = replace(sent(NOW), check=PageConfirmation(attempt=1, at=later))
    assert due(page, NOW) == NOW
    assert due(postpone_check(page, later), NOW) == NOW
