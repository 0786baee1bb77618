"""The values of heartbeats: the heartbeat, its latest signal, and the alert that it is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from msgspec import Struct

from receiver.clock import format_duration, to_datetime
from receiver.model.alert import Alert, Group, fingerprint
from receiver.model.incident import group_id_of
from receiver.model.routing import EscalationPolicy, Matcher, Responder, Step

ALERTNAME = "HeartbeatMissing"
# The Alertmanager receiver name in our own alerts, and their route, which is part of their group IDs.
RECEIVER = "receiver"
ROUTE = "heartbeat"
_POLICY = "heartbeat:"
_NO_NAME = "default"


@dataclass(frozen=True)
class Heartbeat:
    """An alert that must keep coming: when none matched for `every` + `grace` seconds, page `notify`."""

    matchers: tuple[Matcher, ...]
    every: float
    grace: float
    notify: Responder

    @property
    def name(self) -> str:
        """Its matchers as text, which identifies it."""
        return ",".join(str(matcher) for matcher in self.matchers)

    @property
    def policy(self) -> EscalationPolicy:
        """The escalation policy of its incident: one step, its responder."""
        return EscalationPolicy(f"{_POLICY}{self.name}", (Step(self.notify.name, self.notify),))

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(matcher.matches(labels) for matcher in self.matchers)

    def missing_at(self, signal_at: float, up_since: float) -> float:
        """Return when it counts as missing after the signal at *signal_at*, if no other comes.

        After a downtime of the receiver the whole time starts again at *up_since*, because signals that
        were sent meanwhile were not received.
        """
        return max(signal_at, up_since) + self.every + self.grace


def find_heartbeat_policy(heartbeats: Iterable[Heartbeat], name: str) -> EscalationPolicy | None:
    """Return the escalation policy called *name*, if it belongs to one of *heartbeats*."""
    if not name.startswith(_POLICY):
        return None
    return next((one.policy for one in heartbeats if one.policy.name == name), None)


class HeartbeatSignal(Struct, frozen=True):
    """The latest signal from a source; `heartbeat` is the heartbeat's name, `external_url` the sender's."""

    heartbeat: str
    source: str
    at: float
    external_url: str = ""

    @property
    def group_id(self) -> str:
        """The group ID of the incident for a missing signal; it does not depend on the routes."""
        return group_id_of(self.source, self._group_key, ROUTE)

    @property
    def _group_key(self) -> str:
        return f"heartbeat/{self.heartbeat}"

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the alert for a missing signal."""
        return {
            "alertname": ALERTNAME,
            "heartbeat": self.heartbeat,
            "severity": "critical",
            "source": self.source or _NO_NAME,
        }

    def build_group(self, heartbeat: Heartbeat | None, starts_at: float, ends_at: float = 0.0) -> Group:
        """Return our own alert that it is missing since *starts_at*; resolved if *ends_at* is given.

        *heartbeat* is None where it has left the configuration.
        """
        alert = Alert(
            fingerprint=fingerprint(self.labels),
            labels=self.labels,
            annotations=self._build_annotations(heartbeat),
            starts_at=starts_at,
            ends_at=ends_at,
        )
        labels = {name: self.labels[name] for name in ("alertname", "heartbeat", "source")}
        return Group(self.source, RECEIVER, self._group_key, labels, (alert,), external_url=self.external_url)

    def _build_annotations(self, heartbeat: Heartbeat | None) -> dict[str, str]:
        if heartbeat is None:
            return {"summary": f"The heartbeat {self.heartbeat} is no longer in the configuration"}
        since = to_datetime(self.at)
        where = f" ({self.external_url})" if self.external_url else ""
        return {
            "summary": f"{self.heartbeat} from {self.source or _NO_NAME} has not come since "
            f"{since:%Y-%m-%d %H:%M:%S} UTC; it should every {format_duration(heartbeat.every)}",
            "description": f"What should send it{where} may be down, and then no alert comes from there. "
            "Check that its Prometheus evaluates rules and reaches Alertmanager, that Alertmanager runs "
            "and can reach this receiver (its log tells failed notifications), and that the alert's route "
            "still leads here. It resolves with the next beat.",
        }
