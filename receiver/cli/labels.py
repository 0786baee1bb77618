"""Labels and annotations as people type them: `NAME=VALUE`."""

from __future__ import annotations

from collections.abc import Sequence

import click


def read_pair(text: str) -> tuple[str, str]:
    """Return `NAME=VALUE` as a pair, for click; quotes around the value are the shell's business."""
    name, equals, value = text.partition("=")
    if not name.strip() or not equals:
        raise click.BadParameter(f"{text!r} is no NAME=VALUE, like severity=critical")
    return name.strip(), value


def collect_pairs(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return pairs as a mapping; raises click's error for a name with two values."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if found.setdefault(name, value) != value:
            raise click.UsageError(f"{name} is given twice, as {found[name]!r} and as {value!r}")
    return found
