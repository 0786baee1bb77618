"""Notices: the receiver's own troubles, each said once in the channel that `notices` names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from receiver.model.delivery import Receipt
from receiver.text import one_line

# Troubles come in swarms: a revoked token fails a thousand deliveries within minutes.
LINES = 10
_KINDS = 5
MAX_LINE = 300
MAX_ABOUT = 120
# So that the swarm's first message holds more than its first trouble, and that few follow.
GATHER_S = 1.0
PAUSE_S = 60.0
# What could not be said for a day is no news.
KEPT_FOR_S = 86400.0
# By then an attempt is over, or whoever made it is dead; Slack is given ten seconds to answer.
IN_FLIGHT_S = 15.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 5.0, 300.0


class Notice(Struct, frozen=True, omit_defaults=True):
    """One trouble. *about* is what it is counted under where there are too many to be said one by one."""

    text: str
    at: float
    about: str = ""
    repeats: int = 0  # how often the same came since it was said last


class NoticeMessage(Struct, frozen=True, omit_defaults=True):
    """How the message under way stands: which notices it holds, what it says, and its attempts."""

    id: str = ""
    names: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    attempts: int = 0
    began_at: float = 0.0
    tried_at: float = 0.0
    retry_at: float = 0.0
    maybe_sent: bool = False
    posted_at: float = 0.0  # when the last one was posted

    @property
    def next_attempt_at(self) -> float:
        """When to go on; an attempt whose end nobody noted may still be under way."""
        if not self.attempts:
            return self.posted_at + PAUSE_S if self.posted_at else 0.0
        return self.retry_at or self.tried_at + IN_FLIGHT_S


class Notices(Protocol):
    """Keeps notices until they are posted."""

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

        With *every*, it may be said again after so many seconds. Raises StoreError.
        """
        ...


class NoticeChannel(Protocol):
    """Posts notices, once for each call; both raise a DeliveryError."""

    def send_notice(self, message: NoticeMessage) -> Receipt: ...
    def find_notice(self, message: NoticeMessage) -> Receipt | None: ...


def render_lines(notices: Sequence[Notice], left_out: int = 0) -> tuple[str, ...]:
    """Return what one message says of *notices*: the first ten, the rest counted by what they are about."""
    lines = [_line(notice) for notice in notices[:LINES]]
    rest = Counter(one_line(notice.about, MAX_ABOUT) or "others" for notice in notices[LINES:])
    lines += [f"{count} more: {about}" for about, count in rest.most_common(_KINDS)]
    left_out += sum(count for _, count in rest.most_common()[_KINDS:])
    return (*lines, f"{left_out} more of other kinds") if left_out else tuple(lines)


def next_wait_s(attempts: int) -> float:
    """Return the seconds to wait after so many attempts: 5 s, doubled each time, five minutes at most."""
    return min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(attempts - 1, 10))


def _line(notice: Notice) -> str:
    more = f" (and {notice.repeats} more since the last notice)" if notice.repeats else ""
    return one_line(notice.text, MAX_LINE) + more
