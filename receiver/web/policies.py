"""Incidents' escalations as lists and pages show them: paused while there is maintenance."""

from __future__ import annotations

from collections.abc import Callable

from receiver.incidents.reconciler import resolve_policy
from receiver.model.incident import Incident
from receiver.model.routing import EscalationPolicy
from receiver.wiring.parts import Services


def policy_finder(services: Services, now: float) -> Callable[[Incident], EscalationPolicy]:
    """Return what gives an incident's escalation as it is at *now*: paused while there is maintenance."""
    paused_until = services.maintenance.paused_until(now)

    def resolve(incident: Incident) -> EscalationPolicy:
        return resolve_policy(services.routing, incident, paused_until)

    return resolve
