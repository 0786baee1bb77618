"""Silences as people ask for them: whether there can be one, and the same wish only once."""

from __future__ import annotations

from collections.abc import Callable

from receiver.domain.incident import Incident, SilenceNote
from receiver.domain.person import Person
from receiver.engine.hands import Hands

# Slack's requests are taken for five minutes; the same wish come again within them is no second one.
REPEATED_WITHIN_S = 300.0


class Silencer:
    """Wishes for silences. *can_silence* tells whether there is an Alertmanager for an incident."""

    def __init__(self, hands: Hands, can_silence: Callable[[Incident], bool]) -> None:
        self._hands = hands
        self._can_silence = can_silence

    def refuse(self, incident: Incident) -> str:
        """Return why there can be no silence; empty when there can."""
        if incident.is_resolved:
            return "It is resolved: there is nothing to silence"
        return "" if self._can_silence(incident) else "No Alertmanager is configured that could silence it"

    def silence(self, incident: Incident, by: Person, for_s: float, comment: str, now: float) -> None:
        """Wish for a silence of *for_s* seconds (0: until it resolves), unless just that is wished for."""
        if not any(_is_same(note, by, for_s, comment, now) for note in incident.silences):
            self._hands.silence(incident.id, by, for_s, comment, now)


def _is_same(note: SilenceNote, by: Person, for_s: float, comment: str, now: float) -> bool:
    length = note.until - note.wished_at if note.until else 0.0
    is_alike = (note.by, note.comment) == (by.name, comment) and abs(length - for_s) < 1.0
    return is_alike and note.is_wanted(now) and now - note.wished_at <= REPEATED_WITHIN_S
