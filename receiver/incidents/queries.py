"""Lists and counts of open and closed incidents, without their alerts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from receiver.errors import NotFound
from receiver.incidents import codec
from receiver.incidents.codec import DELIVERY
from receiver.model.incident import Incident
from receiver.storage.connection import Client, store_errors
from receiver.storage.keys import Keys, shard_of

_SCANNED_AT_MOST = 5000


@dataclass(frozen=True)
class StoredIncidentPage:
    """A page of incidents, newest first, and the cursor of the next page."""

    incidents: tuple[Incident, ...]
    next_cursor: str | None


class RedisListing:
    """Lists incidents. Every method raises StoreError if Redis fails."""

    def __init__(self, client: Client, *, shards: int = 1) -> None:
        self._redis = client
        self._shards = shards

    def keys_of(self, group_id: str) -> Keys:
        """Return the keys of the shard of *group_id*."""
        return Keys(shard_of(group_id, self._shards))

    def list_newest(
        self,
        *,
        states: frozenset[str] = frozenset(),
        severity: str = "",
        alertname: str = "",
        opened_from: float = 0.0,
        opened_before: float = 0.0,
        limit: int = 50,
        cursor: str = "",
        deliveries: Sequence[str] = (),
    ) -> StoredIncidentPage:
        """Return incidents, newest first; without *states*, all. Scans 5,000 at most in one call.

        Only incidents opened from *opened_from* on and before *opened_before* (Unix times) are returned. They
        have no alerts, and only the deliveries with the keys in *deliveries*. Raises NotFound for an invalid
        *cursor*.
        """
        found: list[Incident] = []
        position = _parse_cursor(cursor) or ((opened_before, "") if opened_before else None)
        scanned = 0
        while scanned < _SCANNED_AT_MOST:
            batch = self._list_newest_entries(states, position, 200, opened_from)
            if not batch:
                return StoredIncidentPage(tuple(found), None)
            scanned += len(batch)
            for entry, incident in zip(
                batch, self._load_heads([member for _, member in batch], deliveries), strict=True
            ):
                position = entry
                if incident is None or not _matches_query(incident, states, severity, alertname):
                    continue
                found.append(incident)
                if len(found) == limit:
                    return StoredIncidentPage(tuple(found), _format_cursor(position))
        return StoredIncidentPage(tuple(found), _format_cursor(position))

    def list_open(self) -> Iterator[Incident]:
        """Yield every open incident, newest first, without alerts and deliveries."""
        position: tuple[float, str] | None = None
        while batch := self._list_newest_entries(frozenset({"open"}), position, 500):
            position = batch[-1]
            yield from (
                one for one in self._load_heads([member for _, member in batch], ()) if one is not None
            )

    def _list_newest_entries(
        self, states: frozenset[str], after: tuple[float, str] | None, count: int, opened_from: float = 0.0
    ) -> list[tuple[float, str]]:
        """Return index entries older than *after*, but not older than *opened_from*, newest first."""
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

    def _load_heads(self, ids: Sequence[str], deliveries: Sequence[str]) -> list[Incident | None]:
        """Return the incidents of *ids* with the given deliveries; None for those that do not exist."""
        fields = ["id", "head", *(DELIVERY + key.encode() for key in deliveries)]
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            for incident_id in ids:
                group_id = incident_id.partition("-")[0]
                pipe.hmget(self.keys_of(group_id).incident(group_id), fields)
                pipe.hmget(self.keys_of(group_id).past_incident(incident_id), fields)
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

    def load_heads(self, ids: Sequence[str], deliveries: Sequence[str] = ()) -> dict[str, Incident]:
        """Return the incidents of *ids* that exist, without alerts and with the given deliveries only."""
        found: dict[str, Incident] = {}
        for start in range(0, len(ids), 500):
            heads = self._load_heads(ids[start : start + 500], deliveries)
            found |= {head.id: head for head in heads if head is not None}
        return found

    def count_open(self) -> dict[tuple[str, str], int]:
        """Return the number of open incidents by (state, severity), among the newest 5,000."""
        counts: dict[tuple[str, str], int] = {}
        position: tuple[float, str] | None = None
        for _ in range(_SCANNED_AT_MOST // 500):
            batch = self._list_newest_entries(frozenset({"open"}), position, 500)
            if not batch:
                break
            position = batch[-1]
            for incident in self._load_heads([member for _, member in batch], ()):
                if incident is not None:
                    kind = (incident.state, incident.severity.value)
                    counts[kind] = counts.get(kind, 0) + 1
        return counts


def _indexes(keys: Keys, states: frozenset[str]) -> tuple[str, ...]:
    if not states:
        return (keys.open, keys.closed)
    return tuple(
        index
        for index, names in ((keys.open, {"open", "acknowledged"}), (keys.closed, {"resolved"}))
        if states & names
    )


def _matches_query(incident: Incident, states: frozenset[str], severity: str, alertname: str) -> bool:
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
