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

from receiver.store.lines import Address

# The commands whose first key is not their first word, by where it is; None: no key at all.
_KEY_AT = {"EVALSHA": 3, "EVAL": 3, "PUBLISH": None, "PING": None, "INFO": None, "CONFIG": None}
# A cluster that is down is not asked for its map at every command.
_ASK_AGAIN_AFTER_S = 0.5
_ASK_FOR_S = 3.0


@dataclass(frozen=True)
class _Map:
    """Ranges of slots by their first one."""

    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    nodes: tuple[Address, ...] = ()
    # What moved since the cluster was asked.
    moved: dict[int, Address] = field(default_factory=dict)

    def find(self, slot: int) -> Address | None:
        if slot in self.moved:
            return self.moved[slot]
        at = bisect_right(self.starts, slot) - 1
        return self.nodes[at] if at >= 0 and slot <= self.ends[at] else None


class SlotMap:
    """Is asked for where a slot is, and asks the cluster when it doubts what it knows."""

    def __init__(self, seeds: Sequence[Address], get_client: Callable[[Address], Any]) -> None:
        self.seeds = tuple(seeds)
        self._get_client = get_client
        self._map = _Map()
        self._is_doubted = True
        self._suspect: Address | None = None
        self._ask_from = 0.0

    def find(self, slot: int | None) -> Address:
        """Return the node that holds *slot*, or any for None; raises redis' errors."""
        self._refresh_if_doubted()
        if slot is None:
            return random.choice(self.masters())  # noqa: S311  # nosec B311  # spreads load, hides nothing
        node = self._map.find(slot)
        if node is None:
            self._is_doubted = True
            raise ClusterDownError("no node of the cluster holds a slot that is needed")
        return node

    def masters(self) -> list[Address]:
        """Return the nodes that hold slots."""
        self._refresh_if_doubted()
        return list(dict.fromkeys((*self._map.nodes, *self._map.moved.values())))

    def move(self, slot: int, node: Address) -> None:
        """Note that *node* holds *slot* now; others may have moved with it."""
        self._map.moved[slot] = node
        self._is_doubted = True

    def doubt(self, node: Address) -> None:
        """Note that *node* did not answer as it should: another may have its slots by now."""
        self._suspect = node
        self._is_doubted = True

    def _refresh_if_doubted(self) -> None:
        now = time.monotonic()
        if not self._is_doubted or (self._map.nodes and now < self._ask_from):
            return
        self._ask_from = now + _ASK_AGAIN_AFTER_S
        error: Exception = ClusterDownError("no node of the cluster answers")
        for node in self._candidates():
            try:
                self._map = _parse(self._get_client(node).execute_command("CLUSTER", "SLOTS"), node)
            except (RedisError, OSError) as fault:
                error = fault
                if time.monotonic() > now + _ASK_FOR_S:
                    break
                continue
            self._is_doubted = False
            self._suspect = None
            return
        if not self._map.nodes:
            raise error

    def _candidates(self) -> list[Address]:
        """Return whom to ask, in the order of trust."""
        known = list(dict.fromkeys((*self._map.nodes, *self.seeds)))
        random.shuffle(known)
        return sorted(known, key=lambda node: node == self._suspect)


def find_slot(args: Sequence[Any]) -> int | None:
    """Return the slot of a command's (first) key; None for a command without one."""
    at = _KEY_AT.get(str(args[0]).upper(), 1)
    if at is None or len(args) <= at:
        return None
    key = args[at]
    return int(key_slot(key if isinstance(key, bytes) else str(key).encode()))


def _parse(rows: Sequence[Any], asked: Address) -> _Map:
    """Return the map in an answer to CLUSTER SLOTS: `[start, end, [host, port, …], replicas …]` each.

    A node that does not know its own address has none there: then it is the one by which we reached it.
    """
    ranges = []
    for start, end, master, *_ in sorted(rows, key=lambda row: row[0]):
        name = master[0].decode() if isinstance(master[0], bytes) else str(master[0] or "")
        ranges.append((int(start), int(end), (name if name not in ("", "?") else asked[0], int(master[1]))))
    if not ranges:
        raise ClusterDownError("the cluster has not been given its slots yet")
    return _Map(*(tuple(column) for column in zip(*ranges, strict=True)))  # type: ignore[arg-type]
