"""Dry run of the routing for a set of labels, and notices about unknown severities and critical incidents
without escalation.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from receiver.engine.ports import Notices
from receiver.incidents.open_incidents import OpenIncident
from receiver.model.alert import Alert, Severity, describe_unknown_severity, fingerprint
from receiver.model.incident import Incident
from receiver.model.routing import EscalationPolicy, Route, RoutingTable, find_route
from receiver.runbooks.catalogue import RunbookCatalogue
from receiver.runbooks.model import Excerpt, Runbook
from receiver.text import one_line

# How an unknown severity is treated, and the remedy.
REMEDY = "it counts as none; if it is a word of yours, add it to `severities` in routing.yaml"


@dataclass(frozen=True)
class RoutingPreview:
    """The route of an alert. *excerpt* is the part of its *runbook* that its message would show."""

    route: Route
    is_matched: bool  # else no route matches, and the last one is used
    policy: EscalationPolicy
    excerpt: Excerpt | None
    runbook: Runbook | None
    severity: str  # as the receiver reads it
    warnings: tuple[str, ...] = ()  # about its severity

    @property
    def notify_at(self) -> list[float]:
        """Seconds from the start at which each step is notified, if the incident is not acknowledged."""
        return list(accumulate(step.after for step in self.policy.steps))


def preview_route(
    routing: RoutingTable, runbooks: RunbookCatalogue, labels: Mapping[str, str]
) -> RoutingPreview:
    """Return the routing of an alert with *labels*; an empty label counts as missing."""
    kept = {name: value for name, value in labels.items() if value}
    found = routing.find_route(kept)
    alert = Alert(fingerprint(kept), kept, {}, 0.0)
    return RoutingPreview(
        route=found,
        is_matched=find_route(routing.routes, kept) is not None,
        policy=routing.get_policy(found.escalation),
        excerpt=runbooks.find_excerpt(alert),
        runbook=runbooks.find_quoted_runbook(alert),
        severity=routing.severities.read_severity(kept).value,
        warnings=find_severity_warnings(routing, kept),
    )


def find_severity_warnings(routing: RoutingTable, labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return warnings about an alert's severity: it is unknown, or critical without an escalation."""
    word = routing.severities.find_unknown_word(labels)
    if word:
        return (f"{describe_unknown_severity(word)}: {REMEDY}",)
    route = routing.find_route(labels)
    is_critical = routing.severities.read_severity(labels) is Severity.CRITICAL
    if is_critical and not routing.get_policy(route.escalation).steps:
        return (f"it is critical, but route {route.name} has no escalation: nobody is paged",)
    return ()


def is_unpaged_critical(routing: RoutingTable, incident: Incident | OpenIncident) -> bool:
    """Return whether *incident* is critical and its escalation policy has no steps."""
    return incident.severity is Severity.CRITICAL and not routing.get_policy(incident.policy).steps


logger = logging.getLogger(__name__)
# A client may send any number of unknown severities: beyond this many in a day, one daily notice covers them.
WORDS_A_DAY = 20
_DAY_S = 86400.0
_MAX_NAME = 80


@dataclass(repr=False)
class SeverityNotices:
    """Sends one notice per unknown severity, and per route with critical incidents but no escalation.

    The ID of a notice prevents a second one by another worker or after a crash. The process also remembers
    its notices, which saves a round trip per incident. Thread-safe.
    """

    notices: Notices
    routing: RoutingTable
    _routes: set[str] = field(default_factory=set)
    _words: dict[str, float] = field(default_factory=dict)
    _many_at: float = float("-inf")

    def has_new(self, incident: Incident) -> bool:
        """Return whether `send_notices` has anything to send for *incident*."""
        return self._is_new_unpaged(incident) or bool(self._find_new_words(incident))

    def send_notices(self, incident: Incident, now: float) -> None:
        """Save notices for what *incident* shows for the first time. Raises StoreError."""
        if self._is_new_unpaged(incident):
            self._send_unpaged(incident, now)
        for word in self._find_new_words(incident):
            self._send_unknown(word, incident, now)

    def _is_new_unpaged(self, incident: Incident) -> bool:
        is_unpaged = not incident.is_resolved and is_unpaged_critical(self.routing, incident)
        return is_unpaged and incident.route not in self._routes

    def _find_new_words(self, incident: Incident) -> list[str]:
        words = () if incident.is_resolved else incident.unknown_severities
        find_severity = self.routing.severities.find_severity
        return [word for word in words if word not in self._words and find_severity(word) is None]

    def _send_unpaged(self, incident: Incident, now: float) -> None:
        text = f"{_label(incident)} is critical and pages nobody: route {incident.route} has no escalation"
        about = "criticals on routes without escalation"
        logger.warning("critical without escalation", extra={"fields": _fields(incident)})
        self.notices.save_notice(f"critical without escalation/{incident.route}", text, now, about=about)
        self._routes.add(incident.route)  # no more than there are routes

    def _send_unknown(self, word: str, incident: Incident, now: float) -> None:
        if len(self._words) >= WORDS_A_DAY:
            self._words = {one: at for one, at in self._words.items() if abs(now - at) < _DAY_S}
        text = f"{_label(incident)} has the {describe_unknown_severity(word)}: {REMEDY}"
        if len(self._words) < WORDS_A_DAY:
            logger.warning("unknown severity", extra={"fields": _fields(incident)})
            self.notices.save_notice(f"unknown severity/{word}", text, now, about="unknown severities")
            self._words[word] = now
        elif abs(now - self._many_at) >= _DAY_S:
            text = f"More than {WORDS_A_DAY} unknown severities came within a day. The latest: {text}"
            self.notices.save_notice("unknown severities", text, now, every=_DAY_S)
            self._many_at = now


def _fields(incident: Incident) -> dict[str, str]:
    """Return the fields of the log line; they contain no label values."""
    return {"incident": incident.id, "route": incident.route}


def _label(incident: Incident) -> str:
    return f"{one_line(incident.alertname, _MAX_NAME) or 'An alert'} ({incident.id})"
