"""What became of a notification: attempts, receipts, and when to try again."""

from __future__ import annotations

import zlib

from msgspec import Struct

# The contract of every channel: quick tries first, for a blip; then patience.
_FIRST_WAITS_S = (0.5, 1.0, 2.0, 4.0)
_NEXT_WAIT_S = 5.0
_NEXT_WAIT_FOR_S = 120.0
_LAST_WAIT_S = 30.0
_JITTER = 0.2


class Receipt(Struct, frozen=True, omit_defaults=True):
    """It arrived. *reference* is the channel's own name for it (`C024BE91L:1503435956.000247`)."""

    at: float
    reference: str = ""
    is_simulated: bool = False
    link: str = ""  # where a person can see it
    note: str = ""  # what was given up to get it through, e.g. the formatting


class Delivery(Struct, frozen=True, omit_defaults=True):
    """How the latest instance of one notification stands.

    The key names the kind of notification within its incident (`root`, `page:on-call`), and
    *about* which instance of it: a run of the escalation, a state shown. So an incident keeps
    few deliveries however long it lives.
    """

    about: str = ""
    target: str = ""  # kind:address, without secrets
    attempts: int = 0
    first_attempt_at: float = 0.0
    last_attempt_at: float = 0.0
    is_open: bool = False  # an attempt was noted, its end was not: it may have been sent
    retry_at: float = 0.0
    reason: str = ""
    detail: str = ""
    failed_at: float = 0.0  # given up for good
    receipt: Receipt | None = None

    @property
    def is_settled(self) -> bool:
        return self.receipt is not None or self.failed_at > 0

    @property
    def may_have_arrived(self) -> bool:
        """It has a receipt, or an attempt whose end nobody knows."""
        return self.receipt is not None or self.is_open


def next_try_at(delivery: Delivery, now: float, retry_after: float = 0.0, salt: str = "") -> float:
    """Return when to try again after the attempt that failed at *now*.

    0.5, 1, 2, 4 s, then every 5 s for two minutes, then every 30 s, each ± 20 %; never before
    *retry_after* seconds. The spread comes from *salt* and the count, so it is repeatable.
    """
    n = delivery.attempts
    if n <= len(_FIRST_WAITS_S):
        wait = _FIRST_WAITS_S[max(0, n - 1)]
    elif now - delivery.first_attempt_at < _NEXT_WAIT_FOR_S:
        wait = _NEXT_WAIT_S
    else:
        wait = _LAST_WAIT_S
    spread = zlib.crc32(f"{salt}/{n}".encode()) / 0xFFFFFFFF * 2 - 1
    return now + max(wait * (1 + _JITTER * spread), retry_after)
