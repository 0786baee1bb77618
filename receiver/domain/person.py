"""People: who answered and by which side, and who has the pager."""

from __future__ import annotations

from msgspec import Struct


class Person(Struct, frozen=True, omit_defaults=True):
    """Who did something. *via* is the side it came from: slack, pagerduty, api, command line."""

    name: str
    via: str = "api"
    slack_id: str = ""


class OnCallPerson(Struct, frozen=True, omit_defaults=True):
    """Who has the pager. *level* is the lowest of PagerDuty's escalation levels they stand on.

    *until* is when their turn ends (0: never); *as_of* is set where PagerDuty is away, and is when
    it last said so.
    """

    name: str
    email: str = ""
    level: int = 1
    until: float = 0.0
    as_of: float = 0.0
    slack_id: str = ""  # where Slack knows the e-mail
