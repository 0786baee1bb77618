"""Real Redis servers on their own loopback ports: one with TLS and ACL, sentinels, a cluster.

They are Debian's `redis-server` and `redis-sentinel`; `needs_redis` skips a test where these are not
installed.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.ports import free_port

SERVER, SENTINEL = shutil.which("redis-server"), shutil.which("redis-sentinel")
needs_redis = pytest.mark.skipif(
    not (SERVER and SENTINEL), reason="needs redis-server and redis-sentinel on the path"
)
TIMEOUT_S = 30.0
MASTER_NAME = "receiver-master"


def wait_until(
    is_so: Callable[[], object], describe: Callable[[], str] = str, within_s: float = TIMEOUT_S
) -> None:
    """Wait until *holds* returns true for another process; AssertionError after *within_s*."""
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, describe()
        time.sleep(0.05)


class Server:
    """One server process, which can be killed, stopped and started again on the same port and files."""

    def __init__(
        self, folder: Path, *options: str, program: str | None = SERVER, is_encrypted: bool = False
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self._is_encrypted = is_encrypted
        self.options = list(options)
        self._program = str(program)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def node(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, *, is_awaited: bool = True) -> Server:
        command = [
            self._program,
            *self.options,
            *(("--port", "0", "--tls-port") if self._is_encrypted else ("--port",)),
            *(str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
            *("--daemonize", "no", "--save", ""),
        ]
        if self._program == SENTINEL:
            command = [self._program, str(self.folder / "sentinel.conf")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        if is_awaited:
            wait_until(self.is_answering, self.read_log)
        return self

    def read_log(self) -> str:
        return (self.folder / "log").read_text()[-2000:]

    def build_client(self, **options: object) -> redis.Redis:
        once = Retry(NoBackoff(), 0)
        return redis.Redis("127.0.0.1", self.port, socket_timeout=5, protocol=2, retry=once, **options)

    def is_answering(self) -> bool:
        with suppress(redis.RedisError, OSError):
            return bool(self.build_client().ping())
        return False

    def run_command(self, *args: object) -> object:
        """Run one command as an administrator."""
        with self.build_client() as client:
            return client.execute_command(*args)

    def kill(self) -> None:
        """Kill the process as `kill -9` does."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def stop(self) -> None:
        """Stop the process with SIGSTOP: it keeps its connections but does not answer."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


class Sentinels:
    """A master, a replica and three sentinels that fail over within about two seconds."""

    def __init__(self, folder: Path) -> None:
        self.master = Server(
            folder / "master", "--appendonly", "yes", "--repl-diskless-sync-delay", "0"
        ).start()
        self.replica = Server(
            folder / "replica",
            *("--replicaof", "127.0.0.1", str(self.master.port), "--appendonly", "yes"),
            *("--repl-diskless-sync-delay", "0"),
        ).start()
        wait_until(self.is_in_sync, self.replica.read_log)
        self.sentinels = [self._start(folder / f"sentinel{n}") for n in range(3)]
        wait_until(self.know_each_other, self.sentinels[0].read_log)

    def _start(self, folder: Path) -> Server:
        sentinel = Server(folder, program=SENTINEL)
        (folder / "sentinel.conf").write_text(
            f"port {sentinel.port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {MASTER_NAME} 127.0.0.1 {self.master.port} 2\n"
            f"sentinel down-after-milliseconds {MASTER_NAME} 1000\n"
            f"sentinel failover-timeout {MASTER_NAME} 4000\n"
            f"sentinel parallel-syncs {MASTER_NAME} 1\n"
        )
        return sentinel.start()

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(s.node for s in self.sentinels)}/{MASTER_NAME}"

    def is_in_sync(self) -> bool:
        with self.replica.build_client() as client:
            return client.info("replication").get("master_link_status") == "up"

    def know_each_other(self) -> bool:
        for sentinel in self.sentinels:
            with sentinel.build_client() as client:
                state = client.sentinel_master(MASTER_NAME)
            if state["num-other-sentinels"] != 2 or state["num-slaves"] != 1:
                return False
        return True

    def stop_all(self) -> None:
        for server in (*self.sentinels, self.replica, self.master):
            server.kill()


class Cluster:
    """Three masters that own equal shares of the slots."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.nodes = [
            Server(
                folder / f"node{n}",
                *("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--appendonly", "yes"),
                *("--cluster-node-timeout", "2000", *options),
            ).start()
            for n in range(3)
        ]
        for n, node in enumerate(self.nodes):
            node.run_command("CLUSTER", "ADDSLOTSRANGE", 16384 * n // 3, 16384 * (n + 1) // 3 - 1)
            node.run_command("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
        for node in self.nodes[1:]:
            self.nodes[0].run_command("CLUSTER", "MEET", "127.0.0.1", node.port)
        wait_until(self.is_ready, self.nodes[0].read_log)

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(node.node for node in self.nodes)}"

    def is_ready(self) -> bool:
        infos = [bytes(node.run_command("CLUSTER", "INFO")) for node in self.nodes]  # type: ignore[arg-type]
        return all(
            b"cluster_state:ok" in info and b"cluster_known_nodes:3" in info for info in infos
        ) and all(len(self.list_owner_ports(node)) == 3 for node in self.nodes)

    def list_owner_ports(self, node: Server | None = None) -> set[int]:
        rows: Sequence = (node or self.nodes[0]).run_command("CLUSTER", "SLOTS")  # type: ignore[assignment]
        return {int(row[2][1]) for row in rows}

    def id_of(self, node: Server) -> str:
        return bytes(node.run_command("CLUSTER", "MYID")).decode()  # type: ignore[arg-type]

    def find_owner(self, slot: int) -> Server:
        rows: Sequence = self.nodes[0].run_command("CLUSTER", "SLOTS")  # type: ignore[assignment]
        port = next(int(row[2][1]) for row in rows if row[0] <= slot <= row[1])
        return next(node for node in self.nodes if node.port == port)

    def move_slot(self, slot: int, target: Server, *, pause_s: float = 0.0) -> None:
        """Move one slot as `redis-cli --cluster reshard` does, key by key."""
        source = self.find_owner(slot)
        if source is target:
            return
        target.run_command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        source.run_command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))
        time.sleep(pause_s)
        while keys := source.run_command("CLUSTER", "GETKEYSINSLOT", slot, 10):
            source.run_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)  # type: ignore[misc]
            time.sleep(pause_s)
        for node in (target, source, *self.nodes):
            node.run_command("CLUSTER", "SETSLOT", slot, "NODE", self.id_of(target))

    def stop_all(self) -> None:
        for node in self.nodes:
            node.kill()
