"""The store of incidents in Redis, and the index of alert owners.

The index holds the owner of each alert that fires or ended a short while ago. On one shard the script that
commits an incident maintains it. On several shards an incident and the owners of its alerts may lie on
different nodes. So each alert is claimed first, on the shard of its group family and fingerprint.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from receiver.errors import LeaseLost, NotFound, StoreError
from receiver.incidents import codec
from receiver.incidents.codec import (
    DELIVERY,
    Fields,
    build_alert_fields,
    build_own_fields,
    build_reworded_fields,
    may_have_batches,
    split_compacted_fields,
    unpack_incident,
)
from receiver.incidents.queries import RedisListing
from receiver.model.delivery import Delivery
from receiver.model.incident import (
    Incident,
    IncidentUpdate,
    TimelineEvent,
    VersionedIncident,
    select_full_alerts,
)
from receiver.model.owners import (
    OWNERSHIP_CLAIM_FOR_S,
    WRITE_WITHIN_S,
    AlertOwner,
    OwnershipChanges,
    OwnershipClaim,
    find_ownership_changes,
    group_family_of,
)
from receiver.storage.client import Command
from receiver.storage.connection import Client, ScriptCall, Scripts, raise_if_error, store_errors
from receiver.storage.keys import TIMELINE_LIMIT, WAKE, Keys, shard_of
from receiver.storage.script_clock import BY_WALL_CLOCK, ScriptClock

# The clocks of processes and Redis may differ, so the index keeps an owner longer than it is valid.
_CLOCKS_DIFFER_S = 60


@dataclass(frozen=True)
class OwnerReading:
    """The incidents by group ID, and the owners of alerts by (group family, fingerprint).

    *fault* is set if the owners on some Redis nodes could not be read.
    """

    loaded: Mapping[str, VersionedIncident]
    owners: Mapping[tuple[str, str], AlertOwner]
    fault: Exception | None = None


class StoredIncident(NamedTuple):
    """A complete incident, and how often it had been written: another number later means that it changed."""

    incident: Incident
    writes: int


@dataclass(frozen=True)
class UpdateRefusal:
    """Why a change was not written: its group was changed meanwhile, or other groups own some of its alerts.

    In the second case *owners* holds those owners by fingerprint, and *loaded* their incidents by group ID.
    """

    owners: Mapping[str, AlertOwner] = field(default_factory=dict)
    loaded: Mapping[str, VersionedIncident] = field(default_factory=dict)


class RedisAlertOwners:
    """Finds, claims and releases the owners of alerts. Raises StoreError if Redis fails."""

    def __init__(self, scripts: Scripts, *, history_s: int, flap_window_s: float, shards: int) -> None:
        self._scripts = scripts
        self._history_s = history_s
        self._shards = shards
        # How long the owner of an alert is kept after the alert ended.
        self.kept_after_end_s = math.ceil(flap_window_s) + _CLOCKS_DIFFER_S

    def find_owners(self, group_ids: Sequence[str], claims: Sequence[OwnershipClaim]) -> OwnerReading:
        """On one shard, return the owners of the alerts, their incidents, and those of *group_ids*."""
        keys, by_family = Keys(0), _sort_claims(claims, 1)
        calls = self._build_reads(group_ids)
        for (family, _), asked in by_family.items():
            names = [claim.fingerprint for claim in asked]
            calls.append(("find_owners", [keys.alert_owners(family), keys.incident("")], names))
        with store_errors():
            replies = self._scripts.run_each(calls)
        loaded = {
            group_id: _parse_loaded(group_id, row) for group_id, row in zip(group_ids, replies, strict=False)
        }
        owners: dict[tuple[str, str], AlertOwner] = {}
        for (family, _), reply in zip(by_family, replies[len(group_ids) :], strict=True):
            found = parse_refusal(reply)
            owners |= {(family, name): owner for name, owner in found.owners.items()}
            loaded = {**found.loaded, **loaded}
        return OwnerReading(loaded, owners)

    def claim_ownership(self, group_ids: Sequence[str], claims: Sequence[OwnershipClaim]) -> OwnerReading:
        """On several shards, make *claims*, and return the owners and the incidents of *group_ids*."""
        by_family = _sort_claims(claims, self._shards)
        calls = self._build_reads(group_ids)
        for (family, shard), asked in by_family.items():
            keys = Keys(shard)
            words = [word for one in asked for word in (one.fingerprint, one.group_id, one.former_claim_id)]
            owner_keys = [keys.alert_owners(family), keys.ended_alert_owners(family)]
            calls.append(("claim_owners", owner_keys, [self._history_s, *words]))
        with store_errors():
            replies = self._scripts.run_each(calls, raise_on_error=False)
        loaded = {}
        for group_id, reply in zip(group_ids, replies, strict=False):
            with store_errors():
                loaded[group_id] = _parse_loaded(group_id, raise_if_error(reply))
        owners: dict[tuple[str, str], AlertOwner] = {}
        fault: StoreError | None = None
        for ((family, _), asked), reply in zip(by_family.items(), replies[len(group_ids) :], strict=True):
            try:
                with store_errors():
                    row = raise_if_error(reply)
            except StoreError as error:  # alerts that fire in their own group do not need that node
                fault = fault or error
                continue
            for one, claim_id, age in zip(asked, row[::2], row[1::2], strict=True):
                if claim_id:
                    group_id = claim_id.decode().partition(" ")[0]
                    owners[family, one.fingerprint] = AlertOwner(group_id, claim_id.decode(), age / 1000)
        return OwnerReading(loaded, owners, fault)

    def _build_reads(self, group_ids: Sequence[str]) -> list[ScriptCall]:
        shards = [(shard_of(group_id, self._shards), group_id) for group_id in group_ids]
        return [("read_incident", [Keys(shard).incident(group_id)], []) for shard, group_id in shards]

    def release_alerts(self, updates: Iterable[IncidentUpdate]) -> None:
        """On several shards, let the owners of the alerts that ended with *updates* expire.

        A failure is ignored: such an owner stays until its alert fires and ends again. That does no harm,
        since the incident that an owner names is always read as well.
        """
        calls: list[ScriptCall] = []
        for update in updates:
            incident, loaded = update.incident, update.loaded
            family = group_family_of(incident.source, incident.route)
            names = find_ownership_changes(loaded.incident, incident).ended
            ended = [OwnershipClaim(family, name) for name in names]
            for (_, shard), claims in _sort_claims(ended, self._shards).items():
                keys = Keys(shard)
                owners = [keys.alert_owners(family), keys.ended_alert_owners(family)]
                args = [loaded.group_id, int(OWNERSHIP_CLAIM_FOR_S * 1000), self.kept_after_end_s]
                calls.append(("release_owners", owners, [*args, *(claim.fingerprint for claim in claims)]))
        if calls:
            with suppress(StoreError), store_errors():
                self._scripts.run_each(calls, raise_on_error=False)


def parse_refusal(reply: Any) -> UpdateRefusal:
    """Return the owners in a script's reply and their incidents; none for a reply of 0."""
    if not isinstance(reply, list):
        return UpdateRefusal()
    pairs, *rows = reply
    owners = {
        name.decode(): AlertOwner(group_id.decode())
        for name, group_id in zip(pairs[::2], pairs[1::2], strict=True)
    }
    loaded = {}
    for name, version, head in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
        loaded[name.decode()] = _parse_loaded(name.decode(), (version, head, 0))
    return UpdateRefusal(owners, loaded)


def _parse_loaded(group_id: str, row: Sequence[Any]) -> VersionedIncident:
    version, head, timestamp = row
    return VersionedIncident(
        group_id, codec.decode_incident(head) if head else None, int(version), int(timestamp)
    )


def _sort_claims(
    claims: Iterable[OwnershipClaim], shards: int
) -> dict[tuple[str, int], list[OwnershipClaim]]:
    """Return *claims* by (group family, shard), each alert once."""
    found: dict[tuple[str, int], dict[str, OwnershipClaim]] = {}
    for claim in claims:
        shard = shard_of(f"{claim.group_family} {claim.fingerprint}", shards)
        found.setdefault((claim.group_family, shard), {}).setdefault(claim.fingerprint, claim)
    return {where: list(asked.values()) for where, asked in found.items()}


class RedisIncidents(RedisListing):
    """The store of incidents. Every method raises StoreError if Redis fails."""

    def __init__(
        self,
        client: Client,
        *,
        history_s: float,
        flap_window_s: float = 600.0,
        shards: int = 1,
        script_clock: ScriptClock = BY_WALL_CLOCK,
    ) -> None:
        super().__init__(client, shards=shards)
        self.script_clock = script_clock
        self._history_s = int(history_s)
        self._owners = RedisAlertOwners(
            self._scripts, history_s=self._history_s, flap_window_s=flap_window_s, shards=shards
        )

    # --- the latest incident of a group, for changes ---

    def load_latest(self, group_ids: Sequence[str]) -> list[VersionedIncident]:
        """Return each group's latest incident without alerts and deliveries, in one round trip."""
        with store_errors():
            if len(group_ids) == 1:
                rows = [self._redis.hmget(self.keys_of(group_ids[0]).incident(group_ids[0]), "v", "head")]
            else:
                with self._redis.pipeline(transaction=False) as pipe:
                    for group_id in group_ids:
                        pipe.hmget(self.keys_of(group_id).incident(group_id), "v", "head")
                    rows = pipe.execute()
        return [
            VersionedIncident(group_id, codec.decode_incident(head) if head else None, int(version or 0))
            for group_id, (version, head) in zip(group_ids, rows, strict=True)
        ]

    def commit_updates(self, updates: Sequence[IncidentUpdate]) -> list[bool]:
        """Write each change, in one round trip; False where it was refused."""
        return [refusal is None for refusal in self.try_commit(updates)]

    def try_commit(self, updates: Sequence[IncidentUpdate]) -> list[UpdateRefusal | None]:
        """Write each change by compare-and-set, in one round trip; return None where it was written.

        A change is refused as a whole if its group was changed since it was read, or if a sibling group owns
        an alert that begins to fire in it. If the store is divided, the owners are not checked here. Earlier
        ownership claims are still valid here: a change that starts new alerts is refused when it is written
        too long after its read. Resolves take one more round trip then.
        """
        with store_errors():
            replies = self._scripts.run_all("commit", [self._build_commit_call(update) for update in updates])
        if self.is_divided:
            self._owners.release_alerts(
                update for update, reply in zip(updates, replies, strict=True) if reply == 1
            )
        return [None if reply == 1 else parse_refusal(reply) for reply in replies]

    def save_reworded(self, updates: Sequence[IncidentUpdate]) -> list[bool]:
        """Write the newer labels and annotations of each change, and its incident, without a new version.

        False where the group was changed since it was read; then nothing is written. One round trip, and one
        more if alerts may lie in batches.
        """
        with store_errors():
            whole = self._read_batches(updates)
            calls = [self._build_reword_call(update, whole.get(update.loaded.group_id)) for update in updates]
            return [reply == 1 for reply in self._scripts.run_all("compact", calls)]

    def _read_batches(self, updates: Sequence[IncidentUpdate]) -> dict[str, dict[bytes, bytes]]:
        """Return all fields of the groups that may have batches, by group ID."""
        loaded = [update.loaded for update in updates]
        group_ids = [one.group_id for one in loaded if one.incident and may_have_batches(one.incident)]
        if not group_ids:
            return {}
        with self._redis.pipeline(transaction=False) as pipe:
            for group_id in group_ids:
                pipe.hgetall(self.keys_of(group_id).incident(group_id))
            return dict(zip(group_ids, pipe.execute(), strict=True))

    def _build_reword_call(
        self, update: IncidentUpdate, whole: dict[bytes, bytes] | None
    ) -> tuple[list[str], Fields]:
        incident, loaded = update.incident, update.loaded
        alerts = select_full_alerts(incident, update.change.reworded)
        gone, fields = build_reworded_fields(whole or {}, alerts)
        keys = self.keys_of(loaded.group_id)
        args: Fields = [loaded.version, len(gone), *gone, "head", codec.encode_incident(incident), *fields]
        return [keys.incident(loaded.group_id), keys.changes], args

    def _build_commit_call(self, update: IncidentUpdate) -> tuple[list[str], Fields]:
        incident, change, loaded = update.incident, update.change, update.loaded
        keys, history_s = self.keys_of(loaded.group_id), self._history_s
        is_put_aside = change.is_new and loaded.incident is not None
        former = loaded.incident.id if loaded.incident else incident.id
        indexes = (keys.closed, keys.open) if incident.is_resolved else (keys.open, keys.closed)
        fields: Fields = ["head", codec.encode_incident(incident)]
        fields += build_alert_fields(select_full_alerts(incident, change.changed_alerts))
        fields += build_own_fields(select_full_alerts(incident, change.reworded))
        changes = find_ownership_changes(loaded.incident, incident)
        latest = 0
        if self.is_divided:
            if changes.begun and loaded.read_at_ms:
                latest = loaded.read_at_ms + int(WRITE_WITHIN_S * 1000)
            changes = OwnershipChanges()
        seen = [(name, update.former_owners[name]) for name in changes.begun if name in update.former_owners]
        left_owners = [f"{name} {owner.group_id} {owner.version}" for name, owner in seen]
        family = group_family_of(incident.source, incident.route)
        hashes = (keys.incident(loaded.group_id), keys.past_incident(former), keys.timeline(incident.id))
        owners = (keys.alert_owners(family), keys.ended_alert_owners(family))
        queues = (
            keys.incoming(queue, incident.severity) if update.is_incoming else keys.queue(queue)
            for queue in update.queues
        )
        args: Fields = [loaded.version, int(is_put_aside), history_s if incident.is_resolved else 0]
        args += (incident.id, f"{incident.opened_at:.3f}", WAKE)
        args += (history_s, TIMELINE_LIMIT, len(change.events))
        args += (codec.encode(names) for names in (changes.begun, changes.ended, left_owners))
        args += (self._owners.kept_after_end_s, latest, *map(codec.encode, change.events))
        for queue in update.queues:
            args += (self.script_clock.format_time(update.due), queue)
        return [*hashes, *indexes, *owners, keys.changes, *queues], [*args, *fields]

    @property
    def is_divided(self) -> bool:
        """Whether the groups of one family may lie on several shards."""
        return self._shards > 1

    def find_owners(self, group_ids: Sequence[str], claims: Sequence[OwnershipClaim]) -> OwnerReading:
        """Make *claims*, and read *group_ids*, in one round trip.

        On one shard nothing is claimed, as `try_commit` checks the owners; their incidents are read as well.
        """
        if self.is_divided:
            return self._owners.claim_ownership(group_ids, claims)
        return self._owners.find_owners(group_ids, claims)

    # --- one complete incident ---

    def load_incident(self, incident_id: str) -> Incident:
        """Return the incident with its alerts and deliveries, in one round trip. Raises NotFound."""
        return self.load_with(incident_id, ())[0].incident

    def load_with(self, incident_id: str, reads: Sequence[Command]) -> tuple[StoredIncident, list[Any]]:
        """Return the incident, and the replies to *reads* in the same round trip; a reply may be an error.

        Raises NotFound.
        """
        group_id = incident_id.partition("-")[0]
        keys = self.keys_of(group_id)
        hashes = (keys.incident(group_id), keys.past_incident(incident_id))
        with store_errors():
            latest, past, *replies = self._redis.run_commands(
                [*((("HGETALL", key), {}) for key in hashes), *reads], raise_on_error=False
            )
            is_past = raise_if_error(latest).get(b"id") != incident_id.encode()
            fields = raise_if_error(past) if is_past else latest
        if not fields:
            raise NotFound("incident", incident_id)
        return StoredIncident(unpack_incident(fields, is_past=is_past), int(fields.get(b"w", 0))), replies

    def load_timeline(self, incident_id: str) -> list[TimelineEvent]:
        """Return the timeline of the incident, oldest event first; empty if there is none."""
        key = self.keys_of(incident_id.partition("-")[0]).timeline(incident_id)
        with store_errors():
            return [codec.decode_event(packed) for packed in self._redis.lrange(key, 0, -1)]

    def record_delivery(
        self,
        incident_id: str,
        key: str,
        delivery: Delivery,
        *,
        worker: str = "",
        queue: str = "",
        events: Iterable[TimelineEvent] = (),
        wake: Iterable[str] = (),
        due: float = 0.0,
    ) -> None:
        """Store the state of a delivery, add *events* to the timeline, and enqueue the incident in the queues
        *wake* at *due*.

        With a *worker*, raises LeaseLost unless it holds the lease in *queue*. Does nothing if the incident
        no longer exists.
        """
        dues = dict.fromkeys(wake, due)
        call = self.build_record_call(
            incident_id, key, delivery, worker=worker, queue=queue, events=events, dues=dues
        )
        with store_errors():
            reply = self._scripts.run_script(*call)
        if reply == 0:
            raise LeaseLost(f"another worker has incident {incident_id}")

    def build_record_call(
        self,
        incident_id: str,
        key: str,
        delivery: Delivery,
        *,
        worker: str = "",
        queue: str = "",
        events: Iterable[TimelineEvent] = (),
        dues: Mapping[str, float | None],
        expected_writes: int | None = None,
        now: float | None = None,
    ) -> ScriptCall:
        """Return the call that stores the state of a delivery, and enqueues the incident at *dues* by queue.

        With *expected_writes*, it is enqueued *now* in all these queues if it has been written another number
        of times: then *dues* follow from an old state. Without *now* it is not enqueued then, and the reply
        is None.
        """
        group_id, at = incident_id.partition("-")[0], self.script_clock.format_time
        keys, encoded = self.keys_of(group_id), [codec.encode(one) for one in events]
        hashes = (keys.incident(group_id), keys.past_incident(incident_id), keys.timeline(incident_id))
        queues = (keys.queue(other) for other in dues)
        args: Fields = [incident_id, worker, DELIVERY + key.encode(), codec.encode(delivery)]
        args += ("" if expected_writes is None else expected_writes, "" if now is None else at(now), WAKE)
        args += (TIMELINE_LIMIT, len(encoded), *encoded)
        args += (f"{delivery.failed_at:.3f}" if delivery.failed_at else "", self._history_s)
        for other, due in dues.items():
            args += ("" if due is None else at(due), other)
        return "record", [*hashes, keys.lease_owners(queue), keys.failed, keys.changes, *queues], args

    def save_outcome(self, call: ScriptCall, reads: Sequence[Command] = ()) -> tuple[int, list[Any]]:
        """Run a call of `build_record_call` without a worker; return the number of writes, and the replies to
        *reads* in the same round trip. An answer may be an error.
        """
        with store_errors():
            writes, *replies = self._scripts.run_each([call], reads, raise_on_error=False)
            return int(raise_if_error(writes)), replies

    def drop_compacted(self, incident_id: str) -> None:
        """Delete the stored alerts that were compacted; does nothing if the group is changed meanwhile."""
        group_id = incident_id.partition("-")[0]
        keys = self.keys_of(group_id)
        key = keys.incident(group_id)
        with store_errors():
            fields = self._redis.hgetall(key)
            if fields.get(b"id") != incident_id.encode():
                return
            gone, kept = split_compacted_fields(fields)
            if gone or kept:
                args = [fields[b"v"], len(gone), *gone, *kept]
                self._scripts.run_script("compact", [key, keys.changes], args)
