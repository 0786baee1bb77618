"""A model of a pair of Alertmanagers: the true state of each alert, and what each Alertmanager posts of it.

Some alerts come straight from a pair of Prometheus, without an Alertmanager.
"""

from __future__ import annotations

import datetime as dt
import json
import random
from dataclasses import dataclass, field
from typing import Any

from receiver.model.alert import fingerprint

# Prometheus says for so long that an alert fires, unless it says so again.
VALID_FOR_S = 240.0
SEVERITIES = ("critical", "critical", "warning", "info")


@dataclass
class TrueAlert:
    """The true state of an alert."""

    labels: dict[str, str]
    starts_at: float = 0.0
    ends_at: float = 0.0
    was_accepted: bool = False  # a firing copy of it was answered 200

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.labels)

    @property
    def is_firing(self) -> bool:
        return self.starts_at > 0 and not self.ends_at


@dataclass(frozen=True)
class AlertmanagerRoute:
    """A route of Alertmanager: its receiver and its grouping; with *is_apart* each alert is its own group.

    With *is_straight* there is no Alertmanager, but the alerts are posted to its API.
    """

    receiver: str
    key_prefix: str = "{}"
    is_apart: bool = False
    is_straight: bool = False

    def key_of(self, name: str, alert: TrueAlert) -> str:
        if self.is_straight:
            return json.dumps(alert.labels, sort_keys=True, separators=(",", ":"))
        host = f', instance="{alert.labels["instance"]}"' if self.is_apart else ""
        return f'{self.key_prefix}:{{alertname="{name}"{host}}}'


@dataclass
class TrueGroup:
    """Alerts that are grouped together; *busy* are the Alertmanagers that are posting it, by group key.

    It matches all of *routes*, as with `continue: true`; *former* are routes that it matched before.
    """

    name: str
    alerts: list[TrueAlert]
    routes: list[AlertmanagerRoute] = field(default_factory=lambda: [AlertmanagerRoute("receiver")])
    former: list[AlertmanagerRoute] = field(default_factory=list)
    busy: set[tuple[int, str]] = field(default_factory=set)

    @property
    def keys(self) -> set[str]:
        """Return the group keys that it has or had."""
        return {route.key_of(self.name, a) for route in (*self.routes, *self.former) for a in self.alerts}

    @property
    def is_straight(self) -> bool:
        return self.routes == [_STRAIGHT]

    def has_begun(self) -> bool:
        return any(alert.starts_at for alert in self.alerts)


def draw_groups(rng: random.Random) -> list[TrueGroup]:
    """Return some groups without firing alerts; few of them have mixed severities."""
    groups = []
    for number in range(rng.choice((1, 1, 2, 2, 3, 4))):
        name, severity = f"Alert{number}", rng.choice(SEVERITIES)
        is_mixed = rng.random() < 0.25
        alerts = [
            TrueAlert(
                {
                    "alertname": name,
                    "instance": f"host-{n}",
                    "severity": rng.choice(SEVERITIES) if is_mixed else severity,
                }
            )
            for n in range(rng.choice((1, 1, 2, 3)))
        ]
        routes = [_STRAIGHT] if rng.random() < 0.2 else rng.choice(_ROUTES)[:]
        groups.append(TrueGroup(name, alerts, routes))
    return groups


_ONE, _OTHER = AlertmanagerRoute("receiver"), AlertmanagerRoute("another", '{}/{severity="critical"}')
_APART, _RENAMED = (
    AlertmanagerRoute("apart", '{}/{severity="critical"}', is_apart=True),
    AlertmanagerRoute("renamed"),
)
_STRAIGHT = AlertmanagerRoute("", is_straight=True)
_ROUTES = ([_ONE], [_ONE], [_ONE], [_ONE, _OTHER], [_ONE, _RENAMED], [_OTHER, _APART])


def change_routes(group: TrueGroup, rng: random.Random) -> None:
    """Change Alertmanager's routes, so that the group matches other routes from now on."""
    if not group.is_straight:
        former, group.routes = group.routes, rng.choice(_ROUTES)[:]
        group.former += former


def change_truth(group: TrueGroup, rng: random.Random, now: float) -> None:
    """Let an alert of the group start or end."""
    alert = rng.choice(group.alerts)
    if alert.is_firing:
        alert.ends_at = now
    else:
        alert.starts_at, alert.ends_at = max(now, alert.ends_at + 0.001), 0.0  # never before its last end


def write_bodies(
    group: TrueGroup,
    route: AlertmanagerRoute,
    replica: int,
    now: float,
    alerts: list[TrueAlert] | None = None,
) -> dict[str, bytes]:
    """Return the webhooks, by group key, that one Alertmanager posts for *route*: of *alerts*, or of all."""
    fired = [alert for alert in (group.alerts if alerts is None else alerts) if alert.starts_at]
    if route.is_straight:
        return {group.name: json.dumps([_posted(alert, now) for alert in fired]).encode()}
    by_key: dict[str, list[TrueAlert]] = {}
    for alert in fired:
        by_key.setdefault(route.key_of(group.name, alert), []).append(alert)
    frame = {
        "receiver": route.receiver,
        "groupLabels": {"alertname": group.name},
        "externalURL": f"http://alertmanager-{replica}:9093",
    }
    return {key: _write_body({**frame, "groupKey": key}, now, part) for key, part in by_key.items()}


def _write_body(frame: dict[str, Any], now: float, alerts: list[TrueAlert]) -> bytes:
    rows = [_row(alert, now) for alert in alerts]
    payload = {
        **frame,
        "version": "4",
        "truncatedAlerts": 0,
        "status": "firing" if any(alert.is_firing for alert in alerts) else "resolved",
        "alerts": rows,
        "commonLabels": {},
        "commonAnnotations": {},
    }
    return json.dumps(payload).encode()


def expire_straight_alerts(group: TrueGroup, now: float) -> None:
    """Let the alerts of the group end that fire and are not posted any more, if they came straight."""
    for alert in group.alerts if group.is_straight else ():
        if alert.is_firing:
            alert.ends_at = now + VALID_FOR_S


def list_firing(body: bytes) -> set[str]:
    """Return the fingerprints of the alerts that fire by *body*."""
    content = json.loads(body)
    if isinstance(content, list):
        return {fingerprint(alert["labels"]) for alert in content if alert["is_firing"]}
    return {alert["fingerprint"] for alert in content["alerts"] if alert["status"] == "firing"}


def _posted(alert: TrueAlert, now: float) -> dict[str, Any]:
    ends_at = now + VALID_FOR_S if alert.is_firing else min(alert.ends_at, now)
    return {
        "labels": alert.labels,
        "annotations": {"summary": "it is bad"},
        "startsAt": _rfc3339(alert.starts_at),
        "endsAt": _rfc3339(ends_at),
        "generatorURL": "",
        "is_firing": alert.is_firing,  # for us; the receiver ignores what it does not know
    }


def _row(alert: TrueAlert, now: float) -> dict[str, Any]:
    return {
        "status": "firing" if alert.is_firing else "resolved",
        "labels": alert.labels,
        "annotations": {"summary": "it is bad"},
        "startsAt": _rfc3339(alert.starts_at),
        "endsAt": _rfc3339(min(alert.ends_at, now)) if alert.ends_at else "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": alert.fingerprint,
    }


def _rfc3339(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).isoformat().replace("+00:00", "Z")
