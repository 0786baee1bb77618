"""Heartbeats: their store in Redis, the filter that takes their signals out of webhooks, the monitor."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import msgspec
from msgspec.structs import replace

from receiver.engine.ports import Notices
from receiver.heartbeats.model import ROUTE, Heartbeat, HeartbeatSignal
from receiver.incidents.ingest import IncidentIngester
from receiver.incidents.service import IncidentService
from receiver.incidents.store import RedisIncidents
from receiver.model.alert import Alert, Group, fingerprint
from receiver.model.incident import Incident, IncidentChange, TimelineEvent
from receiver.model.merge import merge
from receiver.model.routing import RouteSettings, RoutingTable
from receiver.storage import keys
from receiver.storage.connection import Client, Scripts, store_errors
from receiver.storage.script_clock import BY_WALL_CLOCK, ScriptClock
from receiver.text import one_line

logger = logging.getLogger(__name__)
TASK_NAME = "heartbeats"
CHECK_EVERY_S = 30.0
_IDLE_S = 3600.0
# After this time without a check the receiver was down, or the clock jumped: no heartbeat is missing then.
_DOWN_AFTER_S = 60.0
# Clocks of our hosts may differ by this much; a signal further ahead was saved before a clock was set back.
_CLOCKS_DIFFER_S = 5.0
# Each source can cause a page, and clients choose the source names: limit them.
_SOURCES_AT_MOST = 200
_NEW_SOURCES_AT_MOST = 8
_DAY_S = 86400.0
_MAX_URL = 200
_json = msgspec.json
_Value = tuple[float, str]


class RedisHeartbeats:
    """Stores the latest signals. Every method raises StoreError when Redis is unavailable."""

    def __init__(self, client: Client, *, script_clock: ScriptClock = BY_WALL_CLOCK) -> None:
        self._redis = client
        self._scripts = Scripts(client)
        self._script_clock = script_clock

    def save_signals(self, signals: Sequence[HeartbeatSignal]) -> list[float | None]:
        """Save *signals* as the latest ones, in one round trip; return the previous time of each."""
        values = {_field(signal): _json.encode((signal.at, signal.external_url)) for signal in signals}
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(keys.HEARTBEATS, list(values))
            pipe.hset(keys.HEARTBEATS, mapping=values)
            pipe.expire(keys.HEARTBEATS, keys.HEARTBEATS_FOR_S)
            former = pipe.execute()[0]
        return [_json.decode(packed, type=_Value)[0] if packed else None for packed in former]

    def admit_source(self, source: str, now: float) -> bool:
        """Return whether *source* is known, or new with fewer than `_NEW_SOURCES_AT_MOST` others in a day.

        It is written before counting, so that concurrent calls can't exceed the limit.
        """
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hsetnx(keys.HEARTBEATS_FIRST, source, repr(now))
            pipe.expire(keys.HEARTBEATS_FIRST, keys.HEARTBEATS_FOR_S)
            pipe.hgetall(keys.HEARTBEATS_FIRST)
            is_new, _, rows = pipe.execute()
        others = sum(float(at) > now - _DAY_S for name, at in rows.items() if name != source.encode())
        if not is_new or others < _NEW_SOURCES_AT_MOST:
            return True
        with store_errors():
            self._redis.hdel(keys.HEARTBEATS_FIRST, source)
        return False

    def list_signals(self) -> list[HeartbeatSignal]:
        """Return the latest signal of each heartbeat and source, newest first."""
        with store_errors():
            rows = self._redis.hgetall(keys.HEARTBEATS)
        signals = [
            HeartbeatSignal(*_json.decode(name, type=tuple[str, str]), *_json.decode(row, type=_Value))
            for name, row in rows.items()
        ]
        return sorted(signals, key=lambda signal: (-signal.at, signal.heartbeat, signal.source))

    def delete_signal(self, signal: HeartbeatSignal) -> None:
        """Delete a signal and its missed mark; the heartbeat then waits for its first signal."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hdel(keys.HEARTBEATS, _field(signal))
            pipe.hdel(keys.HEARTBEATS_MISSED, _field(signal))
            pipe.execute()

    def check_missed(self, signals: Sequence[HeartbeatSignal]) -> list[bool]:
        """Tell for each of *signals* whether `record_missed` was called for it."""
        if not signals:
            return []
        with store_errors():
            times = self._redis.hmget(keys.HEARTBEATS_MISSED, [_field(signal) for signal in signals])
        return [bool(at) and float(at) == signal.at for signal, at in zip(signals, times, strict=True)]

    def record_missed(self, signal: HeartbeatSignal) -> None:
        """Record that the signal after this one is missing."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(keys.HEARTBEATS_MISSED, _field(signal), repr(signal.at))
            pipe.expire(keys.HEARTBEATS_MISSED, keys.HEARTBEATS_FOR_S)
            pipe.execute()

    def record_uptime(self, now: float, ahead_s: float | None) -> tuple[float, float]:
        """Record that the receiver is up; return since when, and how many seconds *now* is ahead of Redis.

        The uptime starts again at *now* in two cases: no worker recorded it in the last `_DOWN_AFTER_S`
        seconds by Redis' clock, or this host's clock was set. The clock was set if its lead over Redis' clock
        differs from *ahead_s*, the lead at the last call, by more than `_CLOCKS_DIFFER_S` seconds.
        """
        times = [self._script_clock.format_after(now), repr(now), "" if ahead_s is None else f"{ahead_s:.6f}"]
        limits = [_CLOCKS_DIFFER_S, _DOWN_AFTER_S, keys.HEARTBEAT_UPTIME_FOR_S]
        with store_errors():
            since, ahead = self._scripts.run_script(
                "record_uptime", [keys.HEARTBEAT_UPTIME], [*times, *limits]
            )
        return float(since), float(ahead)


def _field(signal: HeartbeatSignal) -> bytes:
    return _json.encode((signal.heartbeat, signal.source))


_Found = dict[tuple[str, str], tuple[Heartbeat, HeartbeatSignal]]  # by heartbeat's name and source


@dataclass
class HeartbeatFilter:
    """Extracts heartbeat signals from incoming alerts. *wake* makes the monitor run at once.

    If *sources* lists any, only those count; else at most eight new ones a day. Rejected sources are
    reported in *notices*.
    """

    heartbeats: Sequence[Heartbeat]
    heartbeat_store: RedisHeartbeats
    wake: Callable[[float], None]
    sources: Collection[str]
    notices: Notices

    @cached_property
    def _label_names(self) -> tuple[str, ...]:
        """The labels that the heartbeats match."""
        return tuple({matcher.name for one in self.heartbeats for matcher in one.matchers})

    def extract_signals(self, groups: tuple[Group, ...], now: float) -> tuple[tuple[Group, ...], int]:
        """Save the signals among *groups*; return the others, and the signals' number. Raises StoreError."""
        if not self.heartbeats:
            return groups, 0
        found: _Found = {}
        left, count = [], 0
        for group in groups:
            others = group.alerts
            if self._may_hold_signal(group):
                others = tuple(alert for alert in others if not self._find_signals(alert, group, now, found))
            count += len(group.alerts) - len(others)
            left.append(group if len(others) == len(group.alerts) else replace(group, alerts=others))
        for (heartbeat_name, source), (_, signal) in list(found.items()):
            if self.sources and source not in self.sources:
                self._reject_signal(signal, "it is not in `alertmanagers` of routing.yaml", now)
                del found[heartbeat_name, source]
        if found:
            self._save_signals(list(found.values()), now)
        return tuple(left), count

    def _reject_signal(self, signal: HeartbeatSignal, why: str, now: float) -> None:
        """Save a notice, at most once a day, that signals of a source do not count."""
        source = one_line(signal.source, 80) or "(none)"
        fields = {"source": source, "reason": why}
        logger.warning("heartbeat not counted", extra={"fields": fields, "state": why})
        text = f"Heartbeats from the source {source} do not count: {why}"
        self.notices.save_notice(
            "heartbeat sources", text, now, about="Heartbeats that do not count", every=_DAY_S
        )

    def _may_hold_signal(self, group: Group) -> bool:
        """Return whether *group* may hold a signal; tries each combination of the matched labels once."""
        names = self._label_names
        combinations = {tuple(map(alert.labels.get, names)) for alert in group.alerts}
        tried = [{name: value or "" for name, value in zip(names, one, strict=True)} for one in combinations]
        return any(heartbeat.matches(labels) for heartbeat in self.heartbeats for labels in tried)

    def _find_signals(self, alert: Alert, group: Group, now: float, found: _Found) -> bool:
        """Return whether *alert* is a signal of any heartbeat, and add it to *found*."""
        mine = [one for one in self.heartbeats if alert.is_firing and one.matches(alert.labels)]
        for heartbeat in mine:
            url = one_line(group.external_url, _MAX_URL)
            signal = HeartbeatSignal(heartbeat.name, group.source, now, url)
            found[heartbeat.name, group.source] = heartbeat, signal
        return bool(mine)

    def _save_signals(self, found: Sequence[tuple[Heartbeat, HeartbeatSignal]], now: float) -> None:
        former = self.heartbeat_store.save_signals([signal for _, signal in found])
        for (heartbeat, signal), before in zip(found, former, strict=True):
            if before is None and not self.sources and not self._admit_source(signal, now):
                continue
            if before is None or not 0 <= now - before < heartbeat.every + heartbeat.grace:
                self.wake(now)  # it may be back: resolve its incident without delay
                return

    def _admit_source(self, signal: HeartbeatSignal, now: float) -> bool:
        """Return whether the first signal of a source counts; it is deleted where it does not."""
        if self.heartbeat_store.admit_source(signal.source, now):
            return True
        self.heartbeat_store.delete_signal(signal)
        many = f"{_NEW_SOURCES_AT_MOST} new sources came within a day"
        self._reject_signal(signal, f"{many}; list yours in `alertmanagers` of routing.yaml", now)
        return False


@dataclass
class HeartbeatMonitor:
    """Checks which signals are missing, and opens or resolves their incidents."""

    routing: RoutingTable
    heartbeats: Sequence[Heartbeat]
    heartbeat_store: RedisHeartbeats
    ingester: IncidentIngester
    incidents: RedisIncidents
    incident_service: IncidentService
    _ahead_s: float | None = field(default=None, init=False)  # of Redis' clock, at the last check

    def check_signals(self, now: float) -> float:
        """Check once; return when to check again. Doing it twice changes nothing. Raises StoreError."""
        since, self._ahead_s = self.heartbeat_store.record_uptime(now, self._ahead_s)
        signals = self.heartbeat_store.list_signals()
        for signal in signals[_SOURCES_AT_MOST:]:
            logger.warning("too many heartbeat sources", extra={"fields": {"deleted": signal.source}})
            self.heartbeat_store.delete_signal(signal)
        del signals[_SOURCES_AT_MOST:]
        if not signals:
            return now + _IDLE_S  # the first signal enqueues this task
        loaded = self.incidents.load_latest([signal.group_id for signal in signals])
        missed = self.heartbeat_store.check_missed(signals)
        due = [
            self._update_incident(signal, latest.incident, is_missed, since, now)
            for signal, latest, is_missed in zip(signals, loaded, missed, strict=True)
        ]
        return min(now + CHECK_EVERY_S, *due)

    def _update_incident(
        self, signal: HeartbeatSignal, incident: Incident | None, is_missed: bool, since: float, now: float
    ) -> float:
        """Open or resolve the incident of one signal; return when to check it again."""
        heartbeat = next((one for one in self.heartbeats if one.name == signal.heartbeat), None)
        later = now + CHECK_EVERY_S
        if heartbeat is None:
            self._retire_signal(signal, incident, now)
            return later
        if signal.at > now + _CLOCKS_DIFFER_S and not is_missed:
            self.heartbeat_store.save_signals([replace(signal, at=now)])
            return later
        alert_state = incident.alert_states.get(fingerprint(signal.labels)) if incident is not None else None
        firing_since = alert_state.starts_at if alert_state is not None and alert_state.is_firing else None
        # The channel that the labels route to, and its one responder.
        policy = heartbeat.policy
        route_settings = RouteSettings(
            route=ROUTE,
            channel=self.routing.find_route(signal.labels).channel,
            policy=policy.name,
            steps=tuple(step.name for step in policy.steps),
            flap_window=self.routing.flap_window,
            flap_count=self.routing.flap_count,
            severities=self.routing.severities,
        )
        missing_at = heartbeat.missing_at(signal.at, since)
        if now < missing_at:
            if firing_since is not None and not is_missed:
                resolved = signal.build_group(heartbeat, firing_since, now)
                self.ingester.ingest_group(resolved, route_settings, now)
            return missing_at
        if firing_since is None:
            self.heartbeat_store.record_missed(signal)
            starts_at = max(signal.at, alert_state.starts_at if alert_state is not None else 0.0)
            self.ingester.ingest_group(signal.build_group(heartbeat, starts_at), route_settings, now)
        elif incident is not None and incident.is_closed_by_hand:
            self.heartbeat_store.delete_signal(signal)  # a person closed it: wait for the next signal
        return later

    def _retire_signal(self, signal: HeartbeatSignal, incident: Incident | None, now: float) -> None:
        """Resolve the incident of a heartbeat that left the configuration, and delete its signal."""
        if incident is not None and not incident.is_resolved:
            route_settings = RouteSettings(ROUTE, incident.channel, incident.policy)
            text = f"The heartbeat {signal.heartbeat} is no longer in the configuration"

            def retire(latest: Incident) -> IncidentChange:
                change = merge(latest, signal.build_group(None, signal.at, now), route_settings, now)
                return replace(change, events=(*change.events, TimelineEvent(now, "noted", text)))

            self.incident_service.update(incident.id, retire, now)
        self.heartbeat_store.delete_signal(signal)
