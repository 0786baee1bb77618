"""Incidents in Redis: a hash for each group, with the incident, its alerts and its deliveries packed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from receiver.domain.delivery import Delivery
from receiver.domain.homes import WRITE_WITHIN_S, Moves, neighbourhood_of, tell_moves
from receiver.domain.incident import Event, Incident, select_whole
from receiver.domain.ports import Claim, Held, Reading, Refusal, Write
from receiver.errors import ClaimLost, NotFound
from receiver.store import codec
from receiver.store.connection import Client, Scripts, store_errors
from receiver.store.homes import RedisHomes, parse_refusal
from receiver.store.keys import LANES, TIMELINE_KEPT, WAKE
from receiver.store.listing import RedisListing
from receiver.store.moments import BY_WALL_CLOCK, Moments
from receiver.store.packing import (
    DELIVERY,
    Fields,
    alert_fields,
    may_have_batches,
    own_fields,
    reword,
    sweep,
    unpack,
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
        self._homes = RedisHomes(
            self._scripts, history_s=self._history_s, flap_window_s=flap_window_s, shards=shards
        )

    # --- a group's latest, for whoever wants to change it ---

    def read(self, slots: Sequence[str]) -> list[Held]:
        """Return how each group stands, without alerts and deliveries, in one round trip."""
        with store_errors():
            if len(slots) == 1:
                rows = [self._redis.hmget(self.keys_of(slots[0]).group(slots[0]), "v", "head")]
            else:
                with self._redis.pipeline(transaction=False) as pipe:
                    for slot in slots:
                        pipe.hmget(self.keys_of(slot).group(slot), "v", "head")
                    rows = pipe.execute()
        return [
            Held(slot, codec.decode_incident(head) if head else None, int(version or 0))
            for slot, (version, head) in zip(slots, rows, strict=True)
        ]

    def commit(self, writes: Sequence[Write]) -> list[bool]:
        """Keep each change in one round trip; False where it was refused."""
        return [refusal is None for refusal in self.try_commit(writes)]

    def try_commit(self, writes: Sequence[Write]) -> list[Refusal | None]:
        """Keep each change in one round trip. Refused, whole, is one whose group had changed since it was
        read, or an alert of which begins to fire and is at home in a neighbour.

        Where the store is divided, homes are not read here. Their claims still hold, since a change that
        makes alerts fire is refused when it comes too late after its reading. Ends take one round trip more.
        """
        with store_errors():
            answers = self._scripts.run_all("commit", [self._commit_call(write) for write in writes])
        if self.is_divided:
            self._homes.leave(write for write, answer in zip(writes, answers, strict=True) if answer == 1)
        return [None if answer == 1 else parse_refusal(answer) for answer in answers]

    def reword(self, writes: Sequence[Write]) -> list[bool]:
        """Keep the newer words that each change holds, and its incident without a new version.

        False where the group had changed since it was read; then nothing of it was written. One round trip,
        and one more where alerts may lie in batches.
        """
        with store_errors():
            whole = self._read_batches(writes)
            calls = [self._reword_call(write, whole.get(write.held.slot)) for write in writes]
            return [answer == 1 for answer in self._scripts.run_all("tidy", calls)]

    def _read_batches(self, writes: Sequence[Write]) -> dict[str, dict[bytes, bytes]]:
        """Return all fields of those groups that may have batches, by slot."""
        slots = [w.held.slot for w in writes if w.held.incident and may_have_batches(w.held.incident)]
        if not slots:
            return {}
        with self._redis.pipeline(transaction=False) as pipe:
            for slot in slots:
                pipe.hgetall(self.keys_of(slot).group(slot))
            return dict(zip(slots, pipe.execute(), strict=True))

    def _reword_call(self, write: Write, whole: dict[bytes, bytes] | None) -> tuple[list[str], Fields]:
        incident, held = write.change.incident, write.held
        if incident is None:
            raise ValueError("a change without an incident has nothing to keep")
        alerts = select_whole(incident, write.change.reworded)
        gone, kept = reword(whole, alerts) if whole is not None else ([], [])
        fields: Fields = ["head", codec.encode_incident(incident)]
        fields += [part for pair in kept for part in pair] if whole is not None else own_fields(alerts)
        return [self.keys_of(held.slot).group(held.slot)], [held.version, len(gone), *gone, *fields]

    def _commit_call(self, write: Write) -> tuple[list[str], Fields]:
        incident, change, held = write.change.incident, write.change, write.held
        if incident is None:
            raise ValueError("a change without an incident has nothing to keep")
        keys = self.keys_of(held.slot)
        is_put_aside = change.is_new and held.incident is not None
        former = held.incident.id if held.incident else incident.id
        indexes = (keys.closed, keys.open) if incident.is_resolved else (keys.open, keys.closed)
        fields: Fields = ["head", codec.encode_incident(incident)]
        fields += alert_fields(select_whole(incident, change.changed_alerts))
        fields += own_fields(select_whole(incident, change.reworded))
        moves = tell_moves(held.incident, incident)
        latest = 0
        if self.is_divided:
            if moves.begun and held.read_at_ms:
                latest = held.read_at_ms + int(WRITE_WITHIN_S * 1000)
            moves = Moves()
        seen = [(name, write.left[name]) for name in moves.begun if name in write.left]
        left = [f"{name} {home.slot} {home.version}" for name, home in seen]
        neighbourhood = neighbourhood_of(incident.source, incident.route)
        return (
            [
                keys.group(held.slot),
                keys.past(former),
                keys.timeline(incident.id),
                *indexes,
                keys.homes(neighbourhood),
                keys.homes_left(neighbourhood),
                *(
                    keys.news(lane, incident.severity) if write.is_news else keys.agenda(lane)
                    for lane in write.lanes
                ),
            ],
            [
                held.version,
                int(is_put_aside),
                self._history_s if incident.is_resolved else 0,
                incident.id,
                f"{incident.opened_at:.3f}",
                self.moments.at(write.due),
                WAKE,
                self._history_s,
                TIMELINE_KEPT,
                len(change.events),
                *(codec.encode_names(names) for names in (moves.begun, moves.ended, left)),
                self._homes.left_for_s,
                latest,
                *(codec.encode(event) for event in change.events),
                *write.lanes,
                *fields,
            ],
        )

    @property
    def is_divided(self) -> bool:
        """Whether neighbours may lie on several shards."""
        return self._shards > 1

    def find_homes(self, slots: Sequence[str], claims: Sequence[Claim]) -> Reading:
        """Make *claims*, and read *slots*, in one round trip.

        On one shard nothing is claimed, as `try_commit` sees to that; the slots of the homes are read, too.
        """
        if self.is_divided:
            return self._homes.claim(slots, claims)
        return self._homes.find(slots, claims)

    # --- one incident, whole ---

    def load(self, incident_id: str) -> Incident:
        """Return the incident with its alerts and deliveries, in one round trip; else NotFound."""
        slot = incident_id.partition("-")[0]
        keys = self.keys_of(slot)
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(keys.group(slot))
            pipe.hgetall(keys.past(incident_id))
            latest, past = pipe.execute()
        if latest.get(b"id") == incident_id.encode():
            return unpack(latest, is_past=False)
        if past:
            return unpack(past, is_past=True)
        raise NotFound("incident", incident_id)

    def timeline(self, incident_id: str) -> list[Event]:
        """Return what happened to the incident, oldest first."""
        key = self.keys_of(incident_id.partition("-")[0]).timeline(incident_id)
        with store_errors():
            return [codec.decode_event(packed) for packed in self._redis.lrange(key, 0, -1)]

    def record(
        self,
        incident_id: str,
        key: str,
        delivery: Delivery,
        *,
        worker: str = "",
        lane: str = LANES[0],
        events: Iterable[Event] = (),
        wake: Iterable[str] = (),
        due: float = 0.0,
    ) -> None:
        """Keep how a delivery stands, and have the lanes of *wake* look at the incident at *due*.

        With a *worker*, only while the incident is lent to it in *lane*; else ClaimLost. An
        incident that is gone is left gone.
        """
        slot = incident_id.partition("-")[0]
        keys, lanes, said = self.keys_of(slot), tuple(wake), [codec.encode(event) for event in events]
        with store_errors():
            answer = self._scripts.run(
                "record",
                [
                    keys.group(slot),
                    keys.past(incident_id),
                    keys.timeline(incident_id),
                    keys.owners(lane),
                    keys.failed,
                    *(keys.agenda(other) for other in lanes),
                ],
                [
                    incident_id,
                    worker,
                    DELIVERY + key.encode(),
                    codec.encode(delivery),
                    self.moments.at(due),
                    WAKE,
                    TIMELINE_KEPT,
                    len(said),
                    *said,
                    f"{delivery.failed_at:.3f}" if delivery.failed_at else "",
                    self._history_s,
                    *lanes,
                ],
            )
        if answer == 0:
            raise ClaimLost(f"another worker has incident {incident_id}")

    def tidy(self, incident_id: str) -> None:
        """Drop what is kept of alerts that the incident has forgotten; what changed meanwhile stays."""
        slot = incident_id.partition("-")[0]
        key = self.keys_of(slot).group(slot)
        with store_errors():
            fields = self._redis.hgetall(key)
            if fields.get(b"id") != incident_id.encode():
                return
            gone, kept = sweep(fields)
            if gone or kept:
                self._scripts.run("tidy", [key], [fields[b"v"], len(gone), *gone, *kept])
