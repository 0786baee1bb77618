"""The content of routing.yaml as frozen values; the repr hides secrets and URLs that may contain a login."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import cached_property
from pathlib import Path

from receiver.business_hours import BusinessHours
from receiver.config.routing_fields import LimitSettings
from receiver.errors import Problem
from receiver.heartbeats.model import Heartbeat, find_heartbeat_policy
from receiver.model import routing
from receiver.model.alert import BUILT_IN_WORDS, SeverityWords
from receiver.runbooks.section_titles import BUILT_IN_TITLES, SectionTitles
from receiver.text import Secret

_UNSET = Secret()


@dataclass(frozen=True)
class AlertmanagerConfig:
    """One Alertmanager, or the members of one cluster, that we poll.

    We poll every *poll_interval_s* seconds. An alert counts as gone after *missing_polls* polls in a row
    without it, once the Alertmanager has been up for *min_uptime_s* seconds.
    """

    urls: tuple[str, ...] = field(repr=False)
    poll_interval_s: float = 60.0
    missing_polls: int = 3
    min_uptime_s: float = 300.0


@dataclass(frozen=True)
class Routing:
    """The whole of routing.yaml. It holds no points in time: every number is seconds or a count."""

    routes: tuple[routing.Route, ...]
    policies: Mapping[str, routing.EscalationPolicy] = field(default_factory=dict)
    responders: Mapping[str, routing.Responder] = field(default_factory=dict)
    runbooks: tuple[Path, ...] = ()  # files and folders of Markdown or HTML
    runbook_hosts: tuple[str, ...] = ()  # `host` or `host:port` that runbook links may be read from
    section_titles: SectionTitles = BUILT_IN_TITLES  # of the sections of runbooks
    slack_token: Secret = _UNSET  # empty: Slack is simulated
    slack_responders: tuple[str, ...] = ()  # who may respond in Slack; empty: every member of the workspace
    pagerduty_api_token: Secret = _UNSET  # empty: PagerDuty's REST API isn't called
    # By the source in the webhook's URL; "" is that of `alertmanager:`. Only those with a URL.
    alertmanagers: Mapping[str, AlertmanagerConfig] = field(default_factory=dict)
    sources: tuple[str, ...] = ()  # all sources in `alertmanagers:`, also those without a URL
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
        """The team's time zone: that of its business hours."""
        return (self.business_hours or BusinessHours()).zone

    @property
    def can_check_pagerduty(self) -> bool:
        """Whether we can call PagerDuty's REST API."""
        return bool(self.pagerduty_api_token)

    @cached_property
    def pagerduty_targets(self) -> Mapping[str, routing.Target]:
        """The PagerDuty targets by their responders' names; one without a secret is simulated."""
        targets = (
            (name, responder.find_target(routing.PAGERDUTY)) for name, responder in self.responders.items()
        )
        return {name: target for name, target in targets if target is not None}

    def list_unpaged_responders(self) -> list[str]:
        """Return the responders with a PagerDuty target whose routing key is missing: it is simulated."""
        return [name for name, target in self.pagerduty_targets.items() if not target.secret]

    @cached_property
    def secret_digests(self) -> Mapping[str, str]:
        """Digests of the secrets by where they are sent, to detect a changed secret."""
        found = {f"{routing.SLACK}:": self.slack_token.digest}
        for name, target in self.pagerduty_targets.items():
            found[f"{routing.PAGERDUTY}:{name}"] = target.secret.digest
        for source, one in self.alertmanagers.items():
            found[f"{routing.ALERTMANAGER}:{source}"] = Secret("\n".join(one.urls)).digest
        return found

    def find_route(self, labels: Mapping[str, str]) -> routing.Route:
        """Return the first route that matches, else the last one, so that no alert is lost."""
        return routing.find_route(self.routes, labels) or self.routes[-1]

    def get_policy(self, name: str) -> routing.EscalationPolicy:
        """Return the escalation named *name*; NO_POLICY for an empty name or one that no longer exists."""
        return self.policies.get(name) or find_heartbeat_policy(self.heartbeats, name) or routing.NO_POLICY
