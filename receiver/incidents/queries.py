"""Lists of open and closed incidents, without their alerts, and the log of their changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from msgspec.structs import replace

from receiver.errors import NotFound
from receiver.incidents import codec
from receiver.incidents.codec import DELIVERY
from receiver.model.incident import Incident
from receiver.storage.connection import Client, ScriptCall, Scripts, store_errors
from receiver.storage.keys import CHANGES_LIMIT, Keys, shard_of

_SCANNED_AT_MOST = 5000
# Incidents of one round trip, and of one run of a script, which keeps Redis from all others for 1 ms.
_BATCH, _IDS_PER_CALL = 500, 100


# An entry of an index, a sorted set: score and member.
Entry = tuple[float, str]


@dataclass(frozen=True)
class StoredIncidentPage:
    """A page of incidents, newest first, and the cursor of the next page."""

    incidents: tuple[Incident, ...]
    next_cursor: str | None


class RedisListing:
    """Lists incidents. Every method raises StoreError if Redis fails."""

    def __init__(self, client: Client, *, shards: int = 1) -> None:
        self._redis = client
        self._scripts = Scripts(client)
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
        is_brief: bool = False,
    ) -> StoredIncidentPage:
        """Return incidents, newest first; without *states*, all. Scans 5,000 at most in one call: only then
        is there a cursor although no further incident may match.

        Only incidents opened from *opened_from* on and before *opened_before* (Unix times) are returned. They
        have no alerts, and only the deliveries with the keys in *deliveries*; where *is_brief*, no alert
        states either. Raises NotFound for an invalid *cursor*.
        """
        found: list[Incident] = []
        position = _parse_cursor(cursor) or ((opened_before, "") if opened_before else None)
        scanned, size = 0, min(limit + 1, _BATCH)
        while scanned < _SCANNED_AT_MOST:
            batch = self._list_newest_entries(states, position, size, opened_from)
            if not batch:
                return StoredIncidentPage(tuple(found), None)
            scanned, size = scanned + len(batch), _BATCH
            heads = self.load_heads([member for _, member in batch], deliveries, is_brief=is_brief)
            for entry in batch:
                incident = heads.get(entry[1])
                if incident is not None and _matches_query(incident, states, severity, alertname):
                    if len(found) == limit:
                        return StoredIncidentPage(tuple(found), _format_cursor(position))
                    found.append(incident)
                position = entry
        return StoredIncidentPage(tuple(found), _format_cursor(position))

    def list_open(self, *, is_brief: bool = False) -> Iterator[Incident]:
        """Yield every open incident, newest first, without alerts and deliveries; where *is_brief*, without
        alert states, too.
        """
        position: Entry | None = None
        while batch := self._list_newest_entries(frozenset({"open"}), position, _BATCH):
            position = batch[-1]
            yield from self.load_heads([member for _, member in batch], is_brief=is_brief).values()

    def _list_newest_entries(
        self, states: frozenset[str], after: Entry | None, count: int, opened_from: float = 0.0
    ) -> list[Entry]:
        indexes = [index for keys in map(Keys, range(self._shards)) for index in _indexes(keys, states)]
        return list_entries(self._redis, indexes, after, count, lowest=f"{opened_from:.3f}")

    def load_heads(
        self, ids: Sequence[str], deliveries: Sequence[str] = (), *, is_brief: bool = False
    ) -> dict[str, Incident]:
        """Return the incidents of *ids* that exist, without alerts and with the given deliveries only; where
        *is_brief*, without alert states, too.
        """
        decode = codec.decode_brief if is_brief else codec.decode_incident
        fields = [DELIVERY + key.encode() for key in deliveries]
        found: dict[str, Incident] = {}
        for start in range(0, len(ids), _BATCH):
            for one, row in self._read_heads(
                ids[start : start + _BATCH], [int(is_brief), len(fields), *fields]
            ):
                if row is None:
                    continue
                incident = decode(row[0])
                if fields:
                    pairs = zip(deliveries, row[1:], strict=True)
                    known = {key: codec.decode_delivery(packed) for key, packed in pairs if packed}
                    incident = replace(incident, deliveries=known)
                found[one] = incident
        return {one: found[one] for one in ids if one in found}

    def _read_heads(self, ids: Sequence[str], args: Sequence[Any]) -> Iterator[tuple[str, Any]]:
        """Return each of *ids* with its reply, in one round trip; *args* begin the script's arguments."""
        by_shard: dict[int, list[str]] = {}
        for one in ids:
            by_shard.setdefault(shard_of(one.partition("-")[0], self._shards), []).append(one)
        calls: list[ScriptCall] = []
        for shard, mine in by_shard.items():
            keys = [Keys(shard).incident(""), Keys(shard).past_incident("")]
            parts = (mine[start : start + _IDS_PER_CALL] for start in range(0, len(mine), _IDS_PER_CALL))
            calls += (("read_heads", keys, [*args, *part]) for part in parts)
        with store_errors():
            replies = chain.from_iterable(self._scripts.run_each(calls))
        return zip(chain.from_iterable(by_shard.values()), replies, strict=True)

    # --- changes ---

    def find_last_changes(self) -> list[str]:
        """Return the position of the last entry in each shard's log of changes."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            for keys in map(Keys, range(self._shards)):
                pipe.xrevrange(keys.changes, count=1)
            return [rows[0][0].decode() if rows else "" for rows in pipe.execute()]

    def list_changes(self, positions: Sequence[str]) -> tuple[list[str], list[str]] | None:
        """Return the IDs of the incidents that changed after *positions*, and the new positions.

        None if a log may not reach back to its position: then any incident may have changed. A log without a
        position was empty; its first entries may have been cut off since.
        """
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            for keys, position in zip(map(Keys, range(self._shards)), positions, strict=True):
                pipe.xrange(keys.changes, min=position or "-", count=2 * CHANGES_LIMIT)
            replies = pipe.execute()
        changed: dict[str, None] = {}
        latest = []
        for position, rows in zip(positions, replies, strict=True):
            if (rows[0][0].decode() if rows else "") != position:
                return None
            changed |= {fields[b"id"].decode(): None for _, fields in rows[1:]}
            latest.append(rows[-1][0].decode() if rows else "")
        return list(changed), latest


def list_entries(
    client: Client,
    indexes: Sequence[str],
    after: Entry | None,
    count: int,
    *,
    lowest: str = "-inf",
    ties: int = 50,
) -> list[Entry]:
    """Return up to *count* entries of *indexes* that are older than *after*, newest first.

    Up to *ties* entries of an index with the same score as *after* are left out, since they came before.
    """
    highest = "+inf" if after is None else f"{after[0]:.3f}"
    entries: set[Entry] = set()
    with store_errors(), client.pipeline(transaction=False) as pipe:
        for index in indexes:
            pipe.zrevrangebyscore(index, highest, lowest, 0, count + ties, withscores=True)
        for rows in pipe.execute():
            entries.update((score, member.decode()) for member, score in rows)
    ordered = sorted(entries, reverse=True)
    return [entry for entry in ordered if after is None or entry < after][:count]


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
        and alertname in ("", incident.alertname, incident.group_labels.get("alertname"))
    )


def _format_cursor(entry: Entry | None) -> str | None:
    return f"{entry[0]:.3f}_{entry[1]}" if entry else None


def _parse_cursor(cursor: str) -> Entry | None:
    score, _, member = cursor.partition("_")
    try:
        return (float(score), member) if cursor else None
    except ValueError:
        raise NotFound("cursor", cursor) from None
