"""Incidents in Redis: a hash for each group, with the incident, its alerts and its deliveries packed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from msgspec.structs import replace

from receiver.domain.alert import Alert
from receiver.domain.delivery import Delivery
from receiver.domain.homes import neighbourhood_of, tell_moves
from receiver.domain.incident import Event, Incident
from receiver.domain.ports import Held, Write
from receiver.errors import ClaimLost, NotFound
from receiver.store import codec
from receiver.store.connection import Client, Scripts, store_errors
from receiver.store.keys import LANES, TIMELINE_KEPT, WAKE, Keys, format_due, shard_of

_ALERT, _BATCH, _DELIVERY = b"a:", b"b:", b"d:"
# As many alerts at once are kept in one field: a hundred fields cost Redis and us three times as much.
_BATCH_FROM = 5
_SCANNED_AT_MOST = 5000


@dataclass(frozen=True)
class Page:
    """Part of a list of incidents, newest first, and where the next part begins."""

    incidents: tuple[Incident, ...]
    next_cursor: str | None


class RedisIncidents:
    """Keeps incidents. Every method raises StoreError when Redis can't do it."""

    def __init__(self, client: Client, *, history_s: float, shards: int = 1) -> None:
        self._redis = client
        self._scripts = Scripts(client)
        self._history_s = int(history_s)
        self._shards = shards

    def keys_of(self, slot: str) -> Keys:
        """Return the keys of the shard on which *slot* lies."""
        return Keys(shard_of(slot, self._shards))

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
        """Keep each change in one round trip; False where the group had changed since it was read,
        or an alert that begins to fire already fires in a neighbour on the same shard.
        """
        with store_errors():
            answers = self._scripts.run_all("commit", [self._commit_call(write) for write in writes])
        return [answer == 1 for answer in answers]

    def _commit_call(self, write: Write) -> tuple[list[str], list[str | bytes | int | float]]:
        incident, change, held = write.change.incident, write.change, write.held
        if incident is None:
            raise ValueError("a change without an incident has nothing to keep")
        keys = self.keys_of(held.slot)
        is_put_aside = change.is_new and held.incident is not None
        former = held.incident.id if held.incident else incident.id
        indexes = (keys.closed, keys.open) if incident.is_resolved else (keys.open, keys.closed)
        fields: list[str | bytes | int | float] = ["head", codec.encode_incident(incident)]
        fields += _alert_fields(change.changed_alerts)
        moves = tell_moves(held.incident, incident)
        left = [f"{name} {slot}" for name in moves.begun for slot in write.left.get(name, ())]
        neighbourhood = neighbourhood_of(incident.source, incident.receiver, incident.route)
        return (
            [
                keys.group(held.slot),
                keys.past(former),
                keys.timeline(incident.id),
                *indexes,
                keys.homes(neighbourhood),
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
                format_due(write.due),
                WAKE,
                self._history_s,
                TIMELINE_KEPT,
                len(change.events),
                *(codec.encode_names(names) for names in (moves.begun, moves.ended, left)),
                *(codec.encode(event) for event in change.events),
                *write.lanes,
                *fields,
            ],
        )

    @property
    def is_divided(self) -> bool:
        """Whether neighbours may lie on several shards."""
        return self._shards > 1

    def find_homes(self, asked: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
        """Return the slots where alerts may be at home, by `NEIGHBOURHOOD FINGERPRINT`, in one round trip.

        *asked* are fingerprints by neighbourhood; those that nobody has are left out.
        """
        questions = [(name, list(dict.fromkeys(which))) for name, which in asked.items()]
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            for keys in map(Keys, range(self._shards)):
                for name, fingerprints in questions:
                    pipe.hmget(keys.homes(name), fingerprints)
            rows = pipe.execute()
        found: dict[str, tuple[str, ...]] = {}
        for (name, fingerprints), row in zip(questions * self._shards, rows, strict=True):
            for fingerprint, slot in zip(fingerprints, row, strict=True):
                if slot is not None:
                    known = f"{name} {fingerprint}"
                    found[known] = (*found.get(known, ()), slot.decode())
        return found

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
            return _unpack(latest, is_past=False)
        if past:
            return _unpack(past, is_past=True)
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
                    _DELIVERY + key.encode(),
                    codec.encode(delivery),
                    format_due(due),
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
            gone, kept = _sweep(fields)
            if gone or kept:
                self._scripts.run("tidy", [key], [fields[b"v"], len(gone), *gone, *kept])

    # --- many ---

    def find_newest(
        self,
        *,
        states: frozenset[str] = frozenset(),
        severity: str = "",
        alertname: str = "",
        opened_from: float = 0.0,
        limit: int = 50,
        cursor: str = "",
        deliveries: Sequence[str] = (),
    ) -> Page:
        """Return incidents, newest first; no states = all. Looks at 5,000 at most in one call.

        Those that opened before *opened_from* are left out. They come without their alerts, and with
        those deliveries only whose keys are given.
        """
        found: list[Incident] = []
        position = _parse_cursor(cursor)
        scanned = 0
        while scanned < _SCANNED_AT_MOST:
            batch = self._newest(states, position, 200, opened_from)
            if not batch:
                return Page(tuple(found), None)
            scanned += len(batch)
            for entry, incident in zip(
                batch, self._heads([member for _, member in batch], deliveries), strict=True
            ):
                position = entry
                if incident is None or not _fits(incident, states, severity, alertname):
                    continue
                found.append(incident)
                if len(found) == limit:
                    return Page(tuple(found), _format_cursor(position))
        return Page(tuple(found), _format_cursor(position))

    def find_open(self) -> Iterator[Incident]:
        """Yield every open incident, newest first, without alerts and deliveries."""
        position: tuple[float, str] | None = None
        while batch := self._newest(frozenset({"open"}), position, 500):
            position = batch[-1]
            yield from (one for one in self._heads([member for _, member in batch], ()) if one is not None)

    def _newest(
        self, states: frozenset[str], after: tuple[float, str] | None, count: int, opened_from: float = 0.0
    ) -> list[tuple[float, str]]:
        """Return index entries older than *after* and not than *opened_from*, newest first."""
        highest = "+inf" if after is None else f"{after[0]:.3f}"
        lowest = f"{opened_from:.3f}"
        entries: set[tuple[float, str]] = set()
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            for keys in map(Keys, range(self._shards)):
                for index in _indexes(keys, states):
                    pipe.zrevrangebyscore(index, highest, lowest, 0, count + 50, withscores=True)
            for rows in pipe.execute():
                entries.update((score, member.decode()) for member, score in rows)
        ordered = sorted(entries, reverse=True)
        return [entry for entry in ordered if after is None or entry < after][:count]

    def _heads(self, ids: Sequence[str], deliveries: Sequence[str]) -> list[Incident | None]:
        """Return the incidents of *ids* with some deliveries; None for those that are gone."""
        fields = ["id", "head", *(_DELIVERY + key.encode() for key in deliveries)]
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            for incident_id in ids:
                slot = incident_id.partition("-")[0]
                pipe.hmget(self.keys_of(slot).group(slot), fields)
                pipe.hmget(self.keys_of(slot).past(incident_id), fields)
            rows = pipe.execute()
        heads: list[Incident | None] = []
        for incident_id, latest, past in zip(ids, rows[::2], rows[1::2], strict=True):
            member, head, *packed = latest if latest[0] == incident_id.encode() else past
            if member is None:
                heads.append(None)
                continue
            known = {
                key: codec.decode_delivery(one) for key, one in zip(deliveries, packed, strict=True) if one
            }
            heads.append(replace(codec.decode_incident(head), deliveries=known))
        return heads

    def read_heads(self, ids: Sequence[str], deliveries: Sequence[str] = ()) -> dict[str, Incident]:
        """Return those of *ids* that are kept, without alerts, and with the deliveries of those keys only."""
        found: dict[str, Incident] = {}
        for start in range(0, len(ids), 500):
            heads = self._heads(ids[start : start + 500], deliveries)
            found |= {head.id: head for head in heads if head is not None}
        return found

    def count_failed(self) -> int:
        """Return how many deliveries are given up and were not sent since."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            for keys in map(Keys, range(self._shards)):
                pipe.zcard(keys.failed)
            return sum(map(int, pipe.execute()))

    def census(self) -> dict[tuple[str, str], int]:
        """Return how many open incidents there are by state and severity (of the newest 5,000)."""
        counts: dict[tuple[str, str], int] = {}
        position: tuple[float, str] | None = None
        for _ in range(_SCANNED_AT_MOST // 500):
            batch = self._newest(frozenset({"open"}), position, 500)
            if not batch:
                break
            position = batch[-1]
            for incident in self._heads([member for _, member in batch], ()):
                if incident is not None:
                    kind = (incident.state, incident.severity.value)
                    counts[kind] = counts.get(kind, 0) + 1
        return counts


def _alert_fields(alerts: tuple[Alert, ...]) -> list[str | bytes | int | float]:
    """Return the fields in which alerts are kept; the same set of alerts goes where it went before."""
    if len(alerts) < _BATCH_FROM:
        fields: list[str | bytes | int | float] = []
        for alert in alerts:
            fields += (_ALERT + alert.fingerprint.encode(), codec.encode(alert))
        return fields
    names = "".join(sorted(alert.fingerprint for alert in alerts)).encode()
    return [_BATCH + sha256(names).hexdigest()[:16].encode(), codec.encode_batch(alerts)]


def _sweep(fields: dict[bytes, bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return the fields that hold forgotten alerts only, and names and values of those that hold some."""
    known = codec.decode_incident(fields[b"head"]).standings
    gone: list[bytes] = []
    kept: list[bytes] = []
    for name, packed in fields.items():
        if name.startswith(_ALERT):
            if name.removeprefix(_ALERT).decode() not in known:
                gone.append(name)
        elif name.startswith(_BATCH):
            batch = codec.decode_batch(packed)
            left = [alert for alert in batch if alert.fingerprint in known]
            if not left:
                gone.append(name)
            elif len(left) < len(batch):
                kept += (name, codec.encode_batch(left))
    return gone, kept


def _unpack(fields: dict[bytes, bytes], *, is_past: bool) -> Incident:
    alerts: dict[str, Alert] = {}
    deliveries: dict[str, Delivery] = {}
    for name, packed in fields.items():
        if name.startswith(_ALERT):
            _add_newer(alerts, codec.decode_alert(packed))
        elif name.startswith(_BATCH):
            for alert in codec.decode_batch(packed):
                _add_newer(alerts, alert)
        elif name.startswith(_DELIVERY):
            deliveries[name.removeprefix(_DELIVERY).decode()] = codec.decode_delivery(packed)
    head = codec.decode_incident(fields[b"head"])
    known = {name: alert for name, alert in alerts.items() if name in head.standings}
    return replace(head, alerts=known, deliveries=deliveries, is_past=is_past)


def _add_newer(alerts: dict[str, Alert], alert: Alert) -> None:
    """Add an alert unless a later word on it is known: it may be kept alone and in batches."""
    known = alerts.get(alert.fingerprint)
    if known is None or (alert.starts_at, alert.ends_at) >= (known.starts_at, known.ends_at):
        alerts[alert.fingerprint] = alert


def _indexes(keys: Keys, states: frozenset[str]) -> tuple[str, ...]:
    if not states:
        return (keys.open, keys.closed)
    return tuple(
        index
        for index, names in ((keys.open, {"open", "acknowledged"}), (keys.closed, {"resolved"}))
        if states & names
    )


def _fits(incident: Incident, states: frozenset[str], severity: str, alertname: str) -> bool:
    return (
        (not states or incident.state in states)
        and severity in ("", incident.severity)
        and alertname in ("", incident.alertname)
    )


def _format_cursor(entry: tuple[float, str] | None) -> str | None:
    return f"{entry[0]:.3f}_{entry[1]}" if entry else None


def _parse_cursor(cursor: str) -> tuple[float, str] | None:
    score, _, member = cursor.partition("_")
    try:
        return (float(score), member) if cursor else None
    except ValueError:
        raise NotFound("cursor", cursor) from None
