"""Reviews: their store in Redis (a hash for each route, changed by compare-and-set) and their service."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping

import msgspec
from msgspec.structs import replace

from receiver import metrics
from receiver.business_hours import BusinessHours, next_business_day_start
from receiver.engine.ports import Notices
from receiver.engine.rate_limit import LOW_PRIORITY_OFFSET_S, RateLimiter
from receiver.errors import DeliveryError, NotFound, StoreError, TemporaryDeliveryError
from receiver.incidents.notifications import LinkSettings
from receiver.model.actions import Post, Update
from receiver.model.delivery import Delivery, Receipt
from receiver.model.incident import Incident, Person
from receiver.model.routing import SLACK, Route, Target
from receiver.reviews.model import (
    STORING_S,
    IncidentList,
    ReviewChannel,
    ReviewNotification,
    ReviewRecord,
    ReviewRepository,
    ReviewState,
    VersionedReviews,
    gather_review,
    review_group_id,
)
from receiver.storage.connection import Client, read_scripts, store_errors
from receiver.storage.keys import REVIEWS_FOR_S, Keys, shard_of

_encoder = msgspec.msgpack.Encoder()
_states = msgspec.msgpack.Decoder(ReviewState)


class RedisReviews:
    """Stores the state of each route's reviews. Every method raises StoreError when Redis is unavailable."""

    def __init__(self, client: Client, *, shards: int = 1) -> None:
        self._redis = client
        self._shards = shards
        self._script = client.register_script(read_scripts()["save_review"])

    def load_reviews(self, group_id: str) -> VersionedReviews:
        """Return the reviews of *group_id*; without a state where the route was never checked."""
        with store_errors():
            version, state = self._redis.hmget(self._key(group_id), "v", "state")
        return VersionedReviews(group_id, _states.decode(state) if state else None, int(version or 0))

    def save_if_unchanged(self, loaded: VersionedReviews, state: ReviewState) -> bool:
        """Save *state* for another 400 days; False where it changed since *loaded* was read."""
        with store_errors():
            answer = self._script(
                keys=[self._key(loaded.group_id)],
                args=[loaded.version, _encoder.encode(state), REVIEWS_FOR_S],
            )
        return bool(answer)

    def _key(self, group_id: str) -> str:
        return Keys(shard_of(group_id, self._shards)).reviews(group_id)


logger = logging.getLogger(__name__)
# Gather, post, edit, and one more step that finds nothing.
_STEPS_AT_MOST = 4
_ROUNDS = 20
_PAGE = 200
# Enough for a storm of ungrouped alerts over a long weekend; older incidents are not counted.
_SCANNED_AT_MOST = 50_000
_OPEN = frozenset({"open", "acknowledged"})
_NOWHERE = LinkSettings()
_NO_FALLBACKS: Mapping[str, str] = {}


class ReviewService:
    """Posts a route's review when it is due, and marks it as reviewed.

    Each attempt is saved by compare-and-set before it is made, so a second worker sees it, and after a
    crash the next worker can check whether it arrived. Every method may raise StoreError.
    """

    def __init__(
        self,
        reviews: ReviewRepository,
        incidents: IncidentList,
        channel: ReviewChannel,
        hours: BusinessHours,
        clock: Callable[[], float],
        *,
        link_settings: LinkSettings = _NOWHERE,
        fallbacks: Mapping[str, str] = _NO_FALLBACKS,
        notices: Notices | None = None,
        rate_limiter: RateLimiter | None = None,
    ) -> None:
        self._reviews = reviews
        self._incidents = incidents
        self._channel = channel
        self._hours = hours
        self._clock = clock
        self._link_settings = link_settings
        self._fallbacks = fallbacks
        self._notices = notices
        self._rate_limiter = rate_limiter

    def next_due_at(self, route: Route, now: float) -> float:
        """Return when to call `run` next: *now* for a route that was never checked."""
        state = self._reviews.load_reviews(review_group_id(route.name)).state
        if state is None:
            return now
        pending = state.pending
        post_at = pending.post_at if pending is not None else None
        moments = [record.edit_at for record in state.records]
        # The next review waits until the pending one is posted.
        moments.append(next_business_day_start(self._hours, state.checked_at) if post_at is None else post_at)
        return max(now, min(moment for moment in moments if moment is not None))

    def run(self, route: Route, now: float) -> float:
        """Do what is due on *route*; return when to call this again.

        A failed delivery is saved and retried later, not raised. The first call for a route only
        records the start of its first review.
        """
        due = now
        for _ in range(_STEPS_AT_MOST):
            wait_s = self._run_step(route, now)
            if wait_s > 0:
                return now + wait_s
            due = self.next_due_at(route, now)
            if due > now:
                break
        return due

    def mark_reviewed(self, review_id: str, by: Person, now: float) -> ReviewRecord:
        """Record that *by* has reviewed it, and show that in its message. Raises NotFound.

        The first person counts; the second time changes nothing. The mark is saved when this returns;
        if the edit in Slack failed, the record's `edit_at` says when `run` is to retry.
        """
        group_id = review_id.partition("-")[0]
        record = self._update_record(group_id, review_id, lambda record: _mark_record(record, by, now))
        if record is None:
            raise NotFound("review", review_id)
        if not _is_ready(record.edit_at, now) or self._find_wait_s(record, now) > 0:
            return record
        return self._edit_message(group_id, record, now)

    # --- one step ---

    def _run_step(self, route: Route, now: float) -> float:
        """Do one action; return 0, or the seconds it must wait for its permit."""
        loaded = self._reviews.load_reviews(review_group_id(route.name))
        state = loaded.state
        if state is None:
            self._reviews.save_if_unchanged(loaded, ReviewState(since=now, checked_at=now))
            return 0.0
        for record in state.records:
            if _is_ready(record.edit_at, now):
                wait_s = self._find_wait_s(record, now)
                if wait_s <= 0:
                    self._edit_message(loaded.group_id, record, now)
                return wait_s
        if state.pending is None:
            if next_business_day_start(self._hours, state.checked_at) <= now:
                self._gather_review(loaded, state, route, now)
        elif _is_ready(state.pending.post_at, now):
            wait_s = self._find_wait_s(state.pending, now)
            if wait_s <= 0:
                self._post_review(loaded, state, state.pending, now)
            return wait_s
        return 0.0

    def _find_wait_s(self, record: ReviewRecord, now: float) -> float:
        """Return the seconds that the review's post or edit must wait for its permit."""
        if self._rate_limiter is None:
            return 0.0
        wanted_at = record.reviewed_at or record.review.until
        priority = min(wanted_at, now) + LOW_PRIORITY_OFFSET_S
        return self._rate_limiter.acquire_by_priority(
            _action_of(record), f"review {record.id}", priority, now
        ).retry_after_s

    def _gather_review(self, loaded: VersionedReviews, state: ReviewState, route: Route, now: float) -> None:
        """Save the review to post next, or that there is nothing to review."""
        incidents = self._list_incidents(state.since - STORING_S)
        review = gather_review(incidents, route.name, route.channel, state.since, now)
        is_kept = self._reviews.save_if_unchanged(
            loaded, state.mark_checked(now) if review is None else state.with_review(review)
        )
        if is_kept and review is None:
            logger.info("nothing to review", extra={"fields": {"route": route.name}})

    def _list_incidents(self, since: float) -> Iterator[Incident]:
        """Yield incidents newest first: all opened after *since*, and unresolved older ones."""
        states: frozenset[str] = frozenset()
        cursor = ""
        for _ in range(_SCANNED_AT_MOST // _PAGE):
            page = self._incidents.list_newest(states=states, limit=_PAGE, cursor=cursor)
            yield from page.incidents
            if page.next_cursor is None:
                return
            cursor = page.next_cursor
            if page.incidents and page.incidents[-1].opened_at < since:
                states = _OPEN
        logger.warning("too many incidents for one review", extra={"fields": {"scanned": _SCANNED_AT_MOST}})

    def _post_review(
        self, loaded: VersionedReviews, state: ReviewState, record: ReviewRecord, now: float
    ) -> None:
        """Save the attempt, post, save the result. Return early where another worker changed the reviews."""
        before = record.delivery
        attempt = before.with_attempt(
            record.id, record.content_version, f"{SLACK}:{record.review.channel}", now
        )
        if not self._reviews.save_if_unchanged(loaded, state.with_record(replace(record, delivery=attempt))):
            return
        was_maybe_sent = attempt.attempts > 1 and before.maybe_sent
        try:
            after = self._send_review(record, before, attempt, was_maybe_sent=was_maybe_sent)
        except DeliveryError as error:
            after = attempt.with_failure(error, self._clock(), was_maybe_sent=was_maybe_sent, salt=record.id)
            self._record_failure(record, after, error)
        self._update_record(
            loaded.group_id,
            record.id,
            lambda current: self._redirect_to_fallback(replace(current, delivery=after)),
        )

    def _redirect_to_fallback(self, record: ReviewRecord) -> ReviewRecord:
        """Return a review that failed for good with the fallback channel as its target, once."""
        if not record.delivery.failed_at:
            return record
        review, delivery = record.review, record.delivery
        if self._notices is not None:
            text = f"Review to {delivery.target} given up: {delivery.reason}"
            self._notices.save_notice(f"review/{record.id}/{review.channel}", text, self._clock(), about=text)
        channel = self._fallbacks.get(review.route, "")
        if channel in ("", review.channel):
            return record
        return replace(record, review=replace(review, channel=channel), delivery=Delivery())

    def _send_review(
        self, record: ReviewRecord, before: Delivery, attempt: Delivery, *, was_maybe_sent: bool
    ) -> Delivery:
        """Return *attempt* with the receipt of an earlier attempt that arrived, or else of a new post."""
        notification = self._build_notification(record)
        started = time.monotonic()
        try:
            found = None
            if was_maybe_sent:
                found = self._channel.find_review(notification, attempt.first_attempt_at)
            receipt = found or self._channel.send_review(notification)
        finally:
            metrics.DELIVERY_SECONDS.labels(SLACK).observe(time.monotonic() - started)
        _log_arrival(record, receipt)
        # An earlier attempt shows the state of that time, so an edit may be needed.
        return replace(
            attempt.with_receipt(receipt),
            content_version=before.content_version if found else attempt.content_version,
        )

    def _edit_message(self, group_id: str, record: ReviewRecord, now: float) -> ReviewRecord:
        """Edit the message to show the current state. It is idempotent, so no attempt is saved before."""
        receipt = record.delivery.receipt
        if receipt is None:
            return record
        attempt = record.edit.with_attempt(
            receipt.reference, record.content_version, record.delivery.target, now
        )
        try:
            edited = self._channel.update_review(self._build_notification(record), receipt.reference)
            after = attempt.with_receipt(edited)
        except DeliveryError as error:
            after = attempt.with_failure(error, self._clock(), was_maybe_sent=True, salt=record.id)
            self._record_failure(record, after, error)
        else:
            _log_arrival(record, edited)
        return (
            self._update_record(group_id, record.id, lambda current: replace(current, edit=after)) or record
        )

    def _record_failure(self, record: ReviewRecord, after: Delivery, error: DeliveryError) -> None:
        _log_failure(record, after, error)
        if self._rate_limiter is not None:
            self._rate_limiter.apply_retry_after(_action_of(record), error)

    # --- helpers ---

    def _build_notification(self, record: ReviewRecord) -> ReviewNotification:
        links = (
            *self._link_settings.more.get(record.review.route, ()),
            *self._link_settings.more.get("", ()),
        )
        return ReviewNotification(record, self._hours.zone, self._link_settings.public_url, links)

    def _update_record(
        self, group_id: str, review_id: str, transform: Callable[[ReviewRecord], ReviewRecord]
    ) -> ReviewRecord | None:
        """Save the review changed by *transform* and return it; None where it does not exist (any more)."""
        for _ in range(_ROUNDS):
            loaded = self._reviews.load_reviews(group_id)
            record = loaded.state.find_record(review_id) if loaded.state is not None else None
            if loaded.state is None or record is None:
                return None
            changed = transform(record)
            if changed == record or self._reviews.save_if_unchanged(
                loaded, loaded.state.with_record(changed)
            ):
                return changed
        raise StoreError("a review kept being changed by other processes")


def _mark_record(record: ReviewRecord, by: Person, now: float) -> ReviewRecord:
    return record if record.is_reviewed else replace(record, reviewed_by=by, reviewed_at=now)


def _action_of(record: ReviewRecord) -> Post | Update:
    """Return the review's edit where it is posted, else its post, to find its token bucket."""
    target, receipt = Target(SLACK, record.review.channel), record.delivery.receipt
    if receipt is None:
        return Post(key="review", instance=record.id, target=target, content_version=record.content_version)
    return Update(
        key="review",
        instance=record.id,
        target=target,
        content_version=record.content_version,
        message=receipt.reference,
    )


def _is_ready(moment: float | None, now: float) -> bool:
    return moment is not None and moment <= now


def _log_arrival(record: ReviewRecord, receipt: Receipt) -> None:
    outcome = "simulated" if receipt.is_simulated else "delivered"
    metrics.DELIVERIES.labels(SLACK, outcome).inc()
    logger.info(outcome, extra={"fields": {"review": record.id, "route": record.review.route}})


def _log_failure(record: ReviewRecord, after: Delivery, error: DeliveryError) -> None:
    outcome = "temporary" if isinstance(error, TemporaryDeliveryError) else "permanent"
    metrics.DELIVERIES.labels(SLACK, outcome).inc()
    fields = {
        "review": record.id,
        "target": after.target,
        "reason": error.reason,
        "detail": after.detail,
        "attempts": after.attempts,
        "retry_at": after.retry_at or None,
    }
    state = f"{after.target} {error.reason}" if after.retry_at else None
    logger.warning("review not delivered", extra={"fields": fields, "state": state})
