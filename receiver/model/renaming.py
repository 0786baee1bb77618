"""Alerts with a changing label: a measured value in a label makes a new alert at each evaluation of the rule.

An alert that joins while another ends, where both differ in one label only, has taken that one's place.
This is computed from the alert states of an incident alone, so it can be computed at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from receiver.model.alert import Alert
from receiver.model.delivery_keys import RENAMED
from receiver.model.incident import AlertState, Incident

# An alert that vanishes without a resolve is ended by its sender five minutes later. Alertmanager sends that
# end at the group's next interval, at most five minutes later.
_TOGETHER_S = 900.0
# Another severity is always reported, and another name is another alert.
_MEANINGFUL = frozenset({"alertname", "severity"})


@dataclass(frozen=True)
class Renaming:
    """An alert that took the place of another one; *label* is what differs. *join* is when it joined."""

    fingerprint: str
    label: str
    join: int


def find_renamings(incident: Incident) -> list[Renaming]:
    """Return the alerts that took another's place, in the order in which they joined."""
    ended: dict[tuple[str, int], list[tuple[Alert, AlertState]]] = {}
    for alert, alert_state in _list_known(incident):
        if not alert_state.is_firing:
            for shape in _list_shapes(alert):
                ended.setdefault(shape, []).append((alert, alert_state))
    if not ended:
        return []
    taken: set[str] = set()
    found = []
    for alert, alert_state in sorted(_list_known(incident), key=lambda one: (one[1].join, one[1].starts_at)):
        if not alert_state.join:
            continue
        candidates = (
            (label, other.fingerprint)
            for label, shape in _list_shapes(alert)
            for other, end in ended.get((label, shape), ())
            if other.fingerprint not in taken
            and _differ_in(other, alert, label)
            and _are_together(end, alert_state)
        )
        for label, former in candidates:
            taken.add(former)
            found.append(Renaming(alert.fingerprint, label, alert_state.join))
            break
    return found


def find_changing_label(incident: Incident) -> str:
    """Return the label that changed on two occasions, or is recorded as changing; empty where none is."""
    recorded = incident.find_delivery(RENAMED).instance
    if recorded or incident.joins < 2:
        return recorded
    first: dict[str, int] = {}
    for one in find_renamings(incident):
        if first.setdefault(one.label, one.join) < one.join:
            return one.label
    return ""


def find_joined(incident: Incident, reported_joins: int) -> tuple[tuple[str, ...], float]:
    """Return the fingerprints of the alerts that joined after the join number *reported_joins* and are to be
    reported, and until when that reply may wait.

    An alert that took another's place is reported at the first change of that label, and not from the second
    on. An alert that looks like the next change waits for the former alert to end, and is reported if that
    does not end.
    """
    pending = [fp for fp, s in incident.alert_states.items() if s.join > reported_joins and s.is_firing]
    if not pending:
        return (), 0.0
    renamings = find_renamings(incident)
    first: dict[str, int] = {}
    for one in renamings:
        first.setdefault(one.label, one.join)
    changing = find_changing_label(incident)
    quiet = {one.fingerprint for one in renamings if one.label == changing or first[one.label] < one.join}
    news = [fp for fp in pending if fp not in quiet]
    if not changing or not all(_may_be_next(incident, fp, changing) for fp in news):
        return tuple(news), 0.0
    wait_until = max((incident.alert_states[fp].starts_at + _TOGETHER_S for fp in news), default=0.0)
    return tuple(news), wait_until


def _may_be_next(incident: Incident, fingerprint: str, label: str) -> bool:
    """Return whether a firing alert differs in *label* alone from an older one that fires, too."""
    alert, alert_state = incident.alerts.get(fingerprint), incident.alert_states[fingerprint]
    return alert is not None and any(
        other.fingerprint != fingerprint and s.is_firing and s.join < alert_state.join
        for other, s in _list_known(incident)
        if _differ_in(other, alert, label)
    )


def _list_known(incident: Incident) -> Iterator[tuple[Alert, AlertState]]:
    for fingerprint, alert_state in incident.alert_states.items():
        alert = incident.alerts.get(fingerprint)
        if alert is not None and not alert_state.is_dismissed:
            yield alert, alert_state


def _list_shapes(alert: Alert) -> Iterator[tuple[str, int]]:
    """Yield each label that may change, with a hash of the alert's other labels."""
    parts = {name: hash((name, value)) for name, value in alert.labels.items()}
    whole = sum(parts.values())
    for name, part in parts.items():
        if name not in _MEANINGFUL:
            yield name, whole - part


def _differ_in(one: Alert, other: Alert, label: str) -> bool:
    """Return whether two alerts have the same labels and values except the value of *label*."""
    if one.labels.keys() != other.labels.keys() or label in _MEANINGFUL:
        return False
    return [name for name, value in one.labels.items() if other.labels[name] != value] == [label]


def _are_together(former: AlertState, latter: AlertState) -> bool:
    """Return whether *former* ended as *latter* joined: in the same payload, or a little before or after."""
    if former.join_at_end and former.join_at_end == latter.join:
        learned_at = former.changed_at[-1] if former.changed_at else former.ends_at
        return latter.starts_at <= max(learned_at, former.ends_at) + _TOGETHER_S
    return former.join < latter.join and 0 <= former.ends_at - latter.starts_at <= _TOGETHER_S
