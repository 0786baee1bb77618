"""The API's operations on maintenance, storms and the status of the receiver."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from receiver.app.services import Services
from receiver.clock import parse_duration
from receiver.config_state import ConfigState
from receiver.engine.health import TargetHealth, evaluate_channel
from receiver.engine.queue import SILENT_AFTER_S
from receiver.errors import NotFound
from receiver.heartbeats.model import Heartbeat, HeartbeatSignal
from receiver.maintenance import LONGEST_S, Maintenance
from receiver.model.routing import ALERTMANAGER, PAGERDUTY, SLACK
from receiver.storms.model import (
    Storm,
    VersionedStorm,
    list_counted_members,
    list_incident_ids,
    load_member_states,
    summarize_storm,
)
from receiver.text import one_line
from receiver.web.api.incidents import read_actor
from receiver.web.api.requests import (
    ActorFields,
    EmptyRequest,
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
from receiver.web.monitoring import compare_clocks
from receiver.web.server.errors import RequestError

_MAX_COMMENT = 300


def show_maintenance(
    services: Services, _name: str = "", _asked: EmptyRequest | None = None
) -> MaintenanceRow:
    """Return the active maintenance; all fields are null where there is none."""
    return render_maintenance(services.maintenance.find_active(services.clock()))


def start_maintenance(services: Services, _name: str, asked: StartMaintenanceRequest) -> MaintenanceRow:
    """Start maintenance, in which no pages are sent; it replaces an active one."""
    by, now = read_actor(asked), services.clock()
    until = _read_until(asked, now)
    return render_maintenance(
        services.maintenance_service.start(by, until, one_line(asked.comment or "", _MAX_COMMENT), now)
    )


def end_maintenance(services: Services, _name: str, asked: EndMaintenanceRequest) -> MaintenanceRow:
    """End maintenance; the second time changes nothing."""
    services.maintenance_service.stop(read_actor(ActorFields(by=asked.by, via=asked.via)), services.clock())
    return render_maintenance(None)


def render_maintenance(found: Maintenance | None) -> MaintenanceRow:
    if found is None:
        return MaintenanceRow(None, None, None, None)
    return MaintenanceRow(
        until=format_moment(found.until),
        since=format_moment(found.since),
        by=found.by,
        comment=found.comment or None,
    )


def _read_until(asked: StartMaintenanceRequest, now: float) -> float:
    """Return the requested end; raises RequestError with a message for none, two, or one too far ahead."""
    if bool(asked.for_) == bool(asked.until):
        raise RequestError(400, "expected for, like 2h, or until, like 2026-11-23T14:00:00Z")
    name, text = ("for", asked.for_ or "") if asked.for_ else ("until", asked.until or "")
    try:
        until = now + parse_duration(text) if asked.for_ else _parse_moment(text)
    except (ValueError, OverflowError):
        until = 0.0
    if not now < until <= now + LONGEST_S:
        expected = "a time like 30m or 2h" if asked.for_ else "a moment ahead like 2026-11-23T14:00:00Z"
        raise RequestError(400, f"{name} is {one_line(text, 100)!r}, expected {expected}, 7 days at most")
    return until


def _parse_moment(text: str) -> float:
    """Return the moment for an RFC 3339 text; without a zone it is UTC."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


_MAX_NAMES = 50


def list_storms(services: Services) -> StormList:
    """Return the storms that are not resolved, newest first."""
    rows = []
    for storm in services.storm_store.list_unresolved():
        try:
            rows.append(describe_storm(services, services.storm_store.load_storm(storm.id)))
        except NotFound:
            continue
    return StormList(rows)


def acknowledge_storm(services: Services, storm_id: str, asked: ActorFields) -> StormRow:
    """Acknowledge all incidents that a storm counts; when this returns, a worker still goes through them."""
    services.storms.respond(storm_id, "acknowledge", read_actor(asked), services.clock(), is_renewing=True)
    return describe_storm(services, services.storm_store.load_storm(storm_id))


def describe_storm(services: Services, loaded: VersionedStorm) -> StormRow:
    """Return a storm with the current counts of its members."""
    storm = loaded.storm
    heads = services.incidents.load_heads(list_incident_ids(loaded))
    summary = summarize_storm(list_counted_members(load_member_states(loaded, heads)))
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
    root = storm.deliveries.get("root")
    return (root.receipt.link or None) if root is not None and root.receipt is not None else None


def show_status(services: Services, _name: str = "", _asked: EmptyRequest | None = None) -> Status:
    """Return the status of Redis, workers, channels, heartbeats and others. Raises StoreError."""
    now = services.clock()
    targets = services.health.list_targets()
    return Status(
        redis="ok",  # otherwise StoreError leads to a 503
        workers=len(services.work_queue.list_workers(now - SILENT_AFTER_S, now + SILENT_AFTER_S)),
        channels={
            kind: _serialize_channel(services, kind, targets, now)
            for kind in (SLACK, PAGERDUTY, ALERTMANAGER)
        },
        heartbeats=list_heartbeats(services),
        maintenance=show_maintenance(services),
        storms=[storm.target_key for storm in services.storm_store.list_unresolved() if storm.is_active],
        config=ConfigRow(
            loaded_at=format_moment(services.config.state.loaded_at),
            error=describe_refusals(services.config.list_refused()) or None,
        ),
        last_webhook_at={
            source: format_moment(at) for source, at in services.last_webhooks.list_all().items()
        },
        clocks=[ClockRow(name, round(ahead_s, 1)) for name, ahead_s in compare_clocks(services).items()],
    )


def describe_refusals(refused: Mapping[str, ConfigState]) -> str:
    """Return why configurations were refused, each reason once with its processes; empty for none."""
    processes: dict[str, list[str]] = {}
    for process, state in refused.items():
        processes.setdefault(state.error, []).append(process or "this process")
    return "; ".join(f"{error} [{', '.join(names)}]" for error, names in processes.items())


def list_heartbeats(services: Services) -> list[HeartbeatRow]:
    """Return each heartbeat from each source, and those that were never received."""
    signals = services.heartbeat_store.list_signals() if services.routing.heartbeats else []
    missed = services.heartbeat_store.check_missed(signals)
    rows = []
    for heartbeat in services.routing.heartbeats:
        mine = [pair for pair in zip(signals, missed, strict=True) if pair[0].heartbeat == heartbeat.name]
        rows += [_render_heartbeat(heartbeat, signal, is_missed=is_missed) for signal, is_missed in mine]
        rows += [] if mine else [_render_heartbeat(heartbeat, None, is_missed=False)]
    return rows


def _render_heartbeat(
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


def _serialize_channel(services: Services, kind: str, targets: list[TargetHealth], now: float) -> ChannelRow:
    health = evaluate_channel(kind, targets, now)
    state = ChannelState.SIMULATED if _is_simulated(services, kind) else ChannelState(health.state)
    return ChannelRow(state=state, reason=health.reason or None, since=format_optional_moment(health.since))


def _is_simulated(services: Services, kind: str) -> bool:
    if kind == SLACK:
        return not services.routing.slack_token
    targets = [responder.find_target(PAGERDUTY) for responder in services.routing.responders.values()]
    return kind == PAGERDUTY and not any(target and target.secret for target in targets)
