"""How the receiver itself does: for the API and the page."""

from __future__ import annotations

from collections.abc import Mapping

from receiver.config_state import ConfigState
from receiver.engine.health import TargetHealth, evaluate_channel
from receiver.engine.queue import SILENT_AFTER_S
from receiver.heartbeats.model import Heartbeat, HeartbeatSignal
from receiver.model.routing import ALERTMANAGER, PAGERDUTY, SLACK
from receiver.web.health import compare_clocks
from receiver.web.maintenance import show_maintenance
from receiver.web.questions import EmptyRequest
from receiver.web.rows import format_moment, format_optional_moment
from receiver.web.status_bodies import (
    ChannelRow,
    ChannelState,
    ClockRow,
    ConfigRow,
    HeartbeatRow,
    HeartbeatState,
    Status,
)
from receiver.wiring.parts import Services


def show_status(services: Services, _name: str = "", _asked: EmptyRequest | None = None) -> Status:
    """Return how store, workers, channels and heartbeats do. Raises StoreError."""
    now = services.clock()
    targets = services.health.list_targets()
    return Status(
        redis="ok",  # else there is no answer but 503
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
    """Return why configurations were refused, each reason once with the processes; empty for none."""
    processes: dict[str, list[str]] = {}
    for process, state in refused.items():
        processes.setdefault(state.error, []).append(process or "this process")
    return "; ".join(f"{error} [{', '.join(names)}]" for error, names in processes.items())


def list_heartbeats(services: Services) -> list[HeartbeatRow]:
    """Return each heartbeat from each source, and those that wait for their first beat."""
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
