"""One incident as the API and the pages show it, and what of it lists need."""

from __future__ import annotations

from receiver.web.bodies import IncidentDetail
from receiver.web.policies import policy_finder
from receiver.web.rows import serialize_incident
from receiver.wiring.parts import Services

_OF_A_STEP = ("page", "step", "unreached", "fallback", "given_up")


def delivery_keys(services: Services) -> tuple[str, ...]:
    """Return the deliveries by which an escalation's progress is told, of all policies."""
    names = {step.name for policy in services.routing.policies.values() for step in policy.steps}
    names |= {heartbeat.notify.name for heartbeat in services.routing.heartbeats}
    responders = services.routing.responders
    return (
        *("root", "root2", "fallback"),
        *(f"{kind}:{name}" for kind in _OF_A_STEP for name in sorted(names)),
        *(f"{kind}:{name}#fallback" for kind in ("page", "step") for name in sorted(_fallbacks(services))),
        *(f"{kind}:{name}" for kind in ("acknowledge", "resolve") for name in sorted(responders)),
    )


def describe_incident(services: Services, incident_id: str) -> IncidentDetail:
    """Return one incident as the API shows it. Raises NotFound."""
    incident = services.incidents.load(incident_id)
    timeline = services.incidents.load_timeline(incident_id)
    now = services.clock()
    return serialize_incident(incident, policy_finder(services, now)(incident), timeline, now)


def _fallbacks(services: Services) -> set[str]:
    """Return the responders that stand in on some route."""
    return {route.fallback for route in services.routing.routes} & set(services.routing.responders)
