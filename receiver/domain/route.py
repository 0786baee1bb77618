"""Routes: which channel and which escalation an alert gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from receiver.domain.matcher import Matcher


@dataclass(frozen=True)
class Route:
    """One line of the routing file. *name* is its channel, made unique; it is part of an
    incident's identity, so it changes only when the channel does.
    """

    name: str
    channel: str
    matchers: tuple[Matcher, ...] = ()
    escalation: str = ""  # a policy's name; empty: nobody is paged
    review: str = ""
    fallback: str = ""
    links: tuple[tuple[str, str], ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(matcher.matches(labels) for matcher in self.matchers)


def find_route(routes: Iterable[Route], labels: Mapping[str, str]) -> Route | None:
    """Return the first route that matches, or None."""
    return next((route for route in routes if route.matches(labels)), None)
