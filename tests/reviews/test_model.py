"""The content of a review: which incidents, their counts, and their order."""

from __future__ import annotations

from msgspec.structs import replace

from receiver.errors import PermanentDeliveryError, TemporaryDeliveryError
from receiver.model.alert import Severity
from receiver.model.delivery import IN_FLIGHT_S, Delivery, Receipt
from receiver.model.incident import Incident, Person
from receiver.reviews.model import (
    MAX_IDS,
    MAX_ITEMS,
    MAX_RECORDS,
    OPEN,
    REVIEWED,
    STORING_S,
    Review,
    ReviewState,
    gather_review,
)
from tests.builders import a_group, an_alert, an_incident

FRIDAY = 1_795_197_720.0  # 2026-11-20 18:02 UTC
MONDAY = 1_795_424_400.0  # 2026-11-23 09:00 UTC
ROUTE = "alerts-info"


def info(
    name: str = "DiskWillFill",
    at: float = FRIDAY + 60,
    *,
    is_resolved: bool = False,
    count: int = 1,
    **changes,
) -> Incident:
    """Return an incident of *count* info alerts that opened at *at*, perhaps resolved a minute later."""
    alerts = [
        an_alert(
            name, severity="info", instance=f"web-{n}", starts_at=at, ends_at=at + 60 if is_resolved else 0.0
        )
        for n in range(count)
    ]
    group = a_group(*alerts, group_key=f"{{}}:{name}:{at}")
    incident = an_incident(group=group, channel="#alerts-info", opened_at=at, **changes)
    return replace(incident, resolved_at=at + 60) if is_resolved else incident


def gather(*incidents: Incident, since: float = FRIDAY, until: float = MONDAY) -> Review | None:
    newest_first = sorted(incidents, key=lambda incident: -incident.opened_at)
    return gather_review(newest_first, ROUTE, "#alerts-info", since, until)


def test_alerts_are_counted_by_name():
    review = gather(
        info("DiskWillFill", FRIDAY + 60, is_resolved=True, count=2),
        info("DiskWillFill", FRIDAY + 7200, is_resolved=True),
        info("CertExpires", FRIDAY + 90, is_resolved=True),
    )
    assert review is not None
    assert [(item.alertname, item.count, item.still_firing) for item in review.items] == [
        ("DiskWillFill", 3, 0),
        ("CertExpires", 1, 0),
    ]
    assert (review.count, review.still_firing) == (4, 0)
    assert review.items[0].last_at == FRIDAY + 7200


def test_firing_alerts_are_listed_first_then_the_most_frequent():
    review = gather(
        info("Often", count=9, is_resolved=True),
        info("Seldom", count=2, is_resolved=True),
        info("StillOnce"),
        info("StillTwice", count=2),
    )
    assert review is not None
    assert [item.alertname for item in review.items] == ["StillTwice", "StillOnce", "Often", "Seldom"]


def test_without_incidents_there_is_no_review():
    assert gather() is None
    assert gather(info(at=FRIDAY - 3600, is_resolved=True), replace(info(), route="alerts-warning")) is None


def test_an_older_incident_is_included_only_while_it_fires():
    review = gather(info("Old", FRIDAY - 86400), info("OldAndOver", FRIDAY - 86400, is_resolved=True))
    assert review is not None
    assert [(item.alertname, item.count, item.still_firing) for item in review.items] == [("Old", 1, 1)]


def test_an_acknowledged_incident_counts_as_firing():
    review = gather(info("Old", FRIDAY - 86400, acknowledged_by="alice"))
    assert review is not None
    assert review.still_firing == 1


def test_an_incident_that_fired_again_since_then_is_new():
    again = replace(info(at=FRIDAY - 3600, is_resolved=True), reopened_at=FRIDAY + 300)
    review = gather(again)
    assert review is not None
    assert review.items[0].last_at == FRIDAY + 300


def test_each_incident_is_in_exactly_one_review_however_late_it_is_stored():
    """An incident that opened just before a review is gathered may not be stored yet."""
    late = info(at=MONDAY - STORING_S / 2, is_resolved=True)
    assert gather(late) is None
    assert gather(late, since=MONDAY, until=MONDAY + 86400) is not None
    early = info(at=MONDAY - STORING_S, is_resolved=True)
    assert gather(early) is not None
    assert gather(early, since=MONDAY, until=MONDAY + 86400) is None


def test_only_the_latest_incident_of_a_group_counts_as_firing():
    """A manually resolved incident gets no updates of its alerts once the group has a newer incident."""
    group = a_group(an_alert("Stale", severity="info"), group_key="{}:stale")
    closed = an_incident(group=group, channel="#alerts-info", opened_at=FRIDAY + 60, resolved_by="bob")
    newer = replace(
        an_incident(group=group, channel="#alerts-info", opened_at=FRIDAY + 600), resolved_at=FRIDAY + 900
    )
    newer = replace(
        newer, alert_states={fp: replace(s, ends_at=FRIDAY + 900) for fp, s in newer.alert_states.items()}
    )
    assert closed.group_id == newer.group_id
    both, alone = gather(closed, newer), gather(closed)
    assert both is not None
    assert alone is not None
    assert (both.count, both.still_firing) == (2, 0)
    assert (alone.count, alone.still_firing) == (1, 1)


def test_a_sender_whose_clock_is_ahead_does_not_date_a_review_in_the_future():
    incident = info()
    ahead = {fp: replace(s, starts_at=MONDAY + 9999) for fp, s in incident.alert_states.items()}
    review = gather(replace(incident, alert_states=ahead))
    assert review is not None
    assert review.items[0].last_at == MONDAY


def test_a_row_has_the_worst_severity_of_its_name():
    worse = replace(info(at=FRIDAY + 90), severity=Severity.WARNING)
    review = gather(info(), worse)
    assert review is not None
    assert review.items[0].severity is Severity.WARNING


def test_only_a_few_incidents_are_listed_newest_first():
    incidents = [info(at=FRIDAY + 60 * n, is_resolved=True) for n in range(1, 8)]
    review = gather(*incidents)
    assert review is not None
    newest = [incident.id for incident in reversed(incidents)]
    assert review.items[0].incident_ids == tuple(newest[:MAX_IDS])


def test_further_names_are_counted():
    review = gather(*(info(f"Alert{n:04}", is_resolved=n % 2 == 0, count=2) for n in range(MAX_ITEMS * 4)))
    assert review is not None
    assert len(review.items) == MAX_ITEMS
    assert (review.more_names, review.more_alerts) == (MAX_ITEMS * 3, MAX_ITEMS * 6)
    assert (review.count, review.still_firing) == (MAX_ITEMS * 8, MAX_ITEMS * 4)


def test_names_are_cut_and_on_one_line():
    review = gather(info("x\n" * 5000))
    assert review is not None
    assert len(review.items[0].alertname) <= 200
    assert "\n" not in review.items[0].alertname


# --- state of the reviews ---


def a_state() -> ReviewState:
    review = gather(info())
    assert review is not None
    return ReviewState(FRIDAY, FRIDAY).with_review(review)


def test_a_review_is_due_at_once():
    state = a_state()
    assert (state.since, state.checked_at) == (MONDAY, MONDAY)
    assert state.pending is state.records[0]
    assert state.records[0].find_post_at(MONDAY) == 0.0


def test_an_attempt_in_progress_is_not_repeated_for_a_while():
    record = a_state().records[0]
    tried = replace(record, delivery=record.delivery.with_attempt(record.id, OPEN, "slack:#x", MONDAY))
    assert tried.find_post_at(MONDAY) == MONDAY + IN_FLIGHT_S
    error = TemporaryDeliveryError("no_answer")
    failed = replace(
        tried, delivery=tried.delivery.with_failure(error, MONDAY + 1, was_maybe_sent=False, salt="s")
    )
    assert failed.find_post_at(MONDAY) is not None
    assert MONDAY + 1.3 < failed.find_post_at(MONDAY) < MONDAY + 1.7
    assert failed.find_post_at(MONDAY - 3600) == 0.0  # the clock was set back


def test_the_period_of_a_review_that_failed_permanently_is_in_the_next_one():
    state = a_state()
    record = state.records[0]
    tried = record.delivery.with_attempt(record.id, OPEN, "slack:#x", MONDAY)
    failed = tried.with_failure(PermanentDeliveryError("is_archived"), MONDAY, was_maybe_sent=False, salt="s")
    failed_state = state.with_record(replace(record, delivery=failed))
    assert failed_state.pending is None
    assert (failed_state.since, failed_state.checked_at) == (FRIDAY, MONDAY)


def test_an_edit_is_due_once_a_posted_review_was_marked():
    record = a_state().records[0]
    marked = replace(record, reviewed_by=Person("alice"), reviewed_at=MONDAY + 60)
    assert marked.find_edit_at(MONDAY) is None  # there is no message yet, and the first version will show it
    posted = Delivery(record.id, OPEN, attempts=1).with_receipt(Receipt(MONDAY, "C0INFO:1.0"))
    assert replace(record, delivery=posted).find_edit_at(MONDAY) is None
    assert replace(marked, delivery=posted).find_edit_at(MONDAY) == 0.0
    assert replace(marked, delivery=replace(posted, content_version=REVIEWED)).find_edit_at(MONDAY) is None
    edited = Delivery("C0INFO:1.0", REVIEWED, attempts=1).with_receipt(Receipt(MONDAY, "C0INFO:1.0"))
    assert replace(marked, delivery=posted, edit=edited).find_edit_at(MONDAY) is None


def test_only_the_latest_reviews_are_stored():
    state = a_state()
    for n in range(1, 30):
        review = gather(info(at=MONDAY + n * 86400 - 3600), since=MONDAY, until=MONDAY + n * 86400)
        assert review is not None
        state = state.with_review(review)
    assert len(state.records) == MAX_RECORDS
    assert len({record.id for record in state.records}) == MAX_RECORDS
    assert state.records[0].review.until == MONDAY + 29 * 86400
