"""PagerDuty's events and answers about its incidents, and the page confirmation that evaluates them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from receiver.model.delivery import Delivery, PageConfirmation


@dataclass(frozen=True)
class PagerDutyEvent:
    """A webhook event about a PagerDuty incident. It is only a hint: it may be late or out of order.

    *is_person* tells whether a PagerDuty user did it: the event's `agent` is a user. Auto-resolve names a
    service or no agent, an integration names itself.
    """

    event_id: str
    event_type: str
    incident_id: str
    incident_key: str = ""  # empty for an incident that was opened by alerts
    status: str = ""  # the incident's status, or a responder's answer
    by: str = ""
    occurred_at: float = 0.0
    to: tuple[str, ...] = ()  # the new assignees, or the people who were asked to help
    merged_into: str = ""  # the PagerDuty incident that this one was merged into
    is_person: bool = False


@dataclass(frozen=True)
class PagerDutyStatus:
    """The status of a PagerDuty incident: `triggered`, `acknowledged`, `resolved` or `merged`.

    A merged incident is over, too, but its alerts go on in the incident *merged_into*. *is_person* tells
    whether *by* is a PagerDuty user (`last_status_change_by` is a user): auto-resolve, event rules and
    integrations are not. Times are in seconds since the epoch by our own clock, 0 where unknown.
    """

    status: str
    by: str = ""  # who acknowledged or resolved it
    changed_at: float = 0.0
    is_person: bool = False
    created_at: float = 0.0
    id: str = ""
    link: str = ""
    merged_into: str = ""

    @property
    def is_open(self) -> bool:
        return self.status in ("triggered", "acknowledged")


# The check after each trigger, and after each resolve of ours.
CHECK_AFTER_S = 30.0
# The checks of a confirmed page that is not acknowledged.
CHECK_EVERY_S = 900.0
# The next try after PagerDuty could not be asked. Escalation steps have a check of their own.
CHECK_AGAIN_S = 60.0
# Pauses from one trigger of an unconfirmed page to the next; the last one repeats.
RETRIGGER_AFTER_S = (0.0, 30.0, 60.0, 120.0, 240.0, 300.0)
# A page that automation resolves is triggered again at most so often in an hour.
REOPENS_AT_MOST = 3
REOPENS_WITHIN_S = 3600.0
# A resolve that left its incident open is sent again at most so often.
RESOLVES_AGAIN = 2
# PagerDuty's clock may differ from ours, and it creates an incident a moment after it accepts the event.
CLOCK_SLACK_S = 5.0
CONFIRMED = "confirmed"
UNCONFIRMED = "unconfirmed"
RESOLVED_THERE = "resolved_there"
STILL_OPEN = "still_open"
REPEATED = "repeated"
# Reasons for sending an accepted event again; they are no failures of PagerDuty's API.
RESENT_REASONS = frozenset({UNCONFIRMED, RESOLVED_THERE, STILL_OPEN, REPEATED})


@dataclass(frozen=True)
class ConfirmationResult:
    """The result of a page confirmation."""

    what: str  # `triggered`, `acknowledged`, `resolved` or `none`
    status: PagerDutyStatus | None = None  # of the PagerDuty incident that shows it; None for `none`

    @property
    def is_by_person(self) -> bool:
        """Whether a person acknowledged or resolved it."""
        return self.what == "acknowledged" or (
            self.what == "resolved" and self.status is not None and self.status.is_person
        )


Evaluation = Callable[[Sequence[PagerDutyStatus]], ConfirmationResult]
# The result where a webhook of PagerDuty reported a resolve, and the API can't be asked.
TRUSTED_RESOLVE = ConfirmationResult("resolved", PagerDutyStatus("resolved"))


def evaluate_page(
    statuses: Sequence[PagerDutyStatus], sent_at: float, *, acknowledged_after: float = 0.0
) -> ConfirmationResult:
    """Evaluate *statuses*, the latest PagerDuty incidents of a page's key, newest first, for the page sent at
    *sent_at*.

    An acknowledgement counts only if it was given after *acknowledged_after* or at an unknown time: an
    earlier one belongs to a former page of the key. So does an incident that was resolved before the page was
    sent. `merged` is no resolve: the alert goes on in another incident.
    """
    is_open = [status for status in statuses if status.is_open]
    for status in is_open:
        if status.status == "acknowledged" and not 0 < status.changed_at < acknowledged_after:
            return ConfirmationResult("acknowledged", status)
    if is_open:
        return ConfirmationResult("triggered", is_open[0])
    for status in statuses:
        is_ended_since = status.changed_at >= sent_at + CLOCK_SLACK_S
        is_opened_since = status.created_at >= sent_at - CLOCK_SLACK_S
        if status.status == "resolved" and (is_ended_since or is_opened_since):
            return ConfirmationResult("resolved", status)
    if statuses and statuses[0].status == "merged":
        return ConfirmationResult("triggered", statuses[0])
    return ConfirmationResult("none")


def find_left_open(statuses: Sequence[PagerDutyStatus], resolve: Delivery) -> ConfirmationResult:
    """Return the PagerDuty incident that our *resolve* should have closed and did not, as `triggered`.

    An incident that PagerDuty opened after the resolve belongs to a later page of the same key.
    """
    sent_at, known = resolve.last_attempt_at, start_confirmation(resolve).incident
    for status in statuses:
        is_ours = status.id == known if known else status.created_at <= sent_at + CLOCK_SLACK_S
        if status.is_open and is_ours:
            return ConfirmationResult("triggered", status)
    return ConfirmationResult("none")


def record_hint(page: Delivery, hint: str) -> Delivery:
    """Return *page* with the webhook *hint* recorded as taken into account; unchanged for an empty one."""
    return replace(page, check=replace(start_confirmation(page), hint=hint)) if hint else page


def record_check(page: Delivery, result: ConfirmationResult, now: float) -> Delivery:
    """Return *page* with the *result* about its last trigger; unsettled where it must be sent again.

    A `resolved` result must be by automation. A person's resolve ends our incident, which the caller does.
    """
    check = start_confirmation(page)
    status = result.status
    known = {"incident": status.id, "link": status.link} if status is not None and status.id else {}
    checked = replace(check, at=now, attempt=page.attempts, **known)
    if result.what == "none":
        pause = RETRIGGER_AFTER_S[min(check.misses, len(RETRIGGER_AFTER_S) - 1)]
        missed = replace(checked, found=UNCONFIRMED, misses=check.misses + 1, notified_at=0.0)
        return _mark_undone(page, missed, UNCONFIRMED, max(now, page.last_attempt_at + pause))
    if result.what == "resolved":
        lately = tuple(at for at in check.resolved_at if abs(now - at) < REOPENS_WITHIN_S)
        times = (*lately, now)[-(REOPENS_AT_MOST + 1) :]
        is_often = len(times) > REOPENS_AT_MOST
        again_at = times[0] + REOPENS_WITHIN_S if is_often else now
        ended = replace(checked, found=RESOLVED_THERE, resolved_at=times)
        return _mark_undone(page, ended, RESOLVED_THERE, again_at)
    notified_at = check.notified_at or (page.receipt.at if page.receipt is not None else now)
    return replace(page, check=replace(checked, found=CONFIRMED, misses=0, notified_at=notified_at))


def record_resolve_check(resolve: Delivery, result: ConfirmationResult, now: float) -> Delivery:
    """Return our *resolve* with the *result* about its incident at *now*; unsettled where that is open.

    After `RESOLVES_AGAIN` more resolves it stays settled, found `still_open`: a person must close it.
    """
    check, status = start_confirmation(resolve), result.status
    checked = replace(check, at=now, attempt=resolve.attempts)
    if status is None or not status.is_open:
        return replace(resolve, check=replace(checked, found=CONFIRMED))
    known = {"incident": status.id or check.incident, "link": status.link}
    still = replace(checked, found=STILL_OPEN, misses=check.misses + 1, **known)
    if still.misses > RESOLVES_AGAIN:
        return replace(resolve, check=still)
    return _mark_undone(resolve, still, STILL_OPEN, now)


def record_repeat(page: Delivery, now: float, received_at: float) -> Delivery:
    """Return *page* to be triggered again, because its alerts were repeated and PagerDuty can't be asked.

    That happens once for each *received_at*, the time of the repeat, also where the clock was set back since.
    """
    check = replace(start_confirmation(page), hint=format_repeat(received_at))
    return _mark_undone(page, check, REPEATED, now)


def format_repeat(received_at: float) -> str:
    return f"received@{received_at:.3f}"


def postpone_check(delivery: Delivery, now: float) -> Delivery:
    """Return *delivery* with its check postponed, because PagerDuty could not be asked at *now*."""
    return replace(delivery, check=replace(start_confirmation(delivery), again_at=now + CHECK_AGAIN_S))


def start_confirmation(page: Delivery) -> PageConfirmation:
    """Return the last check of *page*; for a page never checked, one made from its receipt."""
    if page.check is not None:
        return page.check
    at = page.receipt.at if page.receipt is not None else 0.0
    return PageConfirmation(accepted_at=at, notified_at=at)


def find_check_due_at(page: Delivery) -> float | None:
    """Return when to check a page that PagerDuty accepted; None where no check is needed.

    A page that is to be triggered again is checked after that.
    """
    receipt, check = page.receipt, page.check
    if receipt is None or receipt.is_simulated or page.storm:
        return None
    is_checked = check is not None and check.attempt == page.attempts
    due_at = check.at + CHECK_EVERY_S if check and is_checked else receipt.at + CHECK_AFTER_S
    return max(due_at, postponed_until(page))


def postponed_until(event: Delivery) -> float:
    """Return until when the check is postponed because PagerDuty could not be asked; 0.0 where it is not."""
    return event.check.again_at if event.check is not None else 0.0


def limit_confirmation(event: Delivery, due_at: float, now: float) -> float:
    """Return *due_at*, the time of a check of *event*; earlier if a clock ahead of ours computed it.

    After a check or a postponement now, the next wait is by our clock.
    """
    check, again_at = event.check, postponed_until(event)
    if due_at <= now:
        return due_at
    if again_at > now:
        return again_at if again_at <= now + CHECK_AGAIN_S + CLOCK_SLACK_S else now
    is_checked = check is not None and check.attempt == event.attempts
    begun_at = check.at if check is not None and is_checked else event.last_attempt_at
    return now if begun_at > now + CLOCK_SLACK_S else due_at


def find_resolve_check_due_at(resolve: Delivery) -> float | None:
    """Return when to check whether our *resolve* closed its incident; None where no check is needed."""
    receipt, check = resolve.receipt, resolve.check
    if receipt is None or receipt.is_simulated or receipt.note:
        return None
    if check is not None and check.attempt == resolve.attempts:
        return None
    return max(receipt.at + CHECK_AFTER_S, postponed_until(resolve))


def is_unconfirmed(page: Delivery) -> bool:
    """Return whether PagerDuty accepted the page and had no incident for it at the last check."""
    return page.check is not None and page.check.found == UNCONFIRMED


def is_resolved_too_often(page: Delivery) -> bool:
    """Return whether automation in PagerDuty resolves the page more often than it may be triggered again."""
    check = page.check
    return check is not None and check.found == RESOLVED_THERE and len(check.resolved_at) > REOPENS_AT_MOST


def is_left_open(resolve: Delivery) -> bool:
    """Return whether PagerDuty's incident is still open after all our resolves."""
    return resolve.is_settled and resolve.check is not None and resolve.check.found == STILL_OPEN


def find_notified_at(delivery: Delivery) -> float | None:
    """Return when a page's responder was notified: the time of the 202 of the trigger for which PagerDuty has
    an incident, None while it has none. For any other delivery, the time of its receipt.
    """
    if delivery.check is not None:
        return delivery.check.notified_at or None
    return delivery.receipt.at if delivery.receipt is not None else None


def find_accepted_at(delivery: Delivery) -> float | None:
    """Return when the channel first accepted it. The wait for the next step starts then, confirmed or not."""
    if delivery.check is not None:
        return delivery.check.accepted_at or None
    return delivery.receipt.at if delivery.receipt is not None else None


def _mark_undone(delivery: Delivery, check: PageConfirmation, reason: str, again_at: float) -> Delivery:
    return replace(
        delivery, check=check, receipt=None, maybe_sent=True, reason=reason, detail="", retry_at=again_at
    )
