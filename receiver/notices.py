"""Notices: problems of the receiver itself, each posted once to the channel that `notices` names."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from receiver import metrics
from receiver.engine.dispatcher import Dispatcher
from receiver.engine.notification import Notification, SubjectId
from receiver.engine.rate_limit import LOW_PRIORITY_OFFSET_S, RateLimiter
from receiver.model.actions import DeliveryAction, Post
from receiver.model.delivery import CLOCKS_DIFFER_S, Delivery
from receiver.model.delivery_keys import DeliveryKey
from receiver.model.routing import Target
from receiver.storage.connection import Client, Scripts, store_errors
from receiver.storage.keys import NOTICE_FOR_S, TASKS, WAKE, Keys, shard_of
from receiver.storage.script_clock import BY_WALL_CLOCK, ScriptClock
from receiver.text import one_line

# Problems come in large numbers: a revoked token fails a thousand deliveries within minutes.
LINES = 10
_KINDS = 5
MAX_LINE = 300
MAX_ABOUT = 120
# Wait to collect more notices into the first message, and pause so that few messages follow.
GATHER_S = 1.0
PAUSE_S = 60.0
# A notice that could not be posted for a day is dropped.
KEPT_FOR_S = 86400.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 5.0, 300.0


class Notice(Struct, frozen=True, omit_defaults=True):
    """One problem. `about` groups the notices that are only counted because there are too many."""

    text: str
    at: float
    about: str = ""
    repeats: int = 0  # how often it occurred since it was last posted

    @property
    def line(self) -> str:
        more = f" (and {self.repeats} more since the last notice)" if self.repeats else ""
        return one_line(self.text, MAX_LINE) + more


class NoticeMessage(Struct, frozen=True, omit_defaults=True):
    """The state of the current message: the notices in it, its lines, and its delivery."""

    id: str = ""
    names: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    delivery: Delivery = Delivery()
    posted_at: float = 0.0  # when the previous message was posted

    def find_next_attempt_at(self, now: float) -> float:
        """Return when to post or retry; at once if the clock was set back since the previous message."""
        if self.delivery.attempts:
            return self.delivery.find_next_attempt_at(now)
        return self.posted_at + PAUSE_S if 0 < self.posted_at <= now + CLOCKS_DIFFER_S else 0.0


@dataclass(frozen=True)
class NoticeNotification(Notification):
    """The message of all pending notices."""

    message: NoticeMessage

    noun: ClassVar[str] = "Notice"

    @property
    def subject(self) -> SubjectId:
        return SubjectId("notice", self.message.id)

    def find_notice_title(self, after: Delivery) -> str:  # noqa: ARG002  # that of the base
        """Return no title: a notice about a notice would fail in the same way."""
        return ""


def render_lines(notices: Sequence[Notice], left_out: int = 0) -> tuple[str, ...]:
    """Return the lines of one message: the first ten of *notices*, the rest counted by their `about`."""
    lines = [notice.line for notice in notices[:LINES]]
    rest = Counter(one_line(notice.about, MAX_ABOUT) or "others" for notice in notices[LINES:])
    lines += [f"{count} more: {about}" for about, count in rest.most_common(_KINDS)]
    left_out += sum(count for _, count in rest.most_common()[_KINDS:])
    return (*lines, f"{left_out} more of other kinds") if left_out else tuple(lines)


TASK_NAME = "notices"
_MAX_NOTICES = 5_000
_LEFT_OUT = b"+"
_encoder = msgspec.msgpack.Encoder()
_notice_decoder = msgspec.msgpack.Decoder(Notice)
_message_decoder = msgspec.msgpack.Decoder(NoticeMessage)


class RedisNotices:
    """Stores notices. Every method raises StoreError when Redis is unavailable.

    Without a channel for notices (*is_wanted* is false), none is saved.
    """

    def __init__(
        self,
        client: Client,
        *,
        is_wanted: bool = True,
        shards: int = 1,
        script_clock: ScriptClock = BY_WALL_CLOCK,
    ) -> None:
        self._redis = client
        self._script_clock = script_clock
        self._scripts = Scripts(client)
        self._is_wanted = is_wanted
        self._keys = Keys(shard_of(TASK_NAME, shards))

    def save_notice(
        self, notice_id: str, text: str, now: float, *, about: str = "", every: float = 0.0, count: int = 1
    ) -> bool:
        """Save a notice to be posted; False where one with that *notice_id* was saved before.

        With *every* (seconds), it may be posted again after that time, with the number of occurrences
        (*count* each) since.
        """
        if not self._is_wanted:
            return False
        name = hashlib.sha256(notice_id.encode("utf-8", "replace")).hexdigest()[:32]
        notice = Notice(one_line(text, MAX_LINE), now, one_line(about, MAX_ABOUT))
        with store_errors():
            reply = self._scripts.run_script(
                "save_notice",
                [self._keys.notice(name), self._keys.notices, self._keys.queue(TASKS)],
                [
                    f"{now:.3f}",
                    every,
                    NOTICE_FOR_S,
                    name,
                    _encoder.encode(notice),
                    _MAX_NOTICES,
                    int(KEPT_FOR_S),
                    count,
                    TASK_NAME,
                    self._script_clock.format_time(now),
                    WAKE,
                    TASKS,
                ],
            )
        return bool(reply)

    def list_pending(self) -> tuple[dict[str, Notice], int]:
        """Return the pending notices by name, oldest first, and how many more exceeded the limit."""
        with store_errors():
            packed = self._redis.hgetall(self._keys.notices)
        left_out = int(packed.pop(_LEFT_OUT, 0))
        found = {name.decode(): _decode_notice(one) for name, one in packed.items()}
        return dict(sorted(found.items(), key=lambda item: item[1].at)), left_out

    def load_message(self) -> NoticeMessage:
        """Return the state of the current message."""
        with store_errors():
            packed = self._redis.get(self._keys.notice_message)
        return _message_decoder.decode(packed) if packed else NoticeMessage()

    def save_message(self, message: NoticeMessage) -> None:
        """Save the state of the current message."""
        with store_errors():
            self._redis.set(self._keys.notice_message, _encoder.encode(message), ex=NOTICE_FOR_S)

    def complete_message(self, message: NoticeMessage, *, left_out: int = 0) -> None:
        """Delete the notices of *message* and start the next one."""
        names = (*message.names, *((_LEFT_OUT,) if left_out else ()))
        after = _encoder.encode(NoticeMessage(posted_at=message.posted_at))
        with store_errors():
            self._scripts.run_script(
                "complete_notices",
                [self._keys.notices, self._keys.notice_message],
                [after, NOTICE_FOR_S, *names],
            )


def _decode_notice(packed: bytes) -> Notice:
    repeats, _, notice = packed.partition(b" ")
    return replace(_notice_decoder.decode(notice), repeats=int(repeats))


# Minimum time between two notices about rejected webhooks, for each topic.
REJECTIONS_EVERY_S = 3600.0


class RejectedWebhooks:
    """Counts the webhooks that are lost, by topic, for one notice an hour about each. Threads may share it.

    Alertmanager drops a webhook that is answered 4xx.
    """

    def __init__(self, notices: RedisNotices, clock: Callable[[], float]) -> None:
        self._notices = notices
        self._clock = clock
        self._lock = threading.Lock()
        self._texts: dict[str, str] = {}
        self._unsaved: Counter[str] = Counter()

    def record_rejection(self, reason: str, sender: str, topic: str = "webhooks refused") -> None:
        """Count a rejected webhook in memory; does no I/O, since the response must not wait for Redis."""
        who, why = one_line(sender, 60), one_line(reason, 200)
        with self._lock:
            self._texts[topic] = f"A webhook from {who} was refused, and its alerts are lost: {why}"
            self._unsaved[topic] += 1

    def save_notices(self) -> None:
        """Save the notices about what was counted since the last call. On a StoreError the counts stay in
        memory, and it is raised.
        """
        with self._lock:
            unsaved, self._unsaved = self._unsaved, Counter()
        try:
            for topic in list(unsaved):
                count, text, now = unsaved[topic], self._texts[topic], self._clock()
                self._notices.save_notice(
                    topic, text, now, about=topic, every=REJECTIONS_EVERY_S, count=count
                )
                del unsaved[topic]
        finally:
            with self._lock:
                self._unsaved += unsaved


logger = logging.getLogger(__name__)
# Every saved notice enqueues the task; this interval covers a lost enqueue.
_IDLE_S = 3600.0


@dataclass(frozen=True)
class NoticeService:
    """Posts the pending notices to *target*, when the rate limit permits.

    The attempt is saved before it is made, so after a crash the next one checks whether it arrived.
    """

    notices: RedisNotices
    dispatcher: Dispatcher
    rate_limiter: RateLimiter
    target: Target
    clock: Callable[[], float]

    def run_due(self, now: float) -> float:
        """Post the pending notices, if due; return when to call this again. Raises StoreError, LeaseLost."""
        message = self.notices.load_message()
        if (next_attempt_at := message.find_next_attempt_at(now)) > now:
            return next_attempt_at
        pending, left_out = self._drop_old(now)
        delivery = message.delivery
        if not pending:
            if delivery.attempts:
                self.notices.complete_message(replace(message, posted_at=0.0))
            return now + _IDLE_S
        wanted_at = next(iter(pending.values())).at
        # A notice from a host whose clock is ahead has waited for an unknown time: post it now.
        if 0 <= now - wanted_at < GATHER_S and not delivery.attempts:
            return wanted_at + GATHER_S
        action = Post(key=DeliveryKey("notice"), target=self.target)
        priority = min(wanted_at, now) + LOW_PRIORITY_OFFSET_S
        permit = self.rate_limiter.acquire_by_priority(action, TASK_NAME, priority, now)
        if permit.retry_after_s > 0:
            return now + permit.retry_after_s
        if not delivery.maybe_sent:  # otherwise the channel searches for the same message
            message = _build_message(message, pending, left_out)
        subject = NoticeSubject(self.notices, message, left_out, self.clock)
        self.dispatcher.dispatch(subject, NoticeNotification(action, message), "")
        return subject.message.find_next_attempt_at(now)

    def _drop_old(self, now: float) -> tuple[dict[str, Notice], int]:
        """Drop the notices that could not be posted for a day; return the others as `list_pending` does."""
        pending, left_out = self.notices.list_pending()
        old = tuple(name for name, notice in pending.items() if notice.at < now - KEPT_FOR_S)
        if old:
            metrics.NOTICES.labels("dropped").inc(len(old))
            logger.error("notices dropped", extra={"fields": {"count": len(old)}})
            before = self.notices.load_message()
            self.notices.complete_message(NoticeMessage(names=old, posted_at=before.posted_at))
        return {name: notice for name, notice in pending.items() if name not in old}, left_out


@dataclass
class NoticeSubject:
    """The current message of notices as the subject of its delivery; *message* is its latest state."""

    notices: RedisNotices
    message: NoticeMessage
    left_out: int
    clock: Callable[[], float]

    def find_delivery(self, key: DeliveryKey) -> Delivery:
        del key
        return self.message.delivery

    def save_attempt(self, action: DeliveryAction, attempt: Delivery, worker: str) -> bool:
        """Save the attempt; only the worker with the lease of the task posts notices."""
        del action, worker
        self._save_delivery(attempt)
        return True

    def save_outcome(self, action: DeliveryAction, after: Delivery) -> None:
        """Delete the posted notices, or save when to retry: also after a permanent error, since an operator
        may fix it within a day.
        """
        del action
        if after.receipt is None:
            wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(after.attempts - 1, 10))
            retry_at = max(after.retry_at, self.clock() + wait_s)
            self._save_delivery(replace(after.with_retry_allowed(), retry_at=retry_at))
            return
        outcome = "simulated" if after.receipt.is_simulated else "delivered"
        metrics.NOTICES.labels(outcome).inc(len(self.message.names))
        posted = replace(self.message, posted_at=after.receipt.at)
        self.notices.complete_message(posted, left_out=self.left_out)
        self.message = NoticeMessage(posted_at=after.receipt.at)

    def _save_delivery(self, delivery: Delivery) -> None:
        self.message = replace(self.message, delivery=delivery)
        self.notices.save_message(self.message)


def _build_message(message: NoticeMessage, pending: dict[str, Notice], left_out: int) -> NoticeMessage:
    """Return the message for all pending notices; attempts to post an earlier version of it count."""
    names = tuple(pending)
    message_id = hashlib.sha256("/".join((*names, str(left_out))).encode()).hexdigest()[:16]
    return replace(message, id=message_id, names=names, lines=render_lines(list(pending.values()), left_out))
