"""Who is on call now, in lines for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from receiver.domain.request import TextLine
from receiver.model.incident import OnCallPerson
from receiver.model.routing import Responder

_AT_ONCE = 16


class OnCallSource(Protocol):
    """Knows who has the pager; empty where nobody is known. Never raises, and answers in 2 s."""

    def list_on_call(self, responder: Responder) -> Sequence[OnCallPerson]: ...


class OnCallReport:
    """The responders, and who stands for them just now. Without *on_call* that can't be told."""

    def __init__(self, responders: Mapping[str, Responder], on_call: OnCallSource | None = None) -> None:
        self._responders = responders
        self._on_call = on_call

    def list_lines(self) -> tuple[TextLine, ...]:
        """Return a line for each responder and person.

        All are asked at once: each question may take 2 s, and Slack waits 3 s for the whole.
        """
        responders = [responder for responder in self._responders.values() if responder.schedule]
        if self._on_call is None or not responders:
            return (
                TextLine("That isn't configured: it takes pagerduty's api_token and a responder's schedule"),
            )
        with ThreadPoolExecutor(min(len(responders), _AT_ONCE)) as pool:
            found = list(pool.map(self._on_call.list_on_call, responders))
        return tuple(
            line
            for responder, people in zip(responders, found, strict=True)
            for line in _format_responder(responder, people)
        )


def _format_responder(responder: Responder, people: Sequence[OnCallPerson]) -> list[TextLine]:
    if not people:
        return [TextLine(f"{responder.title}: nobody is known")]
    return [
        TextLine(
            f"{responder.title}: {one.name}{', as PagerDuty last said,' if one.as_of else ''}", one.until
        )
        for one in people
    ]
