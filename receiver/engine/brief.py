"""Gathering what a notification's words are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from receiver.domain.action import Action, Call, Page, Post, Reply, Update
from receiver.domain.escalation import trace_progress
from receiver.domain.fallback import find_message
from receiver.domain.incident import Incident, find_gravest
from receiver.domain.links import find_links
from receiver.domain.notification import Links, Notification
from receiver.domain.person import OnCallPerson
from receiver.domain.policy import EscalationPolicy
from receiver.domain.ports import OnCall, Runbooks


@dataclass(frozen=True)
class Places:
    """Addresses that messages link to; empty where there is none. *more* is by route's name,
    those under the empty name are for every route.
    """

    public_url: str = ""
    alertmanagers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)


class Briefing:
    """Builds notifications from how an incident stands."""

    def __init__(self, runbooks: Runbooks, places: Places, on_call: OnCall | None = None) -> None:
        self._runbooks = runbooks
        self._places = places
        self._on_call = on_call

    def brief(self, action: Action, incident: Incident, policy: EscalationPolicy, now: float) -> Notification:
        """Return *action* with everything a channel needs to word it."""
        is_whole = isinstance(action, Post | Update | Page) and not isinstance(action, Call)
        gravest = find_gravest(incident) if is_whole else None
        return Notification(
            action=action,
            incident=incident,
            progress=trace_progress(incident, policy, now),
            now=now,
            excerpt=self._runbooks.find_excerpt(gravest) if gravest else None,
            links=self._links(incident),
            on_call=self._find_on_call(action),
        )

    def _find_on_call(self, action: Action) -> tuple[OnCallPerson, ...]:
        """Return who has the pager now, for a step that is said in the thread."""
        if self._on_call is None or not isinstance(action, Reply | Call) or action.step is None:
            return ()
        return tuple(self._on_call.find(action.step.responder))

    def _links(self, incident: Incident) -> Links:
        message = find_message(incident)
        places = self._places
        return find_links(
            incident,
            public_url=places.public_url,
            alertmanager_url=places.alertmanagers.get(incident.source, ""),
            more=(*places.more.get(incident.route, ()), *places.more.get("", ())),
            message=message.receipt.link if message and message.receipt else "",
        )
