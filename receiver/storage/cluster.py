"""A client for Redis Cluster: the map of hash slots to nodes, redirects, and pipelines over several nodes.

https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

from __future__ import annotations

import random
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from redis.commands import CoreCommands
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from receiver.storage.address import StoreAddress
from receiver.storage.client import Command, PipelinedCommands, ServerClient
from receiver.storage.pool import ConnectionPool, NodeAddress, PoolExhausted

# The position of the first key, for commands in which it is not the first argument; None: no key at all.
_KEY_AT = {"EVALSHA": 3, "EVAL": 3, "PUBLISH": None, "PING": None, "INFO": None, "CONFIG": None}
# While a cluster is down, its slot map is not requested at every command.
_REFRESH_EVERY_S = 0.5
_REFRESH_TIMEOUT_S = 3.0
# During a resharding a redirect may lead to a node that has moved the slot on.
_MAX_REDIRECTS = 5
# Commands that a node does not replicate to the other masters.
_ALL_NODES_COMMANDS = ("SCRIPT", "FLUSHALL")
# Errors after which the slot map may be outdated.
_NODE_ERRORS = (RedisConnectionError, RedisTimeoutError, ClusterDownError, OSError)
Options = dict[str, Any]


@dataclass(frozen=True)
class _SlotTable:
    """Ranges of hash slots, sorted by their first slot, and their nodes."""

    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    nodes: tuple[NodeAddress, ...] = ()
    # Slots that moved (MOVED) since the map was loaded.
    moved: dict[int, NodeAddress] = field(default_factory=dict)

    def find_node(self, slot: int) -> NodeAddress | None:
        if slot in self.moved:
            return self.moved[slot]
        at = bisect_right(self.starts, slot) - 1
        return self.nodes[at] if at >= 0 and slot <= self.ends[at] else None


class ClusterNodes:
    """The nodes of a cluster, each with its own connection pool, and the node of each hash slot.

    The map of the slots is loaded from the cluster when it may be outdated.
    """

    def __init__(self, address: StoreAddress, pool_options: Options) -> None:
        self._address = address
        self._options = pool_options
        self._clients: dict[NodeAddress, Any] = {}
        self._table = _SlotTable()
        self._is_stale = True
        self._suspect: NodeAddress | None = None
        self._next_refresh_at = 0.0

    def get_client(self, node: NodeAddress) -> Any:
        """Return the client of one node."""
        if node not in self._clients:
            host, port = node
            pool = ConnectionPool(
                connection_class=self._address.connection_class, host=host, port=port, **self._options
            )
            # If two threads come at once, both use the first pool: two pools would exceed the limit.
            self._clients.setdefault(node, ServerClient.from_pool(pool))
        return self._clients[node]

    def close(self) -> None:
        for client in list(self._clients.values()):
            client.close()

    def find_node(self, slot: int | None) -> NodeAddress:
        """Return the node that holds *slot*, or a random one for None. Raises redis-py's errors."""
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

    def record_move(self, moved: MovedError, asked: NodeAddress) -> None:
        """Record the slot's node of a MOVED redirect. The map is reloaded: other slots may have moved too."""
        self._table.moved[int(moved.slot_id)] = (moved.host or asked[0], int(moved.port))
        self._is_stale = True

    def mark_suspect(self, node: NodeAddress) -> None:
        """Record that *node* failed: after a failover another node may hold its slots, so reload the map."""
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
                self._table = _parse_slots(self.get_client(node).execute_command("CLUSTER", "SLOTS"), node)
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
        """Return the nodes from which to load the map: in random order, the suspect one last."""
        known = list(dict.fromkeys((*self._table.nodes, *self._address.nodes)))
        random.shuffle(known)
        return sorted(known, key=lambda node: node == self._suspect)


def find_slot(args: Sequence[Any]) -> int | None:
    """Return the hash slot of a command's first key; None for a command without a key."""
    at = _KEY_AT.get(str(args[0]).upper(), 1)
    if at is None or len(args) <= at:
        return None
    key = args[at]
    return int(key_slot(key if isinstance(key, bytes) else str(key).encode()))


def _parse_slots(rows: Sequence[Any], asked: NodeAddress) -> _SlotTable:
    """Parse the reply to CLUSTER SLOTS, rows of `[start, end, [host, port, …], replicas …]`.

    A node that does not know its own address omits it; then the address of *asked* is used.
    """
    ranges = []
    for start, end, master, *_ in sorted(rows, key=lambda row: row[0]):
        name = master[0].decode() if isinstance(master[0], bytes) else str(master[0] or "")
        ranges.append((int(start), int(end), (name if name not in ("", "?") else asked[0], int(master[1]))))
    if not ranges:
        raise ClusterDownError("the cluster has not been given its slots yet")
    return _SlotTable(*(tuple(column) for column in zip(*ranges, strict=True)))  # type: ignore[arg-type]


class ClusterClient(PipelinedCommands, CoreCommands):
    """The part of redis-py's client interface that the receiver uses, over all nodes of a cluster."""

    _event_dispatcher: Any = None  # required by redis-py's type hints

    def __init__(self, address: StoreAddress, pool_options: Options) -> None:
        self._nodes = ClusterNodes(address, pool_options)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command on the node of its first key; without a key, on any node."""
        if str(args[0]).partition(" ")[0].upper() in _ALL_NODES_COMMANDS:
            return self._run_on_all_nodes(args, options)
        return super().execute_command(*args, **options)

    def _run_on_all_nodes(self, args: tuple[Any, ...], options: Options) -> Any:
        """Run a command on each node; return the first reply. Raises only if it fails on all nodes."""
        replies: list[Any] = []
        for client in self.list_masters():
            try:
                replies.append(client.execute_command(*args, **options))
            except (RedisError, OSError) as error:
                replies.append(error)
        done = [reply for reply in replies if not isinstance(reply, Exception)]
        if not done:
            raise replies[0]
        return done[0]

    def run_commands(self, commands: Sequence[Command], raise_on_error: bool = True) -> list[Any]:
        """Run *commands* in one round trip to each node, and follow redirects."""
        replies: list[Any] = [None] * len(commands)
        pending = list(range(len(commands)))
        for _ in range(_MAX_REDIRECTS):
            moved = []
            for node, numbers in self._group_by_node(commands, pending).items():
                batch = [commands[number] for number in numbers]
                for number, reply in zip(numbers, self._run_batch(node, batch), strict=True):
                    replies[number] = reply
                    if isinstance(reply, MovedError):
                        self._nodes.record_move(reply, node)
                        moved.append(number)
            if not moved:
                break
            pending = sorted(moved)
        else:
            for number in pending:
                replies[number] = ClusterDownError("a slot keeps moving")
        if raise_on_error:
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return replies

    def _group_by_node(
        self, commands: Sequence[Command], numbers: Sequence[int]
    ) -> dict[NodeAddress, list[int]]:
        """Return the numbers of the commands by node; one without a key uses the node of the one before."""
        by_node: dict[NodeAddress, list[int]] = {}
        node: NodeAddress | None = None
        for number in numbers:
            slot = find_slot(commands[number][0])
            if slot is not None or node is None:
                node = self._nodes.find_node(slot)
            by_node.setdefault(node, []).append(number)
        return by_node

    def _run_batch(self, node: NodeAddress, batch: Sequence[Command]) -> list[Any]:
        """Return the replies of one node to its batch; errors stand in place of replies."""
        try:
            replies: list[Any] = self._nodes.get_client(node).run_commands(batch, raise_on_error=False)
        except (RedisError, OSError) as error:
            if not isinstance(error, PoolExhausted):
                self._nodes.mark_suspect(node)
            return [error] * len(batch)
        for number, reply in enumerate(replies):
            if isinstance(reply, AskError) and not isinstance(reply, MovedError):
                replies[number] = self._run_asking(reply, node, batch[number])
            elif isinstance(reply, _NODE_ERRORS):
                self._nodes.mark_suspect(node)
        return replies

    def _run_asking(self, ask: AskError, asked: NodeAddress, command: Command) -> Any:
        """Return the reply after an ASK redirect, from the node to which the slot is being migrated."""
        node = (ask.host or asked[0], int(ask.port))
        try:
            return self._nodes.get_client(node).run_commands([(("ASKING",), {}), command], False)[1]
        except (RedisError, OSError) as error:
            return error

    def pubsub(self, **options: Any) -> Any:
        """Return a subscriber at one of the nodes; the cluster forwards all published messages to it."""
        node = self._nodes.find_node(None)
        pubsub = self._nodes.get_client(node).pubsub(**options)
        return _Listener(pubsub, partial(self._nodes.mark_suspect, node))

    def list_masters(self) -> list[Any]:
        """Return a client of each node that holds slots."""
        return [self._nodes.get_client(node) for node in self._nodes.list_masters()]

    def close(self) -> None:
        self._nodes.close()


@dataclass(frozen=True)
class _Listener:
    """redis-py's subscriber at one node; an error marks the node as suspect, so the next one uses another."""

    pubsub: Any
    mark_suspect: Callable[[], None]

    def subscribe(self, *channels: str) -> None:
        self._call_pubsub(self.pubsub.subscribe, *channels)

    def get_message(self, timeout: float) -> Any:
        return self._call_pubsub(self.pubsub.get_message, timeout=timeout)

    def close(self) -> None:
        self.pubsub.close()

    def _call_pubsub(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        try:
            return method(*args, **options)
        except _NODE_ERRORS:
            self.mark_suspect()
            raise
