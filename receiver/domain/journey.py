"""A dry run: where an alert with some labels would go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from receiver.domain.alert import Alert, find_severity, fingerprint
from receiver.domain.policy import EscalationPolicy
from receiver.domain.ports import Rules, Runbooks
from receiver.domain.route import Route, find_route
from receiver.domain.runbook import Excerpt


@dataclass(frozen=True)
class Journey:
    """Where an alert goes. *excerpt* is what its message would say of its runbook."""

    route: Route
    is_matched: bool  # else no route matches, and the last one takes it
    policy: EscalationPolicy
    excerpt: Excerpt | None
    severity: str

    @property
    def moments(self) -> list[float]:
        """Seconds from the start at which each step is told, if nobody acknowledges."""
        return list(accumulate(step.after for step in self.policy.steps))


def trace_journey(rules: Rules, runbooks: Runbooks, labels: Mapping[str, str]) -> Journey:
    """Return where an alert with *labels* goes; an empty label is none."""
    kept = {name: value for name, value in labels.items() if value}
    found = rules.find_route(kept)
    return Journey(
        route=found,
        is_matched=find_route(rules.routes, kept) is not None,
        policy=rules.get_policy(found.escalation),
        excerpt=runbooks.find_excerpt(Alert(fingerprint(kept), kept, {}, 0.0)),
        severity=find_severity(kept).value,
    )
