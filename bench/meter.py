"""What a run takes while it lasts: memory of its processes, keys and memory of its store."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from redis import Redis, RedisError

from receiver.standalone.valkey import EmbeddedValkey
from tests.cli.running import Running

EVERY_S = 5.0
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Reading:
    """One moment: MiB resident in the receiver's processes (not the store's), keys and MiB in the store."""

    rss: float
    keys: float
    used: float


class Meter:
    """Reads every few seconds until stopped."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._url = EmbeddedValkey(running.folder / ".receiver").url
        self.readings: list[Reading] = []

    def run(self, stopped: threading.Event) -> None:
        while not stopped.wait(EVERY_S):
            with suppress(RedisError, OSError):  # it is being killed just now
                self.readings.append(self._read())

    def _read(self) -> Reading:
        with Redis.from_url(self._url, socket_timeout=2) as store:
            info = store.info("memory")
            keys = store.dbsize()
        rss = sum(_resident(line) for line in self._running.left_over() if "-server" not in line)
        return Reading(rss / _MIB, keys, info["used_memory"] / _MIB)


def _resident(line: str) -> int:
    try:
        status = (Path("/proc") / line.partition(" ")[0] / "status").read_text()
    except OSError:
        return 0
    kib = next((row.split()[1] for row in status.splitlines() if row.startswith("VmRSS")), "0")
    return int(kib) * 1024
