"""A dry run: where an alert with some labels would go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from receiver.domain.ports import Runbooks
from receiver.model.alert import Alert, Severity, describe_unknown_severity, fingerprint
from receiver.model.incident import Incident
from receiver.model.routing import EscalationPolicy, Route, RoutingTable, find_route
from receiver.runbooks.model import Excerpt

# What becomes of an unknown severity, and what to do about it.
REMEDY = "it counts as none; if it is a word of yours, add it to `severities` in routing.yaml"


@dataclass(frozen=True)
class RoutingPreview:
    """Where an alert goes. *excerpt* is what its message would say of its runbook."""

    route: Route
    is_matched: bool  # else no route matches, and the last one takes it
    policy: EscalationPolicy
    excerpt: Excerpt | None
    severity: str  # as it is read
    warnings: tuple[str, ...] = ()  # of its severity

    @property
    def notify_at(self) -> list[float]:
        """Seconds from the start at which each step is told, if nobody acknowledges."""
        return list(accumulate(step.after for step in self.policy.steps))


def preview_route(routing: RoutingTable, runbooks: Runbooks, labels: Mapping[str, str]) -> RoutingPreview:
    """Return where an alert with *labels* goes; an empty label is none."""
    kept = {name: value for name, value in labels.items() if value}
    found = routing.find_route(kept)
    return RoutingPreview(
        route=found,
        is_matched=find_route(routing.routes, kept) is not None,
        policy=routing.get_policy(found.escalation),
        excerpt=runbooks.find_excerpt(Alert(fingerprint(kept), kept, {}, 0.0)),
        severity=routing.severities.read_severity(kept).value,
        warnings=find_severity_warnings(routing, kept),
    )


def find_severity_warnings(routing: RoutingTable, labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return what to warn of in an alert's severity: it is unknown, or critical and pages nobody."""
    word = routing.severities.find_unknown_word(labels)
    if word:
        return (f"{describe_unknown_severity(word)}: {REMEDY}",)
    route = routing.find_route(labels)
    is_critical = routing.severities.read_severity(labels) is Severity.CRITICAL
    if is_critical and not routing.get_policy(route.escalation).steps:
        return (f"it is critical, but route {route.name} has no escalation: nobody is paged",)
    return ()


def is_unpaged_critical(routing: RoutingTable, incident: Incident) -> bool:
    """Tell whether *incident* is critical and nobody is ever paged for it."""
    return incident.severity is Severity.CRITICAL and not routing.get_policy(incident.policy).steps
