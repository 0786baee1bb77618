"""The API's operations on maintenance, storms and the status of the receiver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from receiver.clock import Clock, parse_duration
from receiver.config.model import Routing
from receiver.config_state import ConfigReport, ConfigState
from receiver.engine.health import RedisHealth, evaluate_channel
from receiver.errors import NotFound
from receiver.heartbeats.model import Heartbeat, HeartbeatSignal
from receiver.heartbeats.service import RedisHeartbeats
from receiver.http_client import parse_timestamp
from receiver.incidents.store import RedisIncidents
from receiver.last_webhooks import LastWebhooks
from receiver.maintenance import LONGEST_S, Maintenance, MaintenanceService, RedisMaintenance
from receiver.model.delivery_keys import MESSAGE
from receiver.model.incident import Incident
from receiver.model.routing import ALERTMANAGER, PAGERDUTY, SLACK
from receiver.storms.model import Storm, VersionedStorm, list_counted_members, summarize_storm
from receiver.storms.service import StormService
from receiver.storms.store import RedisStorms
from receiver.text import one_line
from receiver.web.api import responses
from receiver.web.api.incidents import read_actor
from receiver.web.api.openapi import operation
from receiver.web.api.requests import (
    ActorFields,
    EndMaintenanceRequest,
    StartMaintenanceRequest,
    invalid_value,
)
from receiver.web.api.serializers import format_optional_timestamp, format_timestamp, serialize_fields
from receiver.web.monitoring import ProcessMonitor
from receiver.web.server.errors import RequestError

_NO_STORM = {HTTPStatus.NOT_FOUND: "There is no such storm, or it has expired."}
_MAX_COMMENT = 300
_MAX_NAMES = 50


@dataclass(frozen=True)
class MaintenanceHandler:
    """The operations on maintenance. All raise StoreError."""

    maintenance: RedisMaintenance
    service: MaintenanceService
    clock: Clock

    @operation("GET", "/maintenance", "showMaintenance")
    def get_maintenance(self) -> responses.MaintenanceRow:
        """Show the active maintenance, in which no pages are sent."""
        return _serialize_maintenance(self.maintenance.find_active(self.clock()))

    @operation("POST", "/maintenance", "beginMaintenance")
    def start_maintenance(self, fields: StartMaintenanceRequest) -> responses.MaintenanceRow:
        """Start maintenance, 7 days at most: no pages are sent; what still fires afterwards is paged.

        It replaces an active one.
        """
        by, now = read_actor(fields), self.clock()
        until, comment = _read_until(fields, now), one_line(fields.comment or "", _MAX_COMMENT)
        return _serialize_maintenance(self.service.start_maintenance(by, until, comment, now))

    @operation("DELETE", "/maintenance", "endMaintenance")
    def end_maintenance(self, fields: EndMaintenanceRequest) -> responses.MaintenanceRow:
        """End maintenance: what still fires is paged immediately.

        The second time changes nothing.
        """
        self.service.end_maintenance(read_actor(fields), self.clock())
        return _serialize_maintenance(None)


def _serialize_maintenance(found: Maintenance | None) -> responses.MaintenanceRow:
    if found is None:
        return responses.MaintenanceRow(None, None, None, None)
    return serialize_fields(responses.MaintenanceRow, found)


def _read_until(fields: StartMaintenanceRequest, now: float) -> float:
    """Return the requested end; raises RequestError with a message for none, two, or one too far ahead."""
    if bool(fields.for_) == bool(fields.until):
        raise RequestError(400, "expected for, like 2h, or until, like 2026-11-23T14:00:00Z")
    name, text = ("for" if fields.for_ else "until"), fields.for_ or fields.until or ""
    try:
        until = now + parse_duration(text) if fields.for_ else parse_timestamp(text)
    except ValueError:
        until = 0.0
    if not now < until <= now + LONGEST_S:
        expected = "a time like 30m or 2h" if fields.for_ else "a moment ahead like 2026-11-23T14:00:00Z"
        raise invalid_value(name, text, f"{expected}, 7 days at most")
    return until


@dataclass(frozen=True)
class StormHandler:
    """The operations on storms. All raise StoreError, and NotFound for an unknown storm."""

    storms: StormService
    incidents: RedisIncidents
    clock: Clock

    @operation("GET", "/storms", "listStorms")
    def list_storms(self) -> responses.StormList:
        """List the storms that are not resolved, newest first."""
        rows = []
        for storm in self.storms.store.list_unresolved():
            with suppress(NotFound):
                rows.append(self.load_storm(storm.id)[0])
        return responses.StormList(rows)

    @operation("POST", "/storms/{storm_id}/acknowledge", "acknowledgeStorm", _NO_STORM)
    def acknowledge_storm(self, storm_id: str, fields: ActorFields) -> responses.StormRow:
        """Acknowledge all incidents of a storm.

        When this returns, a worker still goes through them.
        """
        by, now = read_actor(fields), self.clock()
        self.storms.record_response(storm_id, "acknowledge", by, now, is_renewing=True)
        return self.load_storm(storm_id)[0]

    def load_storm(self, storm_id: str) -> tuple[responses.StormRow, Storm, list[Incident]]:
        """Return a storm with the current counts of its members, and these without alerts."""
        loaded = self.storms.store.load_storm(storm_id)
        heads = self.incidents.load_heads(loaded.incident_ids)
        return _serialize_storm(loaded, heads), loaded.storm, list(heads.values())


def _serialize_storm(loaded: VersionedStorm, heads: Mapping[str, Incident]) -> responses.StormRow:
    storm = loaded.storm
    summary = summarize_storm(list_counted_members(loaded.list_members(heads)))
    acknowledgement, message = storm.acknowledgement, storm.deliveries.get(MESSAGE)
    return serialize_fields(
        responses.StormRow,
        storm,
        total=summary.total,
        open=summary.open,
        acknowledged=summary.acknowledged,
        resolved=summary.resolved,
        severities=[responses.NameCount(str(severity), number) for severity, number in summary.severities],
        alertnames=[responses.NameCount(name, number) for name, number in summary.names[:_MAX_NAMES]],
        acknowledged_by=acknowledgement.by.name if acknowledgement else None,
        link=(message.receipt.link if message and message.receipt else "") or None,
    )


@dataclass(frozen=True)
class HeartbeatList:
    """The configured heartbeats and their latest signals. Raises StoreError."""

    heartbeats: Sequence[Heartbeat]
    store: RedisHeartbeats

    def list_heartbeats(self) -> list[responses.HeartbeatRow]:
        """Return each heartbeat from each source, and those that were never received."""
        heartbeats = self.heartbeats
        signals = self.store.list_signals() if heartbeats else []
        found = list(zip(signals, self.store.check_missed(signals), strict=True))
        rows = []
        for heartbeat in heartbeats:
            mine: list[tuple[HeartbeatSignal | None, bool]]
            mine = [pair for pair in found if pair[0].heartbeat == heartbeat.name]
            for signal, is_missed in mine or [(None, False)]:
                state = responses.HeartbeatState.MISSING if is_missed else responses.HeartbeatState.BEATING
                rows.append(
                    responses.HeartbeatRow(
                        heartbeat=heartbeat.name,
                        source=signal.source if signal else None,
                        state=state if signal else responses.HeartbeatState.WAITING,
                        last_at=format_optional_timestamp(signal.at if signal else None),
                        every_s=heartbeat.every,
                        grace_s=heartbeat.grace,
                        notify=heartbeat.notify.name,
                    )
                )
        return rows


@dataclass(frozen=True)
class ChannelList:
    """The channels and their health. Raises StoreError."""

    health: RedisHealth
    routing: Routing
    clock: Clock

    def list_channels(self) -> dict[str, responses.ChannelRow]:
        """Return the state of each channel by name."""
        targets, now = self.health.list_targets(), self.clock()
        routing = self.routing
        is_simulated = {
            SLACK: not routing.slack_token,
            PAGERDUTY: not any(target.secret for target in routing.pagerduty_targets.values()),
            ALERTMANAGER: False,
        }
        states = ((kind, evaluate_channel(kind, targets, now)) for kind in is_simulated)
        return {
            kind: serialize_fields(
                responses.ChannelRow,
                health,
                state=responses.ChannelState("simulated" if is_simulated[kind] else health.state),
            )
            for kind, health in states
        }


@dataclass(frozen=True)
class StatusHandler:
    """Shows the status of the receiver. Raises StoreError."""

    processes: ProcessMonitor
    channels: ChannelList
    heartbeats: HeartbeatList
    maintenance: MaintenanceHandler
    storm_store: RedisStorms
    config: ConfigReport
    last_webhooks: LastWebhooks

    @operation("GET", "/status", "showStatus")
    def get_status(self) -> responses.Status:
        """Show the status of the receiver: workers, channels, heartbeats, maintenance."""
        storms = self.storm_store.list_unresolved()
        return self.load_status(storms, self.config.list_refused())

    def load_status(self, storms: Sequence[Storm], refused: Mapping[str, ConfigState]) -> responses.Status:
        """Return the status with the given unresolved *storms* and *refused* configurations."""
        webhooks = self.last_webhooks.list_all()
        return responses.Status(
            redis="ok",  # otherwise StoreError leads to a 503
            workers=len(self.processes.list_workers()),
            channels=self.channels.list_channels(),
            heartbeats=self.heartbeats.list_heartbeats(),
            maintenance=self.maintenance.get_maintenance(),
            storms=[storm.target_key for storm in storms if storm.is_active],
            config=responses.ConfigRow(
                loaded_at=format_timestamp(self.config.find_state().loaded_at),
                error=describe_refusals(refused) or None,
            ),
            last_webhook_at={source: format_timestamp(at) for source, at in webhooks.items()},
            clocks=[
                responses.ClockRow(name, round(ahead_s, 1))
                for name, ahead_s in self.processes.compare_clocks().items()
            ],
        )


def describe_refusals(refused: Mapping[str, ConfigState]) -> str:
    """Return why configurations were refused, each reason once with its processes; empty for none."""
    processes: dict[str, list[str]] = {}
    for process, state in refused.items():
        processes.setdefault(state.error, []).append(process or "this process")
    return "; ".join(f"{error} [{', '.join(names)}]" for error, names in processes.items())
