"""The response types of the API; the JSON and the OpenAPI document are generated from them.

Times are RFC 3339 strings in UTC; a missing value is null. The order of the fields is their order in the
JSON.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from receiver.model.alert import Severity

Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


class State(StrEnum):
    """The state of an incident."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class AlertStatus(StrEnum):
    """The state of an alert."""

    FIRING = "firing"
    RESOLVED = "resolved"


class StepStatus(StrEnum):
    """The state of an escalation step: `waiting` has a due time, `later` waits for the step before it,
    `notifying` is being sent, `notified` has a receipt, `timed_out` has none in time.

    `unconfirmed`: PagerDuty accepted its page and has no incident for it; `notified_at` is then another
    target's.
    """

    WAITING = "waiting"
    LATER = "later"
    NOTIFYING = "notifying"
    NOTIFIED = "notified"
    UNCONFIRMED = "unconfirmed"
    TIMED_OUT = "timed_out"


class DeliveryState(StrEnum):
    """The state of a delivery: `failed` failed permanently."""

    DELIVERED = "delivered"
    FAILED = "failed"
    PENDING = "pending"


class IncidentRow(Struct, frozen=True):
    """One incident in a list."""

    id: str
    state: State
    severity: Annotated[
        Severity,
        Meta(description="The highest severity of the firing alerts; never falls while it is open."),
    ]
    alertname: Annotated[str, Meta(description="Of the representative alert: the most severe that fires.")]
    summary: Annotated[str, Meta(description="Of the same alert; `(+4)` counts what else fires.")]
    receiver: Annotated[str, Meta(description="The name of Alertmanager's receiver.")]
    group_key: str
    group_labels: dict[str, str]
    route: str
    channel: str
    firing: Annotated[int, Meta(description="How many of its alerts fire.")]
    total: int
    opened_at: Timestamp
    updated_at: Timestamp
    acknowledged_by: str | None
    next_step: Annotated[str | None, Meta(description="The next step, unless the incident is acknowledged.")]
    next_step_at: Annotated[Timestamp | None, Meta(description="Null while the escalation is paused.")]


class HistoryRow(IncidentRow, frozen=True):
    """One incident in the history."""

    resolved_at: Timestamp | None
    duration_s: Annotated[
        float | None, Meta(description="Seconds from opening to resolved; null while it is open.")
    ]
    acknowledged_after_s: Annotated[
        float | None, Meta(description="Seconds from opening to the first acknowledgement.")
    ]


class IncidentListPage(Struct, frozen=True):
    """One page of the list of incidents, newest first."""

    incidents: list[IncidentRow]
    next_cursor: Annotated[str | None, Meta(description="The cursor of the next page; null on the last one.")]


class HistoryPage(Struct, frozen=True):
    """One page of the history, newest first."""

    incidents: list[HistoryRow]
    next_cursor: Annotated[str | None, Meta(description="The cursor of the next page; null on the last one.")]


class LinkRow(Struct, frozen=True):
    """A link: http or https, with all that is unsafe percent-encoded."""

    name: Annotated[str, Meta(description="From the key of an annotation: `dashboard_url` is `Dashboard`.")]
    url: str


class AlertRow(Struct, frozen=True):
    """One alert of an incident."""

    fingerprint: str
    status: AlertStatus
    severity: Severity
    starts_at: Timestamp | None
    ends_at: Timestamp | None
    labels: dict[str, str]
    annotations: dict[str, str]
    generator_url: str
    links: Annotated[
        list[LinkRow],
        Meta(description="Its source, runbook, and annotations that are web addresses."),
    ]


class EventRow(Struct, frozen=True):
    """One line of an incident's timeline."""

    at: Timestamp
    what: Annotated[
        str, Meta(description="The kind of event: opened, joined, acknowledged, resolved and others.")
    ]
    text: str
    by: str | None
    via: Annotated[str | None, Meta(description="Where it came from, such as slack or pagerduty.")]


class StepRow(Struct, frozen=True):
    """One step of an incident's escalation."""

    step: str
    responder: str
    state: StepStatus
    due_at: Timestamp | None
    notified_at: Annotated[
        Timestamp | None,
        Meta(description="The first receipt; a page's counts only where PagerDuty has an incident for it."),
    ]
    timed_out_at: Annotated[
        Timestamp | None,
        Meta(description="When the step timed out, which started the wait for the next step."),
    ]


class Escalation(Struct, frozen=True):
    """The state of an incident's escalation."""

    policy: str | None
    steps: list[StepRow]


class SuppressionRow(Struct, frozen=True):
    """Why escalation steps wait although alerts fire."""

    reason: Annotated[str, Meta(description="silenced, inhibited or muted (by a time interval)")]
    by: str | None
    since: Timestamp
    until: Timestamp | None


class MatcherRow(Struct, frozen=True):
    """One label matcher of a silence."""

    name: str
    value: str


class SilenceRow(Struct, frozen=True):
    """A silence that was requested here; Alertmanager holds it."""

    number: int
    silence_id: Annotated[str | None, Meta(description="Alertmanager's own ID, once it has it.")]
    matchers: list[MatcherRow]
    by: str
    comment: str
    until: Timestamp | None
    until_resolved: bool
    ended_at: Timestamp | None


class DeliveryRow(Struct, frozen=True):
    """One notification and the state of its delivery."""

    id: str
    target: str
    state: DeliveryState
    attempts: int
    at: Annotated[Timestamp | None, Meta(description="When it arrived, or else was last tried.")]
    retry_at: Timestamp | None
    reason: str | None
    detail: str | None
    simulated: Annotated[bool, Meta(description="Not sent, because the channel has no credentials.")]
    link: str | None
    note: str | None
    retry_id: Annotated[str | None, Meta(description="The ID for sending it again; null unless it failed.")]


class FailedDelivery(Struct, frozen=True):
    """A delivery that failed permanently, or its state since it was sent again."""

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
    failed_at: Timestamp | None


class FailurePage(Struct, frozen=True):
    """One page of the deliveries that failed permanently, newest first."""

    deliveries: list[FailedDelivery]
    next_cursor: Annotated[str | None, Meta(description="The cursor of the next page; null on the last one.")]


class IncidentDetail(IncidentRow, frozen=True):
    """One incident with all its details."""

    source: str
    truncated: Annotated[int, Meta(description="How many alerts of `total` Alertmanager left out.")]
    acknowledged_at: Timestamp | None
    resolved_at: Timestamp | None
    resolved_by: Annotated[str | None, Meta(description="Null where its alerts resolved.")]
    previous: Annotated[str | None, Meta(description="The ID of the group's incident before this one.")]
    snoozed_until: Timestamp | None
    stale_at: Annotated[Timestamp | None, Meta(description="When it counts as stale unless it is repeated.")]
    suppressed: SuppressionRow | None
    storm: Annotated[str | None, Meta(description="The ID of the storm that bundles it.")]
    links: Annotated[
        list[LinkRow],
        Meta(description="Its runbook, Alertmanager's silence form, the configured ones."),
    ]
    silences: list[SilenceRow]
    alerts: list[AlertRow]
    timeline: list[EventRow]
    escalation: Escalation
    deliveries: list[DeliveryRow]


class RunbookPart(Struct, frozen=True):
    """One piece of a runbook's section: a paragraph, item, code, table or callout."""

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
    """The active maintenance, in which no pages are sent; all fields are null where there is none."""

    until: Timestamp | None
    since: Timestamp | None
    by: str | None
    comment: str | None


class ChannelState(StrEnum):
    """The health of a channel: `failing` means that its last delivery failed."""

    OK = "ok"
    FAILING = "failing"
    SIMULATED = "simulated"
    UNKNOWN = "unknown"


class ChannelRow(Struct, frozen=True):
    """The health of one kind of channel."""

    state: ChannelState
    reason: str | None
    since: Annotated[
        Timestamp | None, Meta(description="Since when it is failing, or else the time of the last delivery.")
    ]


class HeartbeatState(StrEnum):
    """The state of a heartbeat: `waiting` for its first signal."""

    WAITING = "waiting"
    BEATING = "beating"
    MISSING = "missing"


class HeartbeatRow(Struct, frozen=True):
    """One heartbeat from one source."""

    heartbeat: Annotated[str, Meta(description="Its matchers.")]
    source: Annotated[str | None, Meta(description="Null before its first signal.")]
    state: HeartbeatState
    last_at: Timestamp | None
    every_s: float
    grace_s: float
    notify: str


class ConfigRow(Struct, frozen=True):
    """The configuration in force, and whether a newer one was refused."""

    loaded_at: Annotated[Timestamp, Meta(description="When the answering process loaded it.")]
    error: Annotated[
        str | None,
        Meta(description="Why a newer one was refused, and by which processes; null while none refused one."),
    ]


class ClockRow(Struct, frozen=True):
    """The clock of one process."""

    process: Annotated[str, Meta(description="`web HOST` or `worker HOST`.")]
    ahead_s: Annotated[float, Meta(description="Seconds ahead of Redis' own clock; behind it below 0.")]


class Status(Struct, frozen=True):
    """The status of the receiver itself."""

    redis: str
    workers: Annotated[int, Meta(description="How many are alive.")]
    channels: dict[str, ChannelRow]
    heartbeats: list[HeartbeatRow]
    maintenance: MaintenanceRow
    storms: list[str]
    config: ConfigRow
    last_webhook_at: Annotated[
        dict[str, Timestamp],
        Meta(description="By the `source` of the webhook's address, an empty one where it has none."),
    ]
    clocks: Annotated[list[ClockRow], Meta(description="Empty while all agree within 2 s, Redis' too.")]


class NameCount(Struct, frozen=True):
    """How many incidents have an alert name or a severity."""

    name: str
    count: int


class StormRow(Struct, frozen=True):
    """A storm: more new incidents in a channel, or for a responder, than can be sent one by one."""

    id: str
    target_key: Annotated[str, Meta(description="channel:#NAME or responder:NAME")]
    began_at: Timestamp
    ended_at: Annotated[Timestamp | None, Meta(description="When new incidents were sent one by one again.")]
    resolved_at: Timestamp | None
    total: Annotated[int, Meta(description="How many incidents it bundles.")]
    open: int
    acknowledged: int
    resolved: int
    severities: list[NameCount]
    alertnames: Annotated[list[NameCount], Meta(description="The most frequent first, 50 at most.")]
    acknowledged_by: Annotated[str | None, Meta(description="Who last acknowledged all its incidents.")]
    link: Annotated[str | None, Meta(description="Its message in Slack.")]


class StormList(Struct, frozen=True):
    """The storms that are not resolved, newest first."""

    storms: list[StormRow]
