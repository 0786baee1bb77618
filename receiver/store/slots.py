"""Which node of a Redis Cluster holds which slots, as far as we know."""

from __future__ import annotations

import random
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.crc import key_slot
from redis.exceptions import ClusterDownError, RedisError

from receiver.store.lines import NodeAddress

# The commands whose first key is not their first word, by where it is; None: no key at all.
_KEY_AT = {"EVALSHA": 3, "EVAL": 3, "PUBLISH": None, "PING": None, "INFO": None, "CONFIG": None}
# A cluster that is down is not asked for its map at every command.
_REFRESH_EVERY_S = 0.5
_REFRESH_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class _SlotTable:
    """Ranges of slots by their first one."""

    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    nodes: tuple[NodeAddress, ...] = ()
    # What moved since the cluster was asked.
    moved: dict[int, NodeAddress] = field(default_factory=dict)

    def find_node(self, slot: int) -> NodeAddress | None:
        if slot in self.moved:
            return self.moved[slot]
        at = bisect_right(self.starts, slot) - 1
        return self.nodes[at] if at >= 0 and slot <= self.ends[at] else None


class SlotMap:
    """Is asked for where a slot is, and asks the cluster when it doubts what it knows."""

    def __init__(self, seeds: Sequence[NodeAddress], get_client: Callable[[NodeAddress], Any]) -> None:
        self.seeds = tuple(seeds)
        self._get_client = get_client
        self._table = _SlotTable()
        self._is_stale = True
        self._suspect: NodeAddress | None = None
        self._next_refresh_at = 0.0

    def find_node(self, slot: int | None) -> NodeAddress:
        """Return the node that holds *slot*, or any for None; raises redis' errors."""
        self._refresh_if_stale()
        if slot is None:
            return random.choice(self.list_masters())  # noqa: S311  # nosec B311  # spreads load, hides nothing
        node = self._table.find_node(slot)
        if node is None:
            self._is_stale = True
            raise ClusterDownError("no node of the cluster holds a slot that is needed")
        return node

    def list_masters(self) -> list[NodeAddress]:
        """Return the nodes that hold slots."""
        self._refresh_if_stale()
        return list(dict.fromkeys((*self._table.nodes, *self._table.moved.values())))

    def record_move(self, slot: int, node: NodeAddress) -> None:
        """Note that *node* holds *slot* now; others may have moved with it."""
        self._table.moved[slot] = node
        self._is_stale = True

    def mark_suspect(self, node: NodeAddress) -> None:
        """Note that *node* did not answer as it should: another may have its slots by now."""
        self._suspect = node
        self._is_stale = True

    def _refresh_if_stale(self) -> None:
        now = time.monotonic()
        if not self._is_stale or (self._table.nodes and now < self._next_refresh_at):
            return
        self._next_refresh_at = now + _REFRESH_EVERY_S
        error: Exception = ClusterDownError("no node of the cluster answers")
        for node in self._list_candidates():
            try:
                self._table = _parse_slots(self._get_client(node).execute_command("CLUSTER", "SLOTS"), node)
            except (RedisError, OSError) as fault:
                error = fault
                if time.monotonic() > now + _REFRESH_TIMEOUT_S:
                    break
                continue
            self._is_stale = False
            self._suspect = None
            return
        if not self._table.nodes:
            raise error

    def _list_candidates(self) -> list[NodeAddress]:
        """Return whom to ask, in the order of trust."""
        known = list(dict.fromkeys((*self._table.nodes, *self.seeds)))
        random.shuffle(known)
        return sorted(known, key=lambda node: node == self._suspect)


def find_slot(args: Sequence[Any]) -> int | None:
    """Return the slot of a command's (first) key; None for a command without one."""
    at = _KEY_AT.get(str(args[0]).upper(), 1)
    if at is None or len(args) <= at:
        return None
    key = args[at]
    return int(key_slot(key if isinstance(key, bytes) else str(key).encode()))


def _parse_slots(rows: Sequence[Any], asked: NodeAddress) -> _SlotTable:
    """Return the map in an answer to CLUSTER SLOTS: `[start, end, [host, port, …], replicas …]` each.

    A node that does not know its own address has none there: then it is the one by which we reached it.
    """
    ranges = []
    for start, end, master, *_ in sorted(rows, key=lambda row: row[0]):
        name = master[0].decode() if isinstance(master[0], bytes) else str(master[0] or "")
        ranges.append((int(start), int(end), (name if name not in ("", "?") else asked[0], int(master[1]))))
    if not ranges:
        raise ClusterDownError("the cluster has not been given its slots yet")
    return _SlotTable(*(tuple(column) for column in zip(*ranges, strict=True)))  # type: ignore[arg-type]
