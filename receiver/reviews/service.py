"""Reviews: their store in Redis (a hash for each route, changed by compare-and-set) and their service."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from receiver.business_hours import BusinessHours, next_business_day_start
from receiver.engine.dispatcher import Dispatcher
from receiver.engine.rate_limit import LOW_PRIORITY_OFFSET_S, RateLimiter
from receiver.errors import LeaseLost, NotFound, StoreError
from receiver.incidents.notification_builder import LinkSettings
from receiver.incidents.store import RedisIncidents
from receiver.model.actions import DeliveryAction, Post, Update
from receiver.model.delivery import Delivery
from receiver.model.delivery_keys import UPDATE, DeliveryKey
from receiver.model.incident import Incident, Person
from receiver.model.routing import SLACK, Route, Target
from receiver.reviews import model
from receiver.storage.connection import Client, Scripts, store_errors
from receiver.storage.keys import REVIEWS_FOR_S, Keys, shard_of

_encoder = msgspec.msgpack.Encoder()
_states = msgspec.msgpack.Decoder(model.ReviewState)
_ROUNDS = 20


class RedisReviews:
    """Stores the state of each route's reviews. Every method raises StoreError when Redis is unavailable."""

    def __init__(self, client: Client, *, shards: int = 1) -> None:
        self._redis = client
        self._shards = shards
        self._scripts = Scripts(client)

    def load_reviews(self, group_id: str) -> model.VersionedReviews:
        """Return the reviews of *group_id*; without a state where the route was never checked."""
        with store_errors():
            version, state = self._redis.hmget(self._key(group_id), "v", "state")
        return model.VersionedReviews(group_id, _states.decode(state) if state else None, int(version or 0))

    def save_if_unchanged(self, loaded: model.VersionedReviews, state: model.ReviewState) -> bool:
        """Save *state* for another 400 days; False where it changed since *loaded* was read."""
        args = [loaded.version, _encoder.encode(state), REVIEWS_FOR_S]
        with store_errors():
            return bool(self._scripts.run_script("save_review", [self._key(loaded.group_id)], args))

    def _key(self, group_id: str) -> str:
        return Keys(shard_of(group_id, self._shards)).reviews(group_id)

    def update_record(
        self, group_id: str, review_id: str, transform: Callable[[model.ReviewRecord], model.ReviewRecord]
    ) -> model.ReviewRecord | None:
        """Save the review changed by *transform* and return it; None where it does not exist (any more)."""
        for _ in range(_ROUNDS):
            loaded = self.load_reviews(group_id)
            record = loaded.find_record(review_id)
            if loaded.state is None or record is None:
                return None
            changed = transform(record)
            if changed == record or self.save_if_unchanged(loaded, loaded.state.with_record(changed)):
                return changed
        raise StoreError("a review kept being changed by other processes")


logger = logging.getLogger(__name__)
# Gather, post, edit, and one more step that finds nothing.
_STEPS_AT_MOST = 4
_PAGE = 200
# Enough for a storm of ungrouped alerts over a long weekend; older incidents are not counted.
_SCANNED_AT_MOST = 50_000
_OPEN = frozenset({"open", "acknowledged"})


@dataclass(frozen=True)
class ReviewSettings:
    """What of the configuration applies to reviews: *fallbacks* are the fallback channels by route."""

    hours: BusinessHours
    links: LinkSettings
    fallbacks: Mapping[str, str]


@dataclass(frozen=True)
class ReviewService:
    """Posts a route's review when it is due, and marks it as reviewed.

    Each attempt is saved by compare-and-set before it is made, so a second worker sees it, and after a
    crash the next worker can check whether it arrived. Every method may raise StoreError.
    """

    reviews: RedisReviews
    incidents: RedisIncidents
    dispatcher: Dispatcher
    rate_limiter: RateLimiter
    settings: ReviewSettings

    def next_due_at(self, route: Route, now: float) -> float:
        """Return when to call `run_due` next: *now* for a route that was never checked."""
        state = self.reviews.load_reviews(model.review_group_id(route.name)).state
        if state is None:
            return now
        found = (
            at for record in state.records for at in (record.find_post_at(now), record.find_edit_at(now))
        )
        times = [at for at in found if at is not None]
        if state.pending is None:  # else the next review waits until that one is posted
            times.append(next_business_day_start(self.settings.hours, state.checked_at))
        return max(now, min(times))

    def run_due(self, route: Route, now: float) -> float:
        """Do what is due on *route*; return when to call this again.

        A failed delivery is saved and retried later, not raised. The first call for a route only records the
        start of its first review. Raises LeaseLost.
        """
        for _ in range(_STEPS_AT_MOST):
            if (wait_s := self._run_step(route, now)) > 0:
                return now + wait_s
            if (due_at := self.next_due_at(route, now)) > now:
                return due_at
        return now

    def mark_reviewed(self, review_id: str, by: Person, now: float) -> model.ReviewRecord:
        """Record that *by* has reviewed it, and show that in its message. Raises NotFound.

        The first person counts; the second time changes nothing. The mark is saved when this returns;
        if the edit in Slack failed, the record's `find_edit_at` says when `run_due` is to retry.
        """
        group_id = review_id.partition("-")[0]

        def mark(record: model.ReviewRecord) -> model.ReviewRecord:
            return record if record.is_reviewed else replace(record, reviewed_by=by, reviewed_at=now)

        record = self.reviews.update_record(group_id, review_id, mark)
        if record is None:
            raise NotFound("review", review_id)
        if not _is_ready(record.find_edit_at(now), now) or self._find_wait_s(record, now) > 0:
            return record
        try:
            self._dispatch(group_id, record)
        except LeaseLost as error:  # the task repeats the edit
            logger.info("claim lost", extra={"fields": {"review": review_id, "error": str(error)}})
        return self.reviews.load_reviews(group_id).find_record(review_id) or record

    # --- one step ---

    def _run_step(self, route: Route, now: float) -> float:
        """Do one action; return 0, or the seconds it must wait for its permit."""
        loaded = self.reviews.load_reviews(model.review_group_id(route.name))
        state = loaded.state
        if state is None:
            self.reviews.save_if_unchanged(loaded, model.ReviewState(since=now, checked_at=now))
            return 0.0
        to_edit = [record for record in state.records if _is_ready(record.find_edit_at(now), now)]
        to_post = [state.pending] if state.pending and _is_ready(state.pending.find_post_at(now), now) else []
        for record in (*to_edit, *to_post):
            wait_s = self._find_wait_s(record, now)
            if wait_s <= 0:
                self._dispatch(loaded.group_id, record)
            return wait_s
        if state.pending is None and next_business_day_start(self.settings.hours, state.checked_at) <= now:
            incidents = self._list_incidents(state.since - model.STORING_S)
            review = model.gather_review(incidents, route.name, route.channel, state.since, now)
            checked = state.with_review(review) if review else replace(state, since=now, checked_at=now)
            if self.reviews.save_if_unchanged(loaded, checked) and review is None:
                logger.info("nothing to review", extra={"fields": {"route": route.name}})
        return 0.0

    def _find_wait_s(self, record: model.ReviewRecord, now: float) -> float:
        """Return the seconds that the review's post or edit must wait for its permit."""
        priority = min(record.reviewed_at or record.review.until, now) + LOW_PRIORITY_OFFSET_S
        action, waiter = _build_action(record), f"review {record.id}"
        return self.rate_limiter.acquire_by_priority(action, waiter, priority, now).retry_after_s

    def _list_incidents(self, since: float) -> Iterator[Incident]:
        """Yield incidents newest first: all opened after *since*, and unresolved older ones."""
        states: frozenset[str] = frozenset()
        cursor = ""
        for _ in range(_SCANNED_AT_MOST // _PAGE):
            page = self.incidents.list_newest(states=states, limit=_PAGE, cursor=cursor)
            yield from page.incidents
            if page.next_cursor is None:
                return
            cursor = page.next_cursor
            if page.incidents and page.incidents[-1].opened_at < since:
                states = _OPEN
        logger.warning("too many incidents for one review", extra={"fields": {"scanned": _SCANNED_AT_MOST}})

    def _dispatch(self, group_id: str, record: model.ReviewRecord) -> None:
        """Post the review, or edit its message to show the current state."""
        settings = self.settings
        links = (*settings.links.more.get(record.review.route, ()), *settings.links.more.get("", ()))
        notification = model.ReviewNotification(
            _build_action(record), record, settings.hours.zone, settings.links.public_url, links
        )
        fallback = settings.fallbacks.get(record.review.route, "")
        self.dispatcher.dispatch(ReviewSubject(self.reviews, group_id, record, fallback), notification, "")


@dataclass(frozen=True)
class ReviewSubject:
    """A review as the subject of one delivery: its message, or the edit of its message."""

    reviews: RedisReviews
    group_id: str
    record: model.ReviewRecord
    fallback: str

    def find_delivery(self, key: DeliveryKey) -> Delivery:
        return self.record.find_delivery(key)

    def save_attempt(self, action: DeliveryAction, attempt: Delivery, worker: str) -> bool:
        """Save the attempt by compare-and-set, which decides between two workers; not by a lease."""
        del worker
        loaded = self.reviews.load_reviews(self.group_id)
        if loaded.state is None or loaded.find_record(self.record.id) != self.record:
            return False
        changed = self.record.with_delivery(action.key, attempt)
        return self.reviews.save_if_unchanged(loaded, loaded.state.with_record(changed))

    def save_outcome(self, action: DeliveryAction, after: Delivery) -> None:
        """Save the delivery. A post that failed permanently goes to the fallback channel, once."""

        def change(record: model.ReviewRecord) -> model.ReviewRecord:
            is_redirected = isinstance(action, Post) and after.failed_at > 0
            if is_redirected and self.fallback not in ("", record.review.channel):
                review = replace(record.review, channel=self.fallback)
                return replace(record, review=review, delivery=Delivery())
            return record.with_delivery(action.key, after)

        self.reviews.update_record(self.group_id, self.record.id, change)


def _build_action(record: model.ReviewRecord) -> Post | Update:
    """Return the review's edit where it is posted, else its post."""
    target, version = Target(SLACK, record.review.channel), record.posted_state
    if (receipt := record.delivery.receipt) is None:
        return Post(key=DeliveryKey("review"), instance=record.id, target=target, content_version=version)
    message = receipt.reference
    return Update(key=UPDATE, instance=record.id, target=target, content_version=version, message=message)


def _is_ready(timestamp: float | None, now: float) -> bool:
    return timestamp is not None and timestamp <= now
