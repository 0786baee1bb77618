"""Incidents in Redis: a hash for each group, with the incident, its alerts and its deliveries packed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from receiver.domain.ports import OwnerReading, UpdateRefusal
from receiver.errors import ClaimLost, NotFound
from receiver.model.delivery import Delivery
from receiver.model.incident import (
    Incident,
    IncidentUpdate,
    TimelineEvent,
    VersionedIncident,
    select_full_alerts,
)
from receiver.model.owners import (
    WRITE_WITHIN_S,
    Claim,
    OwnershipChanges,
    find_ownership_changes,
    group_family_of,
)
from receiver.storage.connection import Client, Scripts, store_errors
from receiver.storage.keys import QUEUES, TIMELINE_LIMIT, WAKE
from receiver.storage.timestamps import BY_WALL_CLOCK, Moments
from receiver.store import codec
from receiver.store.homes import RedisAlertOwners, parse_refusal
from receiver.store.listing import RedisListing
from receiver.store.packing import (
    DELIVERY,
    Fields,
    build_alert_fields,
    build_own_fields,
    build_reworded_fields,
    may_have_batches,
    split_compacted_fields,
    unpack_incident,
)


class RedisIncidents(RedisListing):
    """Keeps incidents. Every method raises StoreError when Redis can't do it."""

    def __init__(
        self,
        client: Client,
        *,
        history_s: float,
        flap_window_s: float = 600.0,
        shards: int = 1,
        moments: Moments = BY_WALL_CLOCK,
    ) -> None:
        super().__init__(client, shards=shards)
        self.moments = moments
        self._scripts = Scripts(client)
        self._history_s = int(history_s)
        self._owners = RedisAlertOwners(
            self._scripts, history_s=self._history_s, flap_window_s=flap_window_s, shards=shards
        )

    # --- a group's latest, for whoever wants to change it ---

    def load_latest(self, group_ids: Sequence[str]) -> list[VersionedIncident]:
        """Return how each group stands, without alerts and deliveries, in one round trip."""
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

    def commit(self, updates: Sequence[IncidentUpdate]) -> list[bool]:
        """Keep each change in one round trip; False where it was refused."""
        return [refusal is None for refusal in self.try_commit(updates)]

    def try_commit(self, updates: Sequence[IncidentUpdate]) -> list[UpdateRefusal | None]:
        """Keep each change in one round trip. Refused, whole, is one whose group had changed since it was
        read, or an alert of which begins to fire and is at home in a neighbour.

        Where the store is divided, homes are not read here. Their claims still hold, since a change that
        makes alerts fire is refused when it comes too late after its reading. Ends take one round trip more.
        """
        with store_errors():
            answers = self._scripts.run_all("commit", [self._build_commit_call(update) for update in updates])
        if self.is_divided:
            self._owners.release_alerts(
                update for update, answer in zip(updates, answers, strict=True) if answer == 1
            )
        return [None if answer == 1 else parse_refusal(answer) for answer in answers]

    def save_reworded(self, updates: Sequence[IncidentUpdate]) -> list[bool]:
        """Keep the newer words that each change holds, and its incident without a new version.

        False where the group had changed since it was read; then nothing of it was written. One round trip,
        and one more where alerts may lie in batches.
        """
        with store_errors():
            whole = self._read_batches(updates)
            calls = [self._build_reword_call(update, whole.get(update.loaded.group_id)) for update in updates]
            return [answer == 1 for answer in self._scripts.run_all("tidy", calls)]

    def _read_batches(self, updates: Sequence[IncidentUpdate]) -> dict[str, dict[bytes, bytes]]:
        """Return all fields of those groups that may have batches, by slot."""
        group_ids = [
            w.loaded.group_id for w in updates if w.loaded.incident and may_have_batches(w.loaded.incident)
        ]
        if not group_ids:
            return {}
        with self._redis.pipeline(transaction=False) as pipe:
            for group_id in group_ids:
                pipe.hgetall(self.keys_of(group_id).incident(group_id))
            return dict(zip(group_ids, pipe.execute(), strict=True))

    def _build_reword_call(
        self, update: IncidentUpdate, whole: dict[bytes, bytes] | None
    ) -> tuple[list[str], Fields]:
        incident, loaded = update.change.incident, update.loaded
        if incident is None:
            raise ValueError("a change without an incident has nothing to keep")
        alerts = select_full_alerts(incident, update.change.reworded)
        gone, kept = build_reworded_fields(whole, alerts) if whole is not None else ([], [])
        fields: Fields = ["head", codec.encode_incident(incident)]
        fields += [part for pair in kept for part in pair] if whole is not None else build_own_fields(alerts)
        return [self.keys_of(loaded.group_id).incident(loaded.group_id)], [
            loaded.version,
            len(gone),
            *gone,
            *fields,
        ]

    def _build_commit_call(self, update: IncidentUpdate) -> tuple[list[str], Fields]:
        incident, change, loaded = update.change.incident, update.change, update.loaded
        if incident is None:
            raise ValueError("a change without an incident has nothing to keep")
        keys = self.keys_of(loaded.group_id)
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
        group_family = group_family_of(incident.source, incident.route)
        return (
            [
                keys.incident(loaded.group_id),
                keys.past_incident(former),
                keys.timeline(incident.id),
                *indexes,
                keys.alert_owners(group_family),
                keys.ended_alert_owners(group_family),
                *(
                    keys.incoming(queue, incident.severity) if update.is_incoming else keys.queue(queue)
                    for queue in update.queues
                ),
            ],
            [
                loaded.version,
                int(is_put_aside),
                self._history_s if incident.is_resolved else 0,
                incident.id,
                f"{incident.opened_at:.3f}",
                self.moments.at(update.due),
                WAKE,
                self._history_s,
                TIMELINE_LIMIT,
                len(change.events),
                *(codec.encode_names(names) for names in (changes.begun, changes.ended, left_owners)),
                self._owners.kept_after_end_s,
                latest,
                *(codec.encode(event) for event in change.events),
                *update.queues,
                *fields,
            ],
        )

    @property
    def is_divided(self) -> bool:
        """Whether neighbours may lie on several shards."""
        return self._shards > 1

    def find_owners(self, group_ids: Sequence[str], claims: Sequence[Claim]) -> OwnerReading:
        """Make *claims*, and read *group_ids*, in one round trip.

        On one shard nothing is claimed, as `try_commit` sees to that; the slots of the homes are read, too.
        """
        if self.is_divided:
            return self._owners.claim_alerts(group_ids, claims)
        return self._owners.find_owners(group_ids, claims)

    # --- one incident, whole ---

    def load(self, incident_id: str) -> Incident:
        """Return the incident with its alerts and deliveries, in one round trip; else NotFound."""
        group_id = incident_id.partition("-")[0]
        keys = self.keys_of(group_id)
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(keys.incident(group_id))
            pipe.hgetall(keys.past_incident(incident_id))
            latest, past = pipe.execute()
        if latest.get(b"id") == incident_id.encode():
            return unpack_incident(latest, is_past=False)
        if past:
            return unpack_incident(past, is_past=True)
        raise NotFound("incident", incident_id)

    def load_timeline(self, incident_id: str) -> list[TimelineEvent]:
        """Return what happened to the incident, oldest first."""
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
        queue: str = QUEUES[0],
        events: Iterable[TimelineEvent] = (),
        wake: Iterable[str] = (),
        due: float = 0.0,
    ) -> None:
        """Keep how a delivery stands, and have the lanes of *wake* look at the incident at *due*.

        With a *worker*, only while the incident is lent to it in *lane*; else ClaimLost. An
        incident that is gone is left gone.
        """
        group_id = incident_id.partition("-")[0]
        keys, queues, said = self.keys_of(group_id), tuple(wake), [codec.encode(event) for event in events]
        with store_errors():
            answer = self._scripts.run(
                "record",
                [
                    keys.incident(group_id),
                    keys.past_incident(incident_id),
                    keys.timeline(incident_id),
                    keys.lease_owners(queue),
                    keys.failed,
                    *(keys.queue(other) for other in queues),
                ],
                [
                    incident_id,
                    worker,
                    DELIVERY + key.encode(),
                    codec.encode(delivery),
                    self.moments.at(due),
                    WAKE,
                    TIMELINE_LIMIT,
                    len(said),
                    *said,
                    f"{delivery.failed_at:.3f}" if delivery.failed_at else "",
                    self._history_s,
                    *queues,
                ],
            )
        if answer == 0:
            raise ClaimLost(f"another worker has incident {incident_id}")

    def drop_compacted(self, incident_id: str) -> None:
        """Drop what is kept of alerts that the incident has forgotten; what changed meanwhile stays."""
        group_id = incident_id.partition("-")[0]
        key = self.keys_of(group_id).incident(group_id)
        with store_errors():
            fields = self._redis.hgetall(key)
            if fields.get(b"id") != incident_id.encode():
                return
            gone, kept = split_compacted_fields(fields)
            if gone or kept:
                self._scripts.run("tidy", [key], [fields[b"v"], len(gone), *gone, *kept])
