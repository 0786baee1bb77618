"""How a process stands to its configuration: which one is in force there, and why a newer one is not."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from receiver.errors import Problem
from receiver.text import one_line

MAX_ERROR = 500


class ConfigState(Struct, frozen=True):
    """The configuration in force was loaded at *loaded_at*. *error* says why a newer one was refused, at
    *refused_at*; empty where none was.
    """

    loaded_at: float
    refused_at: float = 0.0
    error: str = ""

    def with_refusal(self, problems: Sequence[Problem], now: float) -> ConfigState:
        """Return how the process stands after it refused another one for *problems*."""
        return ConfigState(self.loaded_at, now, describe_problems(problems))


def describe_problems(problems: Sequence[Problem]) -> str:
    """Return the first of *problems*, and how many more there are, on one line."""
    first = one_line(str(problems[0]), MAX_ERROR) if problems else "it can't be read"
    more = len(problems) - 1
    if more < 1:
        return first
    return f"{first} (and {more} more {'fault' if more == 1 else 'faults'})"
