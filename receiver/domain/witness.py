"""What Alertmanager says when it is asked: which alerts it knows, and which silences.

Only how it was seen; what that means for an incident is judged elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

SilenceState = Literal["active", "pending", "expired"]


@dataclass(frozen=True)
class RemoteAlert:
    """An alert as one Alertmanager shows it.

    *silenced_by* holds ids of silences, *inhibited_by* fingerprints of alerts, *muted_by* names of
    time intervals (told from Alertmanager 0.28 on). *receivers* are the receivers it is routed to.
    """

    fingerprint: str
    is_firing: bool  # whatever mutes it; false once it is past its end
    silenced_by: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()
    muted_by: tuple[str, ...] = ()
    receivers: tuple[str, ...] = ()

    @property
    def is_muted(self) -> bool:
        """Tell whether Alertmanager keeps it to itself, for any of the three reasons."""
        return bool(self.silenced_by or self.inhibited_by or self.muted_by)


@dataclass(frozen=True)
class Replica:
    """One Alertmanager that answered: the alerts it knows, by fingerprint, and since when it is up.

    *up_since* is by our own clock: how far the other one is off has been taken out.
    """

    url: str
    alerts: Mapping[str, RemoteAlert]
    up_since: float


@dataclass(frozen=True)
class UnreachableReplica:
    """One Alertmanager that could not be asked, and why in a few words."""

    url: str
    reason: str


@dataclass(frozen=True)
class Poll:
    """One look at all replicas, begun at *at*."""

    at: float
    replicas: tuple[Replica, ...] = ()
    unreachable: tuple[UnreachableReplica, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Tell whether everybody there is has answered."""
        return bool(self.replicas) and not self.unreachable


@dataclass(frozen=True)
class RemoteSilence:
    """A silence as Alertmanager has it; *by* made it."""

    id: str
    state: SilenceState
    starts_at: float
    ends_at: float
    by: str = ""
    comment: str = ""
