"""What routing.yaml says, as frozen values; a secret or an address with a login prints nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import cached_property
from pathlib import Path

from receiver.business_hours import BusinessHours
from receiver.errors import Problem
from receiver.heartbeats.model import Heartbeat, find_heartbeat_policy
from receiver.model.alert import BUILT_IN_WORDS, SeverityWords
from receiver.model.routing import (
    ALERTMANAGER,
    NO_POLICY,
    PAGERDUTY,
    SLACK,
    EscalationPolicy,
    Responder,
    Route,
    find_route,
)
from receiver.text import Secret

_UNSET = Secret()


@dataclass(frozen=True)
class RateLimit:
    """At most *count* requests in any *per_s* seconds."""

    count: int
    per_s: float


@dataclass(frozen=True)
class LimitSettings:
    """How fast we may go, so that a vendor doesn't slow us down.

    Slack takes one message a second in each channel and fifty updates a minute in all:
    https://docs.slack.dev/apis/web-api/rate-limits. PagerDuty takes 120 events a minute for
    each key: https://developer.pagerduty.com/docs/events-api-v2-overview.
    """

    slack_posts: RateLimit = RateLimit(1, 1.0)  # for each channel
    slack_updates: RateLimit = RateLimit(50, 60.0)  # for the workspace
    pagerduty: RateLimit = RateLimit(120, 60.0)  # for each routing key


@dataclass(frozen=True)
class AlertmanagerConfig:
    """One Alertmanager, or the members of one cluster, that we may ask.

    We look every *look_every* seconds, and believe that an alert is gone after *looks* looks in
    a row without it, once the Alertmanager has been up for *trust_after* seconds.
    """

    urls: tuple[str, ...] = field(repr=False)
    poll_interval_s: float = 60.0
    missing_polls: int = 3
    min_uptime_s: float = 300.0


@dataclass(frozen=True)
class Routing:
    """The whole of routing.yaml. Moments are far away from here: every number is seconds or a count."""

    routes: tuple[Route, ...]
    policies: Mapping[str, EscalationPolicy] = field(default_factory=dict)
    responders: Mapping[str, Responder] = field(default_factory=dict)
    runbooks: tuple[Path, ...] = ()  # Markdown files and folders
    runbook_hosts: tuple[str, ...] = ()  # `host` or `host:port` that runbook links may be read from
    slack_token: Secret = _UNSET  # empty: Slack is simulated
    slack_responders: tuple[str, ...] = ()  # who may answer in Slack; none: every member of the workspace
    pagerduty_api_token: Secret = _UNSET  # empty: PagerDuty's REST API isn't asked
    # By the source in the webhook's address; "" is the one of `alertmanager:`. Only with an address.
    alertmanagers: Mapping[str, AlertmanagerConfig] = field(default_factory=dict)
    sources: tuple[str, ...] = ()  # all that `alertmanagers:` names, also those without an address
    prometheus_url: str = field(default="", repr=False)
    links: tuple[tuple[str, str], ...] = ()
    notices_channel: str = ""
    business_hours: BusinessHours | None = None
    flap_window: float = 600.0
    flap_count: int = 4
    history: float = 90 * 86400.0
    heartbeats: tuple[Heartbeat, ...] = ()
    heartbeat_url: str = field(default="", repr=False, metadata={"kind": "secret"})
    limits: LimitSettings = LimitSettings()
    severities: SeverityWords = BUILT_IN_WORDS
    warnings: tuple[Problem, ...] = ()

    @property
    def zone(self) -> tzinfo:
        """The time zone of the team: that of its business hours."""
        return (self.business_hours or BusinessHours()).zone

    @property
    def can_check_pagerduty(self) -> bool:
        """Whether PagerDuty's REST API can be asked."""
        return bool(self.pagerduty_api_token)

    @cached_property
    def secret_digests(self) -> Mapping[str, str]:
        """Digests of the secrets by where they are sent, so that a change of one is noticed."""
        found = {f"{SLACK}:": self.slack_token.digest}
        for name, responder in self.responders.items():
            if (target := responder.find_target(PAGERDUTY)) is not None:
                found[f"{PAGERDUTY}:{name}"] = target.secret.digest
        for source, one in self.alertmanagers.items():
            found[f"{ALERTMANAGER}:{source}"] = Secret("\n".join(one.urls)).digest
        return found

    def find_route(self, labels: Mapping[str, str]) -> Route:
        """Return the first route that matches; the last one where none does, so no alert is lost."""
        return find_route(self.routes, labels) or self.routes[-1]

    def get_policy(self, name: str) -> EscalationPolicy:
        """Return the escalation of that name, NO_POLICY for none or one that is gone."""
        return self.policies.get(name) or find_heartbeat_policy(self.heartbeats, name) or NO_POLICY
