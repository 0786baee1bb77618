"""How long somebody wants silence for, as typed or chosen: a duration, or the time of day it ends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo

from receiver.clock import parse_duration, parse_time
from receiver.domain.request import (
    FIELD_CHOICE,
    FIELD_CUSTOM,
    UNTIL_BUSINESS_DAY,
    UNTIL_RESOLVED,
    ModalSubmit,
)

# What is silenced for longer is a rule to be changed.
MAX_DURATION_S = 366 * 86400.0
UNTIL = "until"


class FormFieldError(ValueError):
    """A field of a form can't be taken; *field* is its name, the text a sentence for who sent it."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(what)
        self.field = field


def parse_duration_field(text: str, now: float, zone: tzinfo) -> tuple[float, str]:
    """Return the seconds that *text* says, or 0 and what is wrong with it.

    It is a duration like `2h`, or until when in *zone*: `14:00`, `until 14:00`, `2026-11-23T14:00`.
    """
    words = "".join(text.lower().split())
    if not words:
        return 0.0, "For how long?"
    try:
        end = words.removeprefix(UNTIL)
        seconds = parse_time(end, now, zone) - now if ":" in end else parse_duration(words)
    except ValueError:
        return 0.0, f"A time is written like 30m, 2h or 1h30m, or until 14:00 ({zone})"
    if not 1.0 <= seconds <= MAX_DURATION_S:
        return 0.0, "It must be between a second and a year"
    return seconds, ""


def parse_duration_form(
    form: ModalSubmit, now: float, next_business_day_start: Callable[[float], float] | None, zone: tzinfo
) -> float:
    """Return the seconds a form asks for, 0 until it resolves; an own duration counts before the choice.

    Raises FormFault.
    """
    field, text = (FIELD_CUSTOM, form.custom) if form.custom else (FIELD_CHOICE, form.choice)
    if field == FIELD_CHOICE and text == UNTIL_RESOLVED:
        return 0.0
    if field == FIELD_CHOICE and text == UNTIL_BUSINESS_DAY and next_business_day_start is not None:
        return max(1.0, next_business_day_start(now) - now)
    seconds, fault = parse_duration_field(text, now, zone)
    if fault:
        raise FormFieldError(field, fault)
    return seconds
