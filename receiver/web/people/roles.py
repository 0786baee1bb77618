"""Which role somebody has whom a proxy or a provider names."""

from __future__ import annotations

from collections.abc import Iterable

from receiver.config.settings import Settings
from receiver.web.people.visitor import Role, group_attribute, name_attribute

_GROUP = "group:"


class Roles:
    """Reads RECEIVER_RESPONDERS and RECEIVER_VIEWERS.

    A group is only what is written as one. Otherwise whoever may choose their own name would choose that of
    the responders' group.
    """

    def __init__(self, settings: Settings) -> None:
        self._responders = frozenset(map(_parse_entry, settings.responders))
        self._viewers = frozenset(map(_parse_entry, settings.viewers))

    def find_role(self, attributes: Iterable[str]) -> Role | None:
        """Return the role of somebody with *attributes*; None for those who may not come in."""
        given = frozenset(attributes)
        if not self._responders or given & self._responders:
            return Role.RESPONDER
        return Role.VIEWER if not self._viewers or given & self._viewers else None

    def list_known(self, attributes: Iterable[str]) -> list[str]:
        """Return those of *attributes* that decide anything, the responders' first."""
        given = frozenset(attributes)
        return [*sorted(given & self._responders), *sorted(given & self._viewers - self._responders)]


def _parse_entry(word: str) -> str:
    group = word.removeprefix(_GROUP)
    return name_attribute(word) if group == word else group_attribute(group.strip())
