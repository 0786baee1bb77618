"""What the API answers about the receiver itself: how it does, maintenance, storms."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from receiver.web.bodies import Moment


class MaintenanceRow(Struct, frozen=True):
    """The maintenance in force, in which nobody is paged; all is null where there is none."""

    until: Moment | None
    since: Moment | None
    by: str | None
    comment: str | None


class ChannelState(StrEnum):
    """How a channel does: `failing` means that its last delivery failed."""

    OK = "ok"
    FAILING = "failing"
    SIMULATED = "simulated"
    UNKNOWN = "unknown"


class ChannelRow(Struct, frozen=True):
    """How one kind of channel does."""

    state: ChannelState
    reason: str | None
    since: Annotated[Moment | None, Meta(description="Failing since then, or else the last arrival.")]


class HeartbeatState(StrEnum):
    """How a heartbeat does: `waiting` for its first beat."""

    WAITING = "waiting"
    BEATING = "beating"
    MISSING = "missing"


class HeartbeatRow(Struct, frozen=True):
    """One heartbeat from one source."""

    heartbeat: Annotated[str, Meta(description="Its matchers.")]
    source: Annotated[str | None, Meta(description="Null while it waits for its first beat.")]
    state: HeartbeatState
    last_at: Moment | None
    every_s: float
    grace_s: float
    notify: str


class ConfigRow(Struct, frozen=True):
    """How the configuration in force stands."""

    loaded_at: Annotated[Moment, Meta(description="When the process that answers loaded it.")]
    error: Annotated[
        str | None,
        Meta(description="Why a newer one was refused, and by which processes; null while none refused one."),
    ]


class ClockRow(Struct, frozen=True):
    """The clock of one process."""

    process: Annotated[str, Meta(description="`web HOST` or `worker HOST`.")]
    ahead_s: Annotated[float, Meta(description="Seconds ahead of Redis' own clock; behind it below 0.")]


class Status(Struct, frozen=True):
    """How the receiver itself does."""

    redis: str
    workers: Annotated[int, Meta(description="How many are alive.")]
    channels: dict[str, ChannelRow]
    heartbeats: list[HeartbeatRow]
    maintenance: MaintenanceRow
    storms: list[str]
    config: ConfigRow
    last_webhook_at: Annotated[
        dict[str, Moment],
        Meta(description="By the `source` of the webhook's address, an empty one where it has none."),
    ]
    clocks: Annotated[list[ClockRow], Meta(description="Empty while all agree within 2 s, Redis' too.")]


class NameCount(Struct, frozen=True):
    """How many incidents have an alert name or a severity."""

    name: str
    count: int


class StormRow(Struct, frozen=True):
    """More new incidents in a channel, or for a responder, than could be said one by one."""

    id: str
    target_key: Annotated[str, Meta(description="channel:#NAME or responder:NAME")]
    began_at: Moment
    ended_at: Annotated[Moment | None, Meta(description="When new incidents were said one by one again.")]
    resolved_at: Moment | None
    total: Annotated[int, Meta(description="How many incidents it speaks for.")]
    open: int
    acknowledged: int
    resolved: int
    severities: list[NameCount]
    alertnames: Annotated[list[NameCount], Meta(description="The most frequent first, 50 at most.")]
    acknowledged_by: Annotated[str | None, Meta(description="Who last acknowledged all it counted.")]
    link: Annotated[str | None, Meta(description="Its message in Slack.")]


class StormList(Struct, frozen=True):
    """The storms that are not resolved, newest first."""

    storms: list[StormRow]
