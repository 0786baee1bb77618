"""Maintenance: a time in which nobody is paged, at somebody's word."""

from __future__ import annotations

from msgspec import Struct

LONGEST_S = 7 * 86400.0


class Maintenance(Struct, frozen=True, omit_defaults=True):
    """Nobody is paged from *since* to *until*, unless somebody ends it before."""

    since: float
    until: float
    by: str
    comment: str = ""
    ended_at: float = 0.0
    ended_by: str = ""

    def is_in_force(self, now: float) -> bool:
        """Tell whether it holds at *now*; it does not begin later than it was asked for."""
        return not self.ended_at and now < self.until

    def name(self, now: float) -> str:
        """Return a short text that differs whenever there is something new to be told of it."""
        return f"{self.since:.3f}-{self.until:.3f}-{'on' if self.is_in_force(now) else 'over'}"
