"""Notices in Redis: those to be posted, what was said before, and how the message under way stands."""

from __future__ import annotations

import hashlib

import msgspec
from msgspec.structs import replace

from receiver.domain.notice import KEPT_FOR_S, MAX_ABOUT, MAX_LINE, Notice, NoticeMessage
from receiver.storage.connection import Client, Scripts, store_errors
from receiver.storage.keys import NOTICE_FOR_S, TASKS, WAKE, Keys, shard_of
from receiver.storage.timestamps import BY_WALL_CLOCK, Moments
from receiver.text import one_line

TASK_NAME = "notices"
_MAX_NOTICES = 5_000
_LEFT_OUT = b"+"
_encoder = msgspec.msgpack.Encoder()
_notice_decoder = msgspec.msgpack.Decoder(Notice)
_message_decoder = msgspec.msgpack.Decoder(NoticeMessage)


class RedisNotices:
    """Keeps notices. Every method raises StoreError when Redis can't do it.

    Where there is no channel for them (*is_wanted* is false), none is kept.
    """

    def __init__(
        self,
        client: Client,
        *,
        is_wanted: bool = True,
        shards: int = 1,
        moments: Moments = BY_WALL_CLOCK,
    ) -> None:
        self._redis = client
        self._moments = moments
        self._scripts = Scripts(client)
        self._is_wanted = is_wanted
        self._keys = Keys(shard_of(TASK_NAME, shards))

    def save_notice(
        self,
        notice_id: str,
        text: str,
        now: float,
        *,
        about: str = "",
        every: float = 0.0,
        count: int = 1,
    ) -> bool:
        """Keep a notice and have it posted; False where one of that *notice_id* was said before.

        With *every*, it may be said again after so many seconds, with how many came meanwhile.
        """
        if not self._is_wanted:
            return False
        name = hashlib.sha256(notice_id.encode("utf-8", "replace")).hexdigest()[:32]
        notice = Notice(one_line(text, MAX_LINE), now, one_line(about, MAX_ABOUT))
        with store_errors():
            reply = self._scripts.run(
                "notice",
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
                    self._moments.at(now),
                    WAKE,
                    TASKS,
                ],
            )
        return bool(reply)

    def list_pending(self) -> tuple[dict[str, Notice], int]:
        """Return the notices to be posted by name, oldest first, and how many more there were to keep."""
        with store_errors():
            packed = self._redis.hgetall(self._keys.notices)
        left_out = int(packed.pop(_LEFT_OUT, 0))
        found = {name.decode(): _unpack(one) for name, one in packed.items()}
        return dict(sorted(found.items(), key=lambda item: item[1].at)), left_out

    def load_message(self) -> NoticeMessage:
        """Return how the message under way stands."""
        with store_errors():
            packed = self._redis.get(self._keys.notice_message)
        return _message_decoder.decode(packed) if packed else NoticeMessage()

    def save_message(self, message: NoticeMessage) -> None:
        """Keep how the message under way stands."""
        with store_errors():
            self._redis.set(self._keys.notice_message, _encoder.encode(message), ex=NOTICE_FOR_S)

    def complete_message(self, message: NoticeMessage, *, left_out: int = 0) -> None:
        """Forget the notices of *message*, and begin another."""
        with store_errors(), self._redis.pipeline(transaction=True) as pipe:
            if message.names:
                pipe.hdel(self._keys.notices, *message.names)
            if left_out:
                pipe.hdel(self._keys.notices, _LEFT_OUT)
            after = _encoder.encode(NoticeMessage(posted_at=message.posted_at))
            pipe.set(self._keys.notice_message, after, ex=NOTICE_FOR_S)
            pipe.execute()


def _unpack(packed: bytes) -> Notice:
    repeats, _, notice = packed.partition(b" ")
    return replace(_notice_decoder.decode(notice), repeats=int(repeats))
