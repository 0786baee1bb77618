"""One incident as the API and the pages show it, and what of it lists need."""

from __future__ import annotations

from receiver.web.bodies import IncidentDetail
from receiver.web.policies import policy_finder
from receiver.web.rows import serialize_incident
from receiver.wiring import Parts

_OF_A_STEP = ("page", "step", "unreached", "fallback", "given_up")


def delivery_keys(parts: Parts) -> tuple[str, ...]:
    """Return the deliveries by which an escalation's progress is told, of all policies."""
    names = {step.name for policy in parts.routing.policies.values() for step in policy.steps}
    names |= {heartbeat.notify.name for heartbeat in parts.routing.heartbeats}
    responders = parts.routing.responders
    return (
        *("root", "root2", "fallback"),
        *(f"{kind}:{name}" for kind in _OF_A_STEP for name in sorted(names)),
        *(f"{kind}:{name}#fallback" for kind in ("page", "step") for name in sorted(_fallbacks(parts))),
        *(f"{kind}:{name}" for kind in ("acknowledge", "resolve") for name in sorted(responders)),
    )


def describe_incident(parts: Parts, incident_id: str) -> IncidentDetail:
    """Return one incident as the API shows it. Raises NotFound."""
    incident = parts.incidents.load(incident_id)
    timeline = parts.incidents.load_timeline(incident_id)
    now = parts.clock()
    return serialize_incident(incident, policy_finder(parts, now)(incident), timeline, now)


def _fallbacks(parts: Parts) -> set[str]:
    """Return the responders that stand in on some route."""
    return {route.fallback for route in parts.routing.routes} & set(parts.routing.responders)
