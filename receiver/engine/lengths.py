"""How long somebody wants silence for, as typed or chosen."""

from __future__ import annotations

from collections.abc import Callable

from receiver.clock import parse_duration
from receiver.domain.request import FIELD_CHOICE, FIELD_OWN, UNTIL_OPENING, UNTIL_RESOLVED, ModalSubmit

# What is silenced for longer is a rule to be changed.
MAX_LENGTH_S = 366 * 86400.0


class FormFault(ValueError):
    """A field of a form can't be taken; *field* is its name, the text a sentence for who sent it."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(what)
        self.field = field


def read_length(text: str) -> tuple[float, str]:
    """Return the seconds that *text* says, or 0 and what is wrong with it."""
    words = "".join(text.lower().split())
    if not words:
        return 0.0, "For how long?"
    try:
        seconds = parse_duration(words)
    except ValueError:
        return 0.0, "A time is written like 30m, 2h or 1h30m"
    if not 1.0 <= seconds <= MAX_LENGTH_S:
        return 0.0, "It must be between a second and a year"
    return seconds, ""


def read_form_length(form: ModalSubmit, now: float, next_opening: Callable[[float], float] | None) -> float:
    """Return the seconds a form asks for, 0 until it resolves; an own duration counts before the choice.

    Raises FormFault.
    """
    field, text = (FIELD_OWN, form.own) if form.own else (FIELD_CHOICE, form.choice)
    if field == FIELD_CHOICE and text == UNTIL_RESOLVED:
        return 0.0
    if field == FIELD_CHOICE and text == UNTIL_OPENING and next_opening is not None:
        return max(1.0, next_opening(now) - now)
    seconds, fault = read_length(text)
    if fault:
        raise FormFault(field, fault)
    return seconds
