"""The API's operations on maintenance, storms and the status of the receiver."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from receiver.clock import Clock, parse_duration
from receiver.config.model import Routing
from receiver.config_state import ConfigReport, ConfigState
from receiver.engine.health import RedisHealth, TargetHealth, evaluate_channel
from receiver.errors import NotFound
from receiver.heartbeats.model import Heartbeat, HeartbeatSignal
from receiver.heartbeats.service import RedisHeartbeats
from receiver.incidents.store import RedisIncidents
from receiver.last_webhooks import LastWebhooks
from receiver.maintenance import LONGEST_S, Maintenance, MaintenanceService, RedisMaintenance
from receiver.model.delivery_keys import MESSAGE
from receiver.model.incident import Incident
from receiver.model.routing import ALERTMANAGER, PAGERDUTY, SLACK
from receiver.storms.model import (
    Storm,
    VersionedStorm,
    list_counted_members,
    summarize_storm,
)
from receiver.storms.service import StormService
from receiver.storms.store import RedisStorms
from receiver.text import one_line
from receiver.web.api.incidents import read_actor
from receiver.web.api.requests import (
    ActorFields,
    EndMaintenanceRequest,
    StartMaintenanceRequest,
)
from receiver.web.api.responses import (
    ChannelRow,
    ChannelState,
    ClockRow,
    ConfigRow,
    HeartbeatRow,
    HeartbeatState,
    MaintenanceRow,
    NameCount,
    Status,
    StormList,
    StormRow,
)
from receiver.web.api.serializers import format_moment, format_optional_moment
from receiver.web.monitoring import ProcessMonitor
from receiver.web.server.errors import RequestError

_MAX_COMMENT = 300
_MAX_NAMES = 50


class MaintenanceHandler:
    """The operations on maintenance. All raise StoreError."""

    def __init__(self, maintenance: RedisMaintenance, service: MaintenanceService, clock: Clock) -> None:
        self._maintenance = maintenance
        self._service = service
        self._clock = clock

    def describe(self) -> MaintenanceRow:
        """Return the active maintenance; all fields are null where there is none."""
        return _serialize_maintenance(self._maintenance.find_active(self._clock()))

    def start(self, fields: StartMaintenanceRequest) -> MaintenanceRow:
        """Start maintenance, in which no pages are sent; it replaces an active one."""
        by, now = read_actor(fields), self._clock()
        until, comment = _read_until(fields, now), one_line(fields.comment or "", _MAX_COMMENT)
        return _serialize_maintenance(self._service.start(by, until, comment, now))

    def end(self, fields: EndMaintenanceRequest) -> MaintenanceRow:
        """End maintenance; the second time changes nothing."""
        self._service.stop(read_actor(ActorFields(by=fields.by, via=fields.via)), self._clock())
        return _serialize_maintenance(None)


def _serialize_maintenance(found: Maintenance | None) -> MaintenanceRow:
    if found is None:
        return MaintenanceRow(None, None, None, None)
    return MaintenanceRow(
        until=format_moment(found.until),
        since=format_moment(found.since),
        by=found.by,
        comment=found.comment or None,
    )


def _read_until(fields: StartMaintenanceRequest, now: float) -> float:
    """Return the requested end; raises RequestError with a message for none, two, or one too far ahead."""
    if bool(fields.for_) == bool(fields.until):
        raise RequestError(400, "expected for, like 2h, or until, like 2026-11-23T14:00:00Z")
    name, text = ("for", fields.for_ or "") if fields.for_ else ("until", fields.until or "")
    try:
        until = now + parse_duration(text) if fields.for_ else _parse_moment(text)
    except (ValueError, OverflowError):
        until = 0.0
    if not now < until <= now + LONGEST_S:
        expected = "a time like 30m or 2h" if fields.for_ else "a moment ahead like 2026-11-23T14:00:00Z"
        raise RequestError(400, f"{name} is {one_line(text, 100)!r}, expected {expected}, 7 days at most")
    return until


def _parse_moment(text: str) -> float:
    """Return the moment for an RFC 3339 text; without a zone it is UTC."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


class StormHandler:
    """The operations on storms. All raise StoreError, and NotFound for an unknown storm."""

    def __init__(
        self, storms: RedisStorms, service: StormService, incidents: RedisIncidents, clock: Clock
    ) -> None:
        self._storms = storms
        self._service = service
        self._incidents = incidents
        self._clock = clock

    def list_unresolved(self) -> list[Storm]:
        """Return the storms that are not resolved, newest first."""
        return self._storms.list_unresolved()

    def list_storms(self) -> StormList:
        """Return the storms that are not resolved, newest first, with the counts of their members."""
        rows = []
        for storm in self._storms.list_unresolved():
            try:
                rows.append(self.describe(storm.id)[0])
            except NotFound:
                continue
        return StormList(rows)

    def acknowledge(self, storm_id: str, fields: ActorFields) -> StormRow:
        """Acknowledge all members of a storm; when this returns, a worker still goes through them."""
        self._service.respond(storm_id, "acknowledge", read_actor(fields), self._clock(), is_renewing=True)
        return self.describe(storm_id)[0]

    def describe(self, storm_id: str) -> tuple[StormRow, Storm, list[Incident]]:
        """Return a storm with the current counts of its members, and these without alerts."""
        loaded = self._storms.load_storm(storm_id)
        heads = self._incidents.load_heads(loaded.incident_ids)
        return _serialize_storm(loaded, heads), loaded.storm, list(heads.values())


def _serialize_storm(loaded: VersionedStorm, heads: Mapping[str, Incident]) -> StormRow:
    storm = loaded.storm
    summary = summarize_storm(list_counted_members(loaded.list_members(heads)))
    acknowledgement = storm.acknowledgement
    return StormRow(
        id=storm.id,
        target_key=storm.target_key,
        began_at=format_moment(storm.began_at),
        ended_at=format_optional_moment(storm.ended_at),
        resolved_at=format_optional_moment(storm.resolved_at),
        total=summary.total,
        open=summary.open,
        acknowledged=summary.acknowledged,
        resolved=summary.resolved,
        severities=_name_counts((str(severity), number) for severity, number in summary.severities),
        alertnames=_name_counts(summary.names[:_MAX_NAMES]),
        acknowledged_by=acknowledgement.by.name if acknowledgement else None,
        link=_find_link(storm),
    )


def _name_counts(pairs: Iterable[tuple[str, int]]) -> list[NameCount]:
    return [NameCount(name, number) for name, number in pairs]


def _find_link(storm: Storm) -> str | None:
    root = storm.deliveries.get(MESSAGE)
    return (root.receipt.link or None) if root is not None and root.receipt is not None else None


class HeartbeatHandler:
    """Lists the heartbeats. Raises StoreError."""

    def __init__(self, heartbeat_store: RedisHeartbeats, heartbeats: Sequence[Heartbeat]) -> None:
        self._heartbeat_store = heartbeat_store
        self._heartbeats = heartbeats

    def list_heartbeats(self) -> list[HeartbeatRow]:
        """Return each heartbeat from each source, and those that were never received."""
        signals = self._heartbeat_store.list_signals() if self._heartbeats else []
        missed = self._heartbeat_store.check_missed(signals)
        rows = []
        for heartbeat in self._heartbeats:
            mine: list[tuple[HeartbeatSignal | None, bool]]
            mine = [pair for pair in zip(signals, missed, strict=True) if pair[0].heartbeat == heartbeat.name]
            for signal, is_missed in mine or [(None, False)]:
                rows.append(_serialize_heartbeat(heartbeat, signal, is_missed=is_missed))
        return rows


def _serialize_heartbeat(
    heartbeat: Heartbeat, signal: HeartbeatSignal | None, *, is_missed: bool
) -> HeartbeatRow:
    state = HeartbeatState.WAITING
    if signal is not None:
        state = HeartbeatState.MISSING if is_missed else HeartbeatState.BEATING
    return HeartbeatRow(
        heartbeat=heartbeat.name,
        source=signal.source if signal else None,
        state=state,
        last_at=format_optional_moment(signal.at if signal else None),
        every_s=heartbeat.every,
        grace_s=heartbeat.grace,
        notify=heartbeat.notify.name,
    )


class ChannelHandler:
    """Lists the channels with the health of their deliveries. Raises StoreError."""

    def __init__(self, health: RedisHealth, routing: Routing, clock: Clock) -> None:
        self._health = health
        self._clock = clock
        paging = (responder.find_target(PAGERDUTY) for responder in routing.responders.values())
        self._is_simulated = {
            SLACK: not routing.slack_token,
            PAGERDUTY: not any(target and target.secret for target in paging),
            ALERTMANAGER: False,
        }

    def list_channels(self) -> dict[str, ChannelRow]:
        """Return the state of each channel by name."""
        targets, now = self._health.list_targets(), self._clock()
        return {
            kind: _serialize_channel(kind, targets, now, is_simulated=is_simulated)
            for kind, is_simulated in self._is_simulated.items()
        }


def _serialize_channel(
    kind: str, targets: list[TargetHealth], now: float, *, is_simulated: bool
) -> ChannelRow:
    health = evaluate_channel(kind, targets, now)
    state = ChannelState.SIMULATED if is_simulated else ChannelState(health.state)
    return ChannelRow(state=state, reason=health.reason or None, since=format_optional_moment(health.since))


class StatusHandler:
    """Describes the status of the receiver. Raises StoreError."""

    def __init__(
        self,
        *,
        processes: ProcessMonitor,
        channels: ChannelHandler,
        heartbeats: HeartbeatHandler,
        maintenance: MaintenanceHandler,
        storms: StormHandler,
        config: ConfigReport,
        last_webhooks: LastWebhooks,
    ) -> None:
        self._processes = processes
        self._channels = channels
        self._heartbeats = heartbeats
        self._maintenance = maintenance
        self._storms = storms
        self._config = config
        self._last_webhooks = last_webhooks

    def describe(self) -> Status:
        """Return the status of Redis, workers, channels, heartbeats and others."""
        return Status(
            redis="ok",  # otherwise StoreError leads to a 503
            workers=len(self._processes.list_workers()),
            channels=self._channels.list_channels(),
            heartbeats=self._heartbeats.list_heartbeats(),
            maintenance=self._maintenance.describe(),
            storms=[storm.target_key for storm in self._storms.list_unresolved() if storm.is_active],
            config=ConfigRow(
                loaded_at=format_moment(self._config.state.loaded_at),
                error=describe_refusals(self._config.list_refused()) or None,
            ),
            last_webhook_at={
                source: format_moment(at) for source, at in self._last_webhooks.list_all().items()
            },
            clocks=[
                ClockRow(name, round(ahead_s, 1))
                for name, ahead_s in self._processes.compare_clocks().items()
            ],
        )


def describe_refusals(refused: Mapping[str, ConfigState]) -> str:
    """Return why configurations were refused, each reason once with its processes; empty for none."""
    processes: dict[str, list[str]] = {}
    for process, state in refused.items():
        processes.setdefault(state.error, []).append(process or "this process")
    return "; ".join(f"{error} [{', '.join(names)}]" for error, names in processes.items())
