"""A client of a Redis Cluster: each command to the node that holds its key, whole batches node by node.

redis-py's own would send a command again after a time-out, sleep in between, take no EVALSHA in a pipeline,
and ask the cluster before it is first used; a webhook has to be answered within 5 s whatever is the
matter, so this one does less: a node that moved is followed, and any other fault is told at once.

https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import redis
from redis.commands import CoreCommands
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from receiver.store.address import StoreAddress
from receiver.store.faults import PoolExhausted
from receiver.store.lines import ConnectionPool, NodeAddress
from receiver.store.slots import SlotMap, find_slot

# A slot that is on its way may answer with a node that has just given it on.
_MAX_REDIRECTS = 5
# What one node does not pass on to the others.
_ALL_NODES_COMMANDS = ("SCRIPT", "FLUSHALL")
# After these the map of the cluster may be an old one.
_NODE_ERRORS = (RedisConnectionError, RedisTimeoutError, ClusterDownError, OSError)


Args = tuple[Any, ...]
Options = dict[str, Any]


class ClusterNodes:
    """The nodes of a cluster, each with lines of its own, and the map of who holds which slots."""

    def __init__(self, address: StoreAddress, pool_options: Options) -> None:
        self._connection_class = address.connection_class
        self._options = pool_options
        self._clients: dict[NodeAddress, Any] = {}
        self.slot_map = SlotMap(address.nodes, self.get_client)

    def get_client(self, node: NodeAddress) -> Any:
        """Return the client of one node."""
        if node not in self._clients:
            host, port = node
            pool = ConnectionPool(
                connection_class=self._connection_class, host=host, port=port, **self._options
            )
            # Where two threads come at once, the first one's: a second pool would be beyond the bound.
            self._clients.setdefault(node, redis.Redis.from_pool(pool))
        return self._clients[node]

    def close(self) -> None:
        for client in list(self._clients.values()):
            client.close()

    def record_move(self, moved: MovedError, asked: NodeAddress) -> NodeAddress:
        """Note where a slot is now; return that node."""
        node = (moved.host or asked[0], int(moved.port))
        self.slot_map.record_move(int(moved.slot_id), node)
        return node

    def run_asking(self, ask: AskError, asked: NodeAddress, args: Args, options: Options) -> Any:
        """Run a command on the node to which its slot is on its way."""
        node = (ask.host or asked[0], int(ask.port))
        with self.get_client(node).pipeline(transaction=False) as pipe:
            pipe.execute_command("ASKING")
            pipe.execute_command(*args, **options)
            answer = pipe.execute(raise_on_error=False)[1]
        if isinstance(answer, Exception):
            raise answer
        return answer


class ClusterClient(CoreCommands):
    """What we use of a client of redis', over all nodes of a cluster."""

    _event_dispatcher: Any = None  # redis' hints ask for it

    def __init__(self, address: StoreAddress, pool_options: Options) -> None:
        self._nodes = ClusterNodes(address, pool_options)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run one command where its key lies; those without a key anywhere."""
        if str(args[0]).partition(" ")[0].upper() in _ALL_NODES_COMMANDS:
            return self._run_on_all_nodes(args, options)
        nodes = self._nodes
        node = nodes.slot_map.find_node(find_slot(args))
        for _ in range(_MAX_REDIRECTS):
            try:
                return nodes.get_client(node).execute_command(*args, **options)
            except MovedError as moved:
                node = nodes.record_move(moved, node)
            except AskError as ask:
                return nodes.run_asking(ask, node, args, options)
            except _NODE_ERRORS:
                nodes.slot_map.mark_suspect(node)
                raise
        raise ClusterDownError("a slot keeps moving")

    def _run_on_all_nodes(self, args: Args, options: Options) -> Any:
        """Run a command on each node; raises only when none could do it: the others do without."""
        answers: list[Any] = []
        for client in self.list_masters():
            try:
                answers.append(client.execute_command(*args, **options))
            except (RedisError, OSError) as error:
                answers.append(error)
        done = [answer for answer in answers if not isinstance(answer, Exception)]
        if not done:
            raise answers[0]
        return done[0]

    def pipeline(self, transaction: bool = False) -> ClusterPipeline:
        """Return a batch; there are no transactions over nodes."""
        if transaction:
            raise ValueError("a cluster has no transactions over its nodes")
        return ClusterPipeline(self._nodes)

    def pubsub(self, **options: Any) -> Any:
        """Return a listener at one of the nodes: what is published at any of them reaches it."""
        node = self._nodes.slot_map.find_node(None)
        return _Listener(node, self._nodes, options)

    def list_masters(self) -> list[Any]:
        """Return a client of each node that holds slots."""
        return [self._nodes.get_client(node) for node in self._nodes.slot_map.list_masters()]

    def get_encoder(self) -> Any:
        return self._nodes.get_client(self._nodes.slot_map.seeds[0]).get_encoder()

    def close(self) -> None:
        self._nodes.close()


class _Listener:
    """redis' own listener at one node; when that is lost, the next one is to be opened elsewhere."""

    def __init__(self, node: NodeAddress, nodes: ClusterNodes, options: dict[str, Any]) -> None:
        self._node = node
        self._nodes = nodes
        self._pubsub = nodes.get_client(node).pubsub(**options)

    def subscribe(self, *channels: str) -> None:
        self._call_pubsub(lambda: self._pubsub.subscribe(*channels))

    def get_message(self, timeout: float) -> Any:
        return self._call_pubsub(lambda: self._pubsub.get_message(timeout=timeout))

    def close(self) -> None:
        self._pubsub.close()

    def _call_pubsub(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except _NODE_ERRORS:
            self._nodes.slot_map.mark_suspect(self._node)
            raise


class ClusterPipeline(CoreCommands):
    """Commands that go together: one batch for each node, in the order in which they were given."""

    _event_dispatcher: Any = None

    def __init__(self, nodes: ClusterNodes) -> None:
        self._nodes = nodes
        self._commands: list[tuple[Args, Options]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._commands = []

    def execute_command(self, *args: Any, **options: Any) -> Self:
        self._commands.append((args, options))
        return self

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Return the answers in order. A fault stands where its answer would, or is raised: the first."""
        commands, self._commands = self._commands, []
        answers: list[Any] = [ClusterDownError("a slot keeps moving")] * len(commands)
        pending = list(range(len(commands)))
        for _ in range(_MAX_REDIRECTS):
            moved = []
            for node, numbers in self._group_by_node(commands, pending).items():
                batch = [commands[number] for number in numbers]
                for number, answer in zip(numbers, self._run_batch(node, batch), strict=True):
                    answers[number] = answer
                    if isinstance(answer, MovedError):
                        self._nodes.record_move(answer, node)
                        moved.append(number)
            if not moved:
                break
            pending = sorted(moved)
        if raise_on_error:
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        return answers

    def _group_by_node(self, commands: Sequence[Any], numbers: Sequence[int]) -> dict[NodeAddress, list[int]]:
        """Return the numbers of commands by their node; one without a key goes with the one before it."""
        by_node: dict[NodeAddress, list[int]] = {}
        node: NodeAddress | None = None
        for number in numbers:
            slot = find_slot(commands[number][0])
            if slot is not None or node is None:
                node = self._nodes.slot_map.find_node(slot)
            by_node.setdefault(node, []).append(number)
        return by_node

    def _run_batch(self, node: NodeAddress, batch: Sequence[tuple[Args, Options]]) -> list[Any]:
        """Return what one node answers to its part."""
        try:
            with self._nodes.get_client(node).pipeline(transaction=False) as pipe:
                for args, options in batch:
                    pipe.execute_command(*args, **options)
                answers = list(pipe.execute(raise_on_error=False))
        except (RedisError, OSError) as error:
            if not isinstance(error, PoolExhausted):
                self._nodes.slot_map.mark_suspect(node)
            return [error] * len(batch)
        for number, answer in enumerate(answers):
            if isinstance(answer, AskError) and not isinstance(answer, MovedError):
                answers[number] = self._run_asking(answer, node, *batch[number])
            elif isinstance(answer, _NODE_ERRORS):
                self._nodes.slot_map.mark_suspect(node)
        return answers

    def _run_asking(self, ask: AskError, node: NodeAddress, args: Args, options: Options) -> Any:
        try:
            return self._nodes.run_asking(ask, node, args, options)
        except (RedisError, OSError) as error:
            return error
