"""News from PagerDuty about its own incidents, and how they stand there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from receiver.model.delivery import Delivery, PageCheck


@dataclass(frozen=True)
class PagerDutyEvent:
    """One event of PagerDuty's about one of its incidents. A hint: it may be late or out of order.

    *incident_key* is empty for an incident that was opened by alerts; *status* is the incident's, or
    what a responder answered. *to* names who it went to, or who was asked to help; *merged_into* is
    the PagerDuty incident that took this one's place. *is_person* tells whether a user of PagerDuty did it:
    the event's `agent` is a user. Auto-resolve names a service or no agent, an integration names itself.
    """

    event_id: str
    event_type: str
    incident_id: str
    incident_key: str = ""
    status: str = ""
    by: str = ""
    occurred_at: float = 0.0
    to: tuple[str, ...] = ()
    merged_into: str = ""
    is_person: bool = False


@dataclass(frozen=True)
class PagerDutyStatus:
    """How an incident stands in PagerDuty: `triggered`, `acknowledged`, `resolved` or `merged`.

    Merged is over, too, but its alerts go on in the incident *merged_into*. *by* acknowledged or resolved it,
    and *is_person* tells whether that is a user of PagerDuty (`last_status_change_by` is a user):
    auto-resolve, event rules and integrations are not. Moments are seconds since the epoch by our own
    clock, 0 where they are not known. *id* and *link* are PagerDuty's own name and address of it.
    """

    status: str
    by: str = ""
    changed_at: float = 0.0
    is_person: bool = False
    created_at: float = 0.0
    id: str = ""
    link: str = ""
    merged_into: str = ""

    @property
    def is_open(self) -> bool:
        return self.status in ("triggered", "acknowledged")


# After each trigger, and after each resolve of ours.
CHECK_AFTER_S = 30.0
# A confirmed page that nobody acknowledged.
CHECK_EVERY_S = 900.0
# PagerDuty that could not be asked is asked again; sooner helps no one, as a step asks for itself.
CHECK_AGAIN_S = 60.0
# Pauses from one trigger of an unconfirmed page to the next; the last one goes on.
RETRIGGER_AFTER_S = (0.0, 30.0, 60.0, 120.0, 240.0, 300.0)
# A page that a machine resolves is triggered again so often in an hour, and no oftener.
REOPENS_AT_MOST = 3
REOPENS_WITHIN_S = 3600.0
# A resolve that left its incident open is sent again so often.
RESOLVES_AGAIN = 2
# PagerDuty's clock is not ours, and it makes incidents a moment after it takes the events.
CLOCK_SLACK_S = 5.0
CONFIRMED = "confirmed"
UNCONFIRMED = "unconfirmed"
RESOLVED_THERE = "resolved_there"
STILL_OPEN = "still_open"
REPEATED = "repeated"
# Reasons by which an event that PagerDuty took is sent again: no fault of its API.
RESENT_REASONS = frozenset({UNCONFIRMED, RESOLVED_THERE, STILL_OPEN, REPEATED})


@dataclass(frozen=True)
class Finding:
    """What PagerDuty has of a page: `triggered`, `acknowledged`, `resolved` or `none`.

    *status* is the incident that shows it, None for `none`.
    """

    what: str
    status: PagerDutyStatus | None = None

    @property
    def is_answer(self) -> bool:
        """Whether a person acknowledged or resolved it."""
        return self.what == "acknowledged" or (
            self.what == "resolved" and self.status is not None and self.status.is_person
        )


def evaluate_page(
    statuses: Sequence[PagerDutyStatus], sent_at: float, *, acknowledged_after: float = 0.0
) -> Finding:
    """Return what *statuses*, the latest incidents of a page's key, newest first, say of the page sent at
    *sent_at*.

    An acknowledgement counts only where it was given after *acknowledged_after* or at an unknown time: an
    earlier one was of a former page of the key. An incident that was resolved before the page was sent is a
    former page's, too. `merged` is no resolve: the alert goes on in another incident.
    """
    is_open = [status for status in statuses if status.is_open]
    for status in is_open:
        if status.status == "acknowledged" and not 0 < status.changed_at < acknowledged_after:
            return Finding("acknowledged", status)
    if is_open:
        return Finding("triggered", is_open[0])
    for status in statuses:
        is_ended_since = status.changed_at >= sent_at + CLOCK_SLACK_S
        is_opened_since = status.created_at >= sent_at - CLOCK_SLACK_S
        if status.status == "resolved" and (is_ended_since or is_opened_since):
            return Finding("resolved", status)
    if statuses and statuses[0].status == "merged":
        return Finding("triggered", statuses[0])
    return Finding("none")


def find_left_open(statuses: Sequence[PagerDutyStatus], resolve: Delivery) -> Finding:
    """Return the incident that our *resolve* should have closed and did not.

    One that PagerDuty opened after the resolve is of a later page of the same key.
    """
    sent_at, known = resolve.last_attempt_at, start_check(resolve).incident
    for status in statuses:
        is_ours = status.id == known if known else status.created_at <= sent_at + CLOCK_SLACK_S
        if status.is_open and is_ours:
            return Finding("triggered", status)
    return Finding("none")


def record_hint(page: Delivery, hint: str) -> Delivery:
    """Return *page* with the webhook named *hint* taken into account; unchanged where there was none."""
    return replace(page, check=replace(start_check(page), hint=hint)) if hint else page


def record_check(page: Delivery, finding: Finding, now: float) -> Delivery:
    """Return *page* with what was found of its last trigger at *now*; unsettled where it is missing there.

    A machine's resolve is one finding `resolved`: a person's ends the incident, which is others' work.
    """
    check = start_check(page)
    status = finding.status
    known = {"incident": status.id, "link": status.link} if status is not None and status.id else {}
    checked = replace(check, at=now, attempt=page.attempts, **known)
    if finding.what == "none":
        pause = RETRIGGER_AFTER_S[min(check.misses, len(RETRIGGER_AFTER_S) - 1)]
        missed = replace(checked, found=UNCONFIRMED, misses=check.misses + 1, notified_at=0.0)
        return _mark_undone(page, missed, UNCONFIRMED, max(now, page.last_attempt_at + pause))
    if finding.what == "resolved":
        lately = tuple(at for at in check.resolved_at if abs(now - at) < REOPENS_WITHIN_S)
        moments = (*lately, now)[-(REOPENS_AT_MOST + 1) :]
        is_often = len(moments) > REOPENS_AT_MOST
        again_at = moments[0] + REOPENS_WITHIN_S if is_often else now
        ended = replace(checked, found=RESOLVED_THERE, resolved_at=moments)
        return _mark_undone(page, ended, RESOLVED_THERE, again_at)
    notified_at = check.notified_at or (page.receipt.at if page.receipt is not None else now)
    return replace(page, check=replace(checked, found=CONFIRMED, misses=0, notified_at=notified_at))


def record_resolve_check(resolve: Delivery, finding: Finding, now: float) -> Delivery:
    """Return our *resolve* with whether its incident is closed at *now*; unsettled where it is not.

    After `RESOLVES_AGAIN` more resolves it stays settled, found `still_open`: a person has to close it.
    """
    check, status = start_check(resolve), finding.status
    checked = replace(check, at=now, attempt=resolve.attempts)
    if status is None or not status.is_open:
        return replace(resolve, check=replace(checked, found=CONFIRMED))
    still = replace(
        checked,
        found=STILL_OPEN,
        misses=check.misses + 1,
        incident=status.id or check.incident,
        link=status.link,
    )
    if still.misses > RESOLVES_AGAIN:
        return replace(resolve, check=still)
    return _mark_undone(resolve, still, STILL_OPEN, now)


def record_repeat(page: Delivery, now: float, heard_at: float) -> Delivery:
    """Return *page* to be triggered again, as its alerts were repeated and PagerDuty can't be asked; once for
    each *heard_at*, also where the clock was set back since.
    """
    return _mark_undone(page, replace(start_check(page), hint=format_repeat(heard_at)), REPEATED, now)


def format_repeat(heard_at: float) -> str:
    return f"heard@{heard_at:.3f}"


def postpone_check(delivery: Delivery, now: float) -> Delivery:
    """Return *delivery* with its check put off, as PagerDuty could not be asked at *now*."""
    return replace(delivery, check=replace(start_check(delivery), again_at=now + CHECK_AGAIN_S))


def start_check(page: Delivery) -> PageCheck:
    """Return what is known of *page*; of one never checked, that its 202 is all there is."""
    if page.check is not None:
        return page.check
    at = page.receipt.at if page.receipt is not None else 0.0
    return PageCheck(accepted_at=at, notified_at=at)


def find_check_due_at(page: Delivery) -> float | None:
    """Return when PagerDuty is to be asked about a page that it took; None where it need not be.

    One that is to be triggered again is asked about after that.
    """
    receipt, check = page.receipt, page.check
    if receipt is None or receipt.is_simulated or page.storm:
        return None
    if check is None or check.attempt != page.attempts:
        due_at = receipt.at + CHECK_AFTER_S
    else:
        due_at = check.at + CHECK_EVERY_S
    return max(due_at, postponed_until(page))


def postponed_until(event: Delivery) -> float:
    """Return until when PagerDuty is not to be asked again, as it could not be asked; 0.0 where it could."""
    return event.check.again_at if event.check is not None else 0.0


def limit_check_wait(event: Delivery, due_at: float, now: float) -> float:
    """Return *due_at*, the moment of a check of *event*, without a wait that a clock ahead of ours began.

    Checked or postponed now, it has its next wait by our clock.
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
    """Return when PagerDuty is to be asked whether our *resolve* closed its incident; None where not."""
    receipt, check = resolve.receipt, resolve.check
    if receipt is None or receipt.is_simulated or receipt.note:
        return None
    if check is not None and check.attempt == resolve.attempts:
        return None
    return max(receipt.at + CHECK_AFTER_S, postponed_until(resolve))


def is_unconfirmed(page: Delivery) -> bool:
    """Tell whether PagerDuty took the page and had no incident of it when it was last asked."""
    return page.check is not None and page.check.found == UNCONFIRMED


def is_resolved_too_often(page: Delivery) -> bool:
    """Tell whether a machine in PagerDuty resolves the page more often than it may be triggered again."""
    check = page.check
    return check is not None and check.found == RESOLVED_THERE and len(check.resolved_at) > REOPENS_AT_MOST


def is_left_open(resolve: Delivery) -> bool:
    """Tell whether PagerDuty's incident is open after all our resolves."""
    return resolve.is_settled and resolve.check is not None and resolve.check.found == STILL_OPEN


def find_notified_at(delivery: Delivery) -> float | None:
    """Return when a page's responder was notified: with the 202 of the trigger that PagerDuty has an incident
    for, None while it has none. Of any other delivery, when it arrived.
    """
    if delivery.check is not None:
        return delivery.check.notified_at or None
    return delivery.receipt.at if delivery.receipt is not None else None


def find_accepted_at(delivery: Delivery) -> float | None:
    """Return when the channel first took it: from then on the next step's wait runs, confirmed or not."""
    if delivery.check is not None:
        return delivery.check.accepted_at or None
    return delivery.receipt.at if delivery.receipt is not None else None


def _mark_undone(delivery: Delivery, check: PageCheck, reason: str, again_at: float) -> Delivery:
    return replace(
        delivery, check=check, receipt=None, maybe_sent=True, reason=reason, detail="", retry_at=again_at
    )
