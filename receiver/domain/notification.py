"""One message about one incident to one target, with everything its words are made of."""

from __future__ import annotations

from dataclasses import dataclass

from receiver.model.actions import Action
from receiver.model.escalation import EscalationState
from receiver.model.incident import Incident, OnCallPerson
from receiver.runbooks.model import Excerpt


@dataclass(frozen=True)
class Links:
    """Where a reader can go on; empty strings are places that are not known.

    *more* are the labelled links of the configuration.
    """

    incident: str = ""
    silence: str = ""
    prometheus: str = ""
    message: str = ""
    more: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Notification:
    """What a channel is handed: the action, and how things stand at *now*."""

    action: Action
    incident: Incident
    escalation: EscalationState
    now: float
    excerpt: Excerpt | None = None
    links: Links = Links()
    on_call: tuple[OnCallPerson, ...] = ()  # who stands for the step's responder, where that is known
