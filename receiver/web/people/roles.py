"""Which role somebody has whom a proxy or a provider names."""

from __future__ import annotations

from collections.abc import Iterable

from receiver.config.settings import Settings
from receiver.web.people.visitor import Role, mark_group, mark_name

_GROUP = "group:"


class Roles:
    """Reads RECEIVER_RESPONDERS and RECEIVER_VIEWERS.

    A group is only what is written as one. Otherwise whoever may choose their own name would choose that of
    the responders' group.
    """

    def __init__(self, settings: Settings) -> None:
        self._responders = frozenset(map(_read, settings.responders))
        self._viewers = frozenset(map(_read, settings.viewers))

    def find(self, marks: Iterable[str]) -> Role | None:
        """Return the role of somebody with *marks*; None for those who may not come in."""
        have = frozenset(marks)
        if not self._responders or have & self._responders:
            return Role.RESPONDER
        return Role.VIEWER if not self._viewers or have & self._viewers else None

    def list_known(self, marks: Iterable[str]) -> list[str]:
        """Return those of *marks* that decide anything, the responders' first."""
        have = frozenset(marks)
        return [*sorted(have & self._responders), *sorted(have & self._viewers - self._responders)]


def _read(word: str) -> str:
    group = word.removeprefix(_GROUP)
    return mark_name(word) if group == word else mark_group(group.strip())
