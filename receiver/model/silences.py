"""The silences requested for an incident: when to create, prolong and expire them in Alertmanager."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from receiver.model.actions import Action, CreateSilence, ExpireSilence
from receiver.model.delivery import Delivery
from receiver.model.delivery_keys import expire_key, prolong_key, silence_key
from receiver.model.escalation import ready_at
from receiver.model.incident import Incident, SilenceRequest
from receiver.model.routing import ALERTMANAGER, Target

# A silence until the incident resolves is created for _STRETCH_S at a time, and prolonged when less than
# _PROLONG_BELOW_S is left: if we fail to expire it, it ends soon by itself.
_STRETCH_S = 2 * 3600.0
_PROLONG_BELOW_S = 3600.0
WARN_BEFORE_S = 900.0
_MOST_SILENCES = 20
Matchers = tuple[tuple[str, str], ...]


def choose_matchers(incident: Incident) -> tuple[Matchers, ...]:
    """Return the matchers of each silence to create: the labels that all firing alerts share.

    Where not even the alertname is shared, each alert gets a silence with all its labels: a wider one would
    silence other alerts, too. Of many alerts only the worst 20 then get one.
    """
    firing = incident.firing_alerts
    if not firing:
        return ()
    shared = dict(firing[0].labels)
    for alert in firing[1:]:
        shared = {name: value for name, value in shared.items() if alert.labels.get(name) == value}
    if "alertname" in shared:
        return (_sort_labels(shared),)
    return tuple(_sort_labels(alert.labels) for alert in firing[:_MOST_SILENCES])


def _sort_labels(labels: Mapping[str, str]) -> Matchers:
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def list_silences(incident: Incident, now: float) -> Iterator[Action]:
    """Yield the silences of the incident that are still to be created, prolonged or expired."""
    target = Target(ALERTMANAGER, incident.source)
    for request in incident.silences:
        made = incident.deliveries.get(silence_key(request.number), Delivery())
        if _is_over(incident, request, now):
            if made.may_have_arrived and (request.ended_at or request.is_until_resolved):
                # Without a known ID, the channel finds it in Alertmanager by the marker in its comment.
                key, known = expire_key(request.number), made.receipt.reference if made.receipt else ""
                yield ExpireSilence(
                    key=key, target=target, ready_at=ready_at(incident, key), silence_id=known
                )
            continue
        yield from _list_making(incident, request, made, target, now)


def _list_making(
    incident: Incident, request: SilenceRequest, made: Delivery, target: Target, now: float
) -> Iterator[Action]:
    """Yield the creation of a silence, or the next stretch of one that lasts until the incident resolves."""
    stretch = _stretch(request, now) if request.is_until_resolved else 1
    is_prolonged = made.receipt is not None and stretch > 1
    if made.is_settled and not is_prolonged:
        return
    key, instance = (
        (prolong_key(request.number), str(stretch)) if is_prolonged else (silence_key(request.number), "")
    )
    yield CreateSilence(
        key=key,
        instance=instance,
        target=target,
        ready_at=ready_at(incident, key, instance),
        matchers=request.matchers,
        ends_at=request.requested_at + stretch * _STRETCH_S if request.is_until_resolved else request.until,
        by=request.by,
        comment=f"{request.comment or 'Silenced by the receiver'} [receiver {incident.id}#{request.number}]",
        silence_id=made.receipt.reference if made.receipt is not None else "",
    )


def _stretch(request: SilenceRequest, now: float) -> int:
    """Return the number of the stretch to request now: it ends `_PROLONG_BELOW_S` after *now* or later."""
    return int((now - request.requested_at + _PROLONG_BELOW_S) // _STRETCH_S) + 1


def _is_over(incident: Incident, request: SilenceRequest, now: float) -> bool:
    return not request.is_active(now) or (request.is_until_resolved and incident.is_resolved)


def list_silence_timestamps(incident: Incident, now: float) -> Iterator[float]:
    """Yield the times at which a silence is to be prolonged, or warned of, or ends."""
    for request in incident.silences:
        if _is_over(incident, request, now):
            continue
        if request.is_until_resolved:
            yield request.requested_at + _stretch(request, now) * _STRETCH_S - _PROLONG_BELOW_S
        else:
            yield from (at for at in (request.until - WARN_BEFORE_S, request.until) if at > now)


def list_ending_silences(incident: Incident, now: float) -> Iterator[SilenceRequest]:
    """Yield the silences that end within a quarter of an hour while alerts still fire."""
    for request in incident.silences:
        is_near = not request.is_until_resolved and request.until - WARN_BEFORE_S <= now < request.until
        if (
            is_near
            and not request.ended_at
            and incident.firing
            and request.until - request.requested_at > WARN_BEFORE_S
        ):
            yield request
