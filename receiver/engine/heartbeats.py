"""The dead man's switch: beats are noted as they come, and one that stays away becomes an incident."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from msgspec.structs import replace

from receiver.domain.alert import Alert, Group, fingerprint
from receiver.domain.heartbeat import ROUTE, Beat, Heartbeat
from receiver.domain.incident import AlertState, Incident, IncidentChange, TimelineEvent
from receiver.domain.merge import RouteSettings, merge
from receiver.domain.notice import Notices
from receiver.domain.ports import Incidents, RoutingTable, VersionedIncident
from receiver.engine.hands import IncidentService
from receiver.engine.intake import IncidentIngester
from receiver.text import one_line

logger = logging.getLogger(__name__)

TASK_NAME = "beats"
LOOK_EVERY_S = 30.0
_NOTHING_TO_SEE_S = 3600.0
# Not looked for so long: we were down, or the clock jumped. Who was not listened to is not accused.
_DEAF_AFTER_S = 60.0
# The clocks of our own processes may differ by so much; a beat further ahead is from before a step back.
_CLOCKS_DIFFER_S = 5.0
# Each source is a page that may come: whoever makes up names must not make them without end.
_SOURCES_AT_MOST = 200
_NEW_SOURCES_AT_MOST = 8
_DAY_S = 86400.0
_MAX_URL = 200


class Beats(Protocol):
    """Where beats are kept; every method may raise StoreError."""

    def note(self, beats: Sequence[Beat]) -> list[float | None]: ...
    def admit(self, source: str, now: float, *, at_most: int, within_s: float) -> bool: ...
    def find_all(self) -> list[Beat]: ...
    def forget(self, beat: Beat) -> None: ...
    def find_missed(self, beats: Sequence[Beat]) -> list[bool]: ...
    def note_missed(self, beat: Beat) -> None: ...
    def note_listening(
        self, now: float, ahead_s: float | None, *, deaf_after_s: float, differ_s: float
    ) -> tuple[float, float]: ...


class Pulse:
    """Takes beats out of what comes in. *wake* has the watch look at once.

    Of *sources* only those count, where any are listed; else at most eight new ones a day. Others are said in
    *notices*.
    """

    def __init__(
        self,
        heartbeats: Sequence[Heartbeat],
        beats: Beats,
        wake: Callable[[float], None],
        *,
        sources: Collection[str],
        notices: Notices,
    ) -> None:
        self._heartbeats = tuple(heartbeats)
        self._beats = beats
        self._wake = wake
        self._sources = frozenset(sources)
        self._notices = notices
        self._matched = tuple({matcher.name for one in heartbeats for matcher in one.matchers})

    def extract(self, groups: tuple[Group, ...], now: float) -> tuple[tuple[Group, ...], int]:
        """Note the beats among *groups*; return the groups without them, and how many they were.

        When this returns they are in the store. Raises StoreError.
        """
        if not self._heartbeats:
            return groups, 0
        found: dict[tuple[str, str], tuple[Heartbeat, Beat]] = {}
        left, count = [], 0
        for group in groups:
            if not self._may_beat(group):
                left.append(group)
                continue
            others = tuple(alert for alert in group.alerts if not self._find(alert, group, now, found))
            count += len(group.alerts) - len(others)
            left.append(group if len(others) == len(group.alerts) else replace(group, alerts=others))
        if found and self._sources:
            found = {key: one for key, one in found.items() if self._is_listed(one[1], now)}
        if found:
            self._note(list(found.values()), now)
        return tuple(left), count

    def _is_listed(self, beat: Beat, now: float) -> bool:
        if beat.source in self._sources:
            return True
        self._refuse(beat, "it is not in `alertmanagers` of routing.yaml", now)
        return False

    def _refuse(self, beat: Beat, why: str, now: float) -> None:
        """Say once a day that beats of a source are not listened for."""
        source = one_line(beat.source, 80) or "(none)"
        fields = {"source": source, "reason": why}
        logger.warning("heartbeat not counted", extra={"fields": fields, "state": why})
        text = f"Heartbeats from the source {source} do not count: {why}"
        self._notices.put("heartbeat sources", text, now, about="Heartbeats that do not count", every=_DAY_S)

    def _may_beat(self, group: Group) -> bool:
        """Tell whether *group* may hold a beat: each combination of the labels that count is tried once."""
        names = self._matched
        values = {tuple(map(alert.labels.get, names)) for alert in group.alerts}
        told = [{name: value or "" for name, value in zip(names, each, strict=True)} for each in values]
        return any(heartbeat.matches(labels) for heartbeat in self._heartbeats for labels in told)

    def _find(
        self, alert: Alert, group: Group, now: float, found: dict[tuple[str, str], tuple[Heartbeat, Beat]]
    ) -> bool:
        """Tell whether *alert* is a beat, of any heartbeat, and add it to *found*."""
        mine = [heartbeat for heartbeat in self._heartbeats if heartbeat.is_beat(alert)]
        for heartbeat in mine:
            beat = Beat(heartbeat.name, group.source, now, one_line(group.external_url, _MAX_URL))
            found[heartbeat.name, group.source] = heartbeat, beat
        return bool(mine)

    def _note(self, found: Sequence[tuple[Heartbeat, Beat]], now: float) -> None:
        former = self._beats.note([beat for _, beat in found])
        for (heartbeat, beat), before in zip(found, former, strict=True):
            if before is None and not self._admit(beat, now):
                continue
            if before is None or not 0 <= now - before < heartbeat.every + heartbeat.grace:
                self._wake(now)  # it may be back: nobody should be told a moment longer that it is missing
                return

    def _admit(self, beat: Beat, now: float) -> bool:
        """Tell whether the first beat of *beat*'s source counts; it is forgotten where it does not."""
        if self._sources:
            return True
        most = _NEW_SOURCES_AT_MOST
        if self._beats.admit(beat.source, now, at_most=most, within_s=_DAY_S):
            return True
        self._beats.forget(beat)
        why = f"{most} new sources came within a day; list yours in `alertmanagers` of routing.yaml"
        self._refuse(beat, why, now)
        return False


class HeartbeatWatch:
    """Looks which beats are missing, and brings their incidents to how that is."""

    def __init__(
        self,
        routing: RoutingTable,
        heartbeats: Sequence[Heartbeat],
        beats: Beats,
        ingester: IncidentIngester,
        incidents: Incidents,
    ) -> None:
        self._routing = routing
        self._heartbeats: Mapping[str, Heartbeat] = {one.name: one for one in heartbeats}
        self._beats = beats
        self._ingester = ingester
        self._incidents = incidents
        self._incident_service = IncidentService(incidents)
        self._ahead_s: float | None = None  # of Redis' clock, when we last looked

    def run(self, now: float) -> float:
        """Look once; return when to look again. Doing it twice changes nothing. Raises StoreError."""
        since = self._listen(now)
        beats = self._beats.find_all()
        for beat in beats[_SOURCES_AT_MOST:]:
            logger.warning("too many sources of beats", extra={"fields": {"forgotten": beat.source}})
            self._beats.forget(beat)
        del beats[_SOURCES_AT_MOST:]
        if not beats:
            return now + _NOTHING_TO_SEE_S  # the first beat wakes us
        loaded = self._incidents.load_latest([beat.group_id for beat in beats])
        missed = self._beats.find_missed(beats)
        moments = [self._see(*each, since, now) for each in zip(beats, loaded, missed, strict=True)]
        return min(now + LOOK_EVERY_S, *moments)

    def _listen(self, now: float) -> float:
        """Return since when we have listened without a break, and note that we still do."""
        since, self._ahead_s = self._beats.note_listening(
            now, self._ahead_s, deaf_after_s=_DEAF_AFTER_S, differ_s=_CLOCKS_DIFFER_S
        )
        return since

    def _see(self, beat: Beat, loaded: VersionedIncident, is_missed: bool, since: float, now: float) -> float:
        """Bring one beat's incident to how it stands; return when it may be missing."""
        heartbeat, alert_state = self._heartbeats.get(beat.heartbeat), _find_alert_state(loaded, beat)
        later = now + LOOK_EVERY_S
        if heartbeat is None:
            self._retire(beat, loaded.incident, now)
            return later
        if beat.at > now + _CLOCKS_DIFFER_S and not is_missed:
            self._beats.note([replace(beat, at=now)])
            return later
        missing_at = heartbeat.missing_at(beat.at, since)
        if now < missing_at:
            if alert_state is not None and alert_state.is_firing and not is_missed:
                self._ingester.ingest_group(
                    beat.group(heartbeat, alert_state.starts_at, now),
                    self._build_route_settings(beat, heartbeat),
                    now,
                )
            return missing_at
        if loaded.incident is None or alert_state is None or not alert_state.is_firing:
            self._beats.note_missed(beat)
            starts_at = max(beat.at, alert_state.starts_at if alert_state is not None else 0.0)
            self._ingester.ingest_group(
                beat.group(heartbeat, starts_at), self._build_route_settings(beat, heartbeat), now
            )
        elif loaded.incident.is_closed_by_hand:
            self._beats.forget(beat)  # whoever closed it knows: quiet until it beats again
        return later

    def _retire(self, beat: Beat, incident: Incident | None, now: float) -> None:
        """Resolve what is open for a heartbeat that left the configuration, and forget its beat."""
        if incident is not None and not incident.is_resolved:
            route_settings = RouteSettings(ROUTE, incident.channel, incident.policy)
            text = f"The heartbeat {beat.heartbeat} is no longer in the configuration"

            def retire(latest: Incident) -> IncidentChange:
                change = merge(latest, beat.group(None, beat.at, now), route_settings, now)
                return replace(change, events=(*change.events, TimelineEvent(now, "noted", text)))

            self._incident_service.update(incident.id, retire, now)
        self._beats.forget(beat)

    def _build_route_settings(self, beat: Beat, heartbeat: Heartbeat) -> RouteSettings:
        """Return its own route, the channel of the route that fits its labels, its one responder."""
        policy = heartbeat.policy
        return RouteSettings(
            route=ROUTE,
            channel=self._routing.find_route(beat.labels).channel,
            policy=policy.name,
            steps=tuple(step.name for step in policy.steps),
            flap_window=self._routing.flap_window,
            flap_count=self._routing.flap_count,
            severities=self._routing.severities,
        )


def _find_alert_state(loaded: VersionedIncident, beat: Beat) -> AlertState | None:
    if loaded.incident is None:
        return None
    return loaded.incident.alert_states.get(fingerprint(beat.labels))
