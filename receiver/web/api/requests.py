"""The request types of the API; requests are parsed, and the OpenAPI document is generated, from them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal, TypeVar, get_args, get_type_hints

import msgspec
from msgspec import Meta, Struct

from receiver.text import one_line
from receiver.web.server.errors import RequestError

Q = TypeVar("Q", bound=Struct)
HIGHEST_LIMIT = 200
MAX_VIA = 40
_DURATION = (
    "^(0|(?=.)" + "".join(f"([0-9]{{1,9}}{unit})?" for unit in ("y", "w", "d", "h", "m", "s", "ms")) + ")$"
)
_EXPECTED = "expected"  # in a field's `extra`: what the error message says was expected


def _meta(description: str, expected: str, **limits: Any) -> Meta:
    return Meta(description=description, extra={_EXPECTED: expected}, **limits)


Limit = Annotated[
    int, _meta("The maximum number of rows.", f"a number from 1 to {HIGHEST_LIMIT}", ge=1, le=HIGHEST_LIMIT)
]
_CURSOR = ("The `next_cursor` of the page before.", "the next_cursor of the page before")
Cursor = Annotated[str, _meta(*_CURSOR, pattern=r"^([0-9]{1,12}\.[0-9]{3}_[0-9a-z-]{1,64})?$")]
AlertName = Annotated[str, Meta(description="Only those of this alert name.")]


class EmptyRequest(Struct, frozen=True):
    """No parameters beside the path."""


class ListQuery(Struct, frozen=True):
    """Which incidents to list."""

    state: Annotated[
        Literal["open", "acknowledged", "resolved", ""],
        _meta("Only those in this state; `open` includes acknowledged.", "open, acknowledged or resolved"),
    ] = ""
    severity: Annotated[
        Literal["critical", "error", "warning", "info", "none", ""],
        _meta("Only those of this severity.", "critical, error, warning, info or none"),
    ] = ""
    alertname: AlertName = ""
    limit: Limit = 50
    cursor: Cursor = ""


_SINCE = [{"format": "date-time"}, {"format": "date"}, {"pattern": _DURATION}, {"maxLength": 0}]


class HistoryQuery(Struct, frozen=True):
    """Which incidents of the past to list."""

    alertname: AlertName = ""
    since: Annotated[
        str,
        Meta(
            description="Only those that opened at or after this: a moment in RFC 3339, a day (UTC), or a "
            "duration back from now, like `7d`.",
            extra_json_schema={"anyOf": _SINCE},
        ),
    ] = ""
    limit: Limit = 50
    cursor: Cursor = ""


class FailureQuery(Struct, frozen=True):
    """Which deliveries to list."""

    state: Annotated[Literal["failed"], _meta("Only those in this state.", "failed")] = "failed"
    limit: Limit = 50
    cursor: Annotated[
        str, _meta(*_CURSOR, pattern=r"^([0-9]{1,12}\.[0-9]{3}_[0-9a-z-]{1,64}_([0-9a-f]{2}){1,400})?$")
    ] = ""


_BY = (
    "Your name, for the timeline and Slack; ignored for a user who signed in or is named by a trusted proxy."
)


class ActorFields(Struct, frozen=True, kw_only=True):
    """Who acts."""

    by: Annotated[str | None, Meta(description=_BY)] = None
    via: Annotated[
        Annotated[str, Meta(max_length=MAX_VIA)] | None,
        Meta(description="Where the request comes from; `api` if left out."),
    ] = None


class SnoozeRequest(ActorFields, frozen=True, kw_only=True):
    """Who snoozes it, and for how long."""

    for_: Annotated[
        str,
        Meta(
            description="How long, a year at most.", examples=["1h"], extra_json_schema={"pattern": _DURATION}
        ),
    ] = msgspec.field(name="for")


class CreateSilenceRequest(SnoozeRequest, frozen=True, kw_only=True):
    """Who silences it, for how long, and why."""

    comment: Annotated[
        str | None, Meta(description="The reason, stored with the silence in Alertmanager.")
    ] = None


class StartMaintenanceRequest(ActorFields, frozen=True, kw_only=True):
    """Who starts maintenance, until when, and why: one of `for` and `until`, 7 days at most."""

    for_: Annotated[
        str | None,
        Meta(description="How long.", examples=["2h"], extra_json_schema={"pattern": _DURATION}),
    ] = msgspec.field(name="for", default=None)
    until: Annotated[
        str | None, Meta(description="Until when.", extra_json_schema={"format": "date-time"})
    ] = None
    comment: Annotated[str | None, Meta(description="The reason.")] = None


class EndMaintenanceRequest(Struct, frozen=True):
    """Who ends it."""

    by: Annotated[str, Meta(description="Your name.")] = ""
    via: Annotated[str, _meta("Where the request comes from.", "a word", max_length=MAX_VIA)] = ""


def read_query(kind: type[Q], found: Mapping[str, str]) -> Q:
    """Return the query's known parameters as *kind*; raises RequestError with a message for a bad value."""
    hints = get_type_hints(kind, include_extras=True)
    return kind(
        **{name: _convert_value(name, found[name], hint) for name, hint in hints.items() if name in found}
    )


def read_body(kind: type[Q], body: bytes) -> Q:
    """Return the JSON body as *kind*, an empty one as `{}`; raises RequestError with a message."""
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(
            400, f'the body can\'t be read: {one_line(str(error), 200)}; expected JSON like {{"by": "name"}}'
        ) from None


def _convert_value(name: str, value: str, hint: Any) -> object:
    notes = [note for note in get_args(hint)[1:] if isinstance(note, Meta)]
    # Python's `$`, unlike that of other languages, also matches before a trailing newline.
    ends_early = value.endswith("\n") and any(note.pattern for note in notes)
    with suppress(msgspec.ValidationError):
        if not ends_early:
            return msgspec.convert(value, hint, strict=False)
    expected = (note.extra[_EXPECTED] for note in notes if note.extra)
    raise invalid_value(name, value, next(expected, "another value"))


def invalid_value(name: str, value: str, expected: str) -> RequestError:
    """Return the error for the *value* of a parameter or field *name* that should be as *expected*."""
    return RequestError(400, f"{name} is {one_line(value, 100)!r}, expected {expected}")
