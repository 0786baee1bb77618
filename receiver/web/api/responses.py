"""The response types of the API; the JSON and the OpenAPI document are generated from them.

Times are RFC 3339 strings in UTC; a missing value is null. The order of the fields is their order in the
JSON.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from receiver.model.alert import Severity

Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


class State(StrEnum):
    """How an incident stands."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class AlertStatus(StrEnum):
    """How an alert stands."""

    FIRING = "firing"
    RESOLVED = "resolved"


class StepStatus(StrEnum):
    """How a step of the escalation stands: `later` waits for another step, `waiting` for its time.

    `unconfirmed`: PagerDuty accepted its page and has no incident for it; `notified_at` is then another
    target's.
    """

    WAITING = "waiting"
    LATER = "later"
    NOTIFYING = "telling"
    NOTIFIED = "told"
    UNCONFIRMED = "unconfirmed"
    GIVEN_UP = "given_up"


class DeliveryState(StrEnum):
    """How a delivery stands: `failed` was given up for good."""

    DELIVERED = "delivered"
    FAILED = "failed"
    PENDING = "pending"


class IncidentRow(Struct, frozen=True):
    """One incident in a list."""

    id: str
    state: State
    severity: Annotated[Severity, Meta(description="The worst of what fires, never lower while open.")]
    alertname: Annotated[str, Meta(description="Of the alert that stands for all: the worst that fires.")]
    summary: Annotated[str, Meta(description="Of the same alert; `(+4)` counts what else fires.")]
    receiver: Annotated[str, Meta(description="Alertmanager's name for where it sent the group.")]
    group_key: str
    group_labels: dict[str, str]
    route: str
    channel: str
    firing: Annotated[int, Meta(description="How many of its alerts fire.")]
    total: int
    opened_at: Moment
    updated_at: Moment
    acknowledged_by: str | None
    next_step: Annotated[str | None, Meta(description="Who hears of it next, if nobody acknowledges.")]
    next_step_at: Moment | None


class HistoryRow(IncidentRow, frozen=True):
    """One incident in the history."""

    resolved_at: Moment | None
    duration_s: Annotated[
        float | None, Meta(description="Seconds from opening to resolved; null while it is open.")
    ]
    acknowledged_after_s: Annotated[
        float | None, Meta(description="Seconds from opening to the acknowledgement that stands.")
    ]


class IncidentPage(Struct, frozen=True):
    """Part of the list of incidents, newest first."""

    incidents: list[IncidentRow]
    next_cursor: Annotated[str | None, Meta(description="Gives the next part; null at the end.")]


class HistoryPage(Struct, frozen=True):
    """Part of the history, newest first."""

    incidents: list[HistoryRow]
    next_cursor: Annotated[str | None, Meta(description="Gives the next part; null at the end.")]


class AlertRow(Struct, frozen=True):
    """One alert of an incident."""

    fingerprint: str
    status: AlertStatus
    severity: Severity
    starts_at: Moment | None
    ends_at: Moment | None
    labels: dict[str, str]
    annotations: dict[str, str]
    generator_url: str


class EventRow(Struct, frozen=True):
    """One line of an incident's timeline."""

    at: Moment
    what: Annotated[str, Meta(description="A short word: opened, joined, acknowledged, resolved and others.")]
    text: str
    by: str | None
    via: Annotated[str | None, Meta(description="The side it came from, like slack or pagerduty.")]


class StepRow(Struct, frozen=True):
    """One step of an incident's escalation."""

    step: str
    responder: str
    state: StepStatus
    due_at: Moment | None
    notified_at: Annotated[
        Moment | None,
        Meta(description="The first receipt of what notifies it, of a page only where PagerDuty has it."),
    ]
    given_up_at: Annotated[
        Moment | None, Meta(description="When the wait for the next step began without a receipt.")
    ]


class Escalation(Struct, frozen=True):
    """How an incident's escalation stands."""

    policy: str | None
    steps: list[StepRow]


class SuppressionRow(Struct, frozen=True):
    """Why nobody further is told though it fires."""

    reason: Annotated[str, Meta(description="silenced, inhibited or muted (by a time interval)")]
    by: str | None
    since: Moment
    until: Moment | None


class MatcherRow(Struct, frozen=True):
    """One label that a silence asks for."""

    name: str
    value: str


class SilenceRow(Struct, frozen=True):
    """A silence that was wished for here; it lives in Alertmanager."""

    number: int
    silence_id: Annotated[str | None, Meta(description="Alertmanager's own ID, once it has it.")]
    matchers: list[MatcherRow]
    by: str
    comment: str
    until: Moment | None
    until_resolved: bool
    ended_at: Moment | None


class DeliveryRow(Struct, frozen=True):
    """One notification and what became of it."""

    id: str
    target: str
    state: DeliveryState
    attempts: int
    at: Annotated[Moment | None, Meta(description="When it arrived, or else was last tried.")]
    retry_at: Moment | None
    reason: str | None
    detail: str | None
    simulated: Annotated[bool, Meta(description="Sent nowhere, as its channel has no credentials.")]
    link: str | None
    note: str | None
    retry_id: Annotated[str | None, Meta(description="By which it can be sent again; null unless it failed.")]


class FailedDelivery(Struct, frozen=True):
    """A delivery that was given up, or what became of it since somebody asked for it again."""

    id: str
    incident: str
    alertname: str
    severity: Severity
    target: str
    what: Annotated[str, Meta(description="The delivery's key within its incident.")]
    state: DeliveryState
    reason: str | None
    detail: str | None
    attempts: int
    failed_at: Moment | None


class FailurePage(Struct, frozen=True):
    """Part of the deliveries that were given up, newest first."""

    deliveries: list[FailedDelivery]
    next_cursor: Annotated[str | None, Meta(description="Gives the next part; null at the end.")]


class IncidentDetail(IncidentRow, frozen=True):
    """One incident with all that is known of it."""

    source: str
    truncated: Annotated[int, Meta(description="How many alerts of `total` Alertmanager left out.")]
    acknowledged_at: Moment | None
    resolved_at: Moment | None
    resolved_by: Annotated[str | None, Meta(description="Null where its alerts resolved.")]
    previous: Annotated[str | None, Meta(description="The ID of the group's incident before this one.")]
    snoozed_until: Moment | None
    stale_at: Annotated[Moment | None, Meta(description="When it counts as stale unless it is repeated.")]
    suppressed: SuppressionRow | None
    storm: Annotated[str | None, Meta(description="The ID of the storm that speaks for it.")]
    silences: list[SilenceRow]
    alerts: list[AlertRow]
    timeline: list[EventRow]
    escalation: Escalation
    deliveries: list[DeliveryRow]


class RunbookPart(Struct, frozen=True):
    """One piece of a runbook's section: a paragraph, item, code or table."""

    kind: str
    text: str
    depth: int
    marker: str
    lang: str


class RunbookSection(Struct, frozen=True):
    """A titled part of a runbook; the first may have no title."""

    title: str
    parts: list[RunbookPart]


class RunbookDetail(Struct, frozen=True):
    """A runbook in its sections and as the Markdown it was read from."""

    name: str
    severity: str
    sections: list[RunbookSection]
    markdown: str


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
