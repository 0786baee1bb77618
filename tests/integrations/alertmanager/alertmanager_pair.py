"""A pair of real Alertmanagers that gossip, send no notifications, and inhibit a warning by a critical alert."""

from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path
from typing import Any

from tests.cli.running import wait_until
from tests.e2e.deployment import ALERTMANAGER, Alertmanagers
from tests.support.ports import free_port

_CONFIG = """
route: {receiver: nobody, group_by: [alertname]}
receivers: [{name: nobody}]
inhibit_rules:
  - {source_matchers: ['severity="critical"'], target_matchers: ['severity="warning"'], equal: [cluster]}
"""


class AlertmanagerPair(Alertmanagers):
    """Both Alertmanagers have the path prefix `/alertmanager`, as behind a proxy."""

    def __init__(self, folder: Path) -> None:  # replaces the parent's, which notifies a receiver
        self.ports = [free_port(), free_port()]
        cluster = [free_port(), free_port()]
        config = folder / "alertmanager.yml"
        config.write_text(_CONFIG)
        self._processes = [self._start(folder, n, cluster) for n in (0, 1)]
        wait_until(lambda: all(self._answers(port) for port in self.ports))
        self._clock = folder / "clock"

    def now(self) -> float:
        """Return the time of Alertmanager's clock: the kernel's clock, read without libc.

        Where libc was given a shifted clock, the modification time of a file shows the kernel's clock.
        """
        self._clock.touch()
        return self._clock.stat().st_mtime

    def _now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.now(), dt.UTC)

    def _start(self, folder: Path, n: int, cluster: list[int]) -> subprocess.Popen[bytes]:
        command = [
            str(ALERTMANAGER),
            f"--config.file={folder}/alertmanager.yml",
            f"--storage.path={folder}/alertmanager-{n}",
            f"--web.listen-address=127.0.0.1:{self.ports[n]}",
            f"--web.external-url=http://127.0.0.1:{self.ports[n]}/alertmanager",
            f"--cluster.listen-address=127.0.0.1:{cluster[n]}",
            f"--cluster.advertise-address=127.0.0.1:{cluster[n]}",
            f"--cluster.peer=127.0.0.1:{cluster[1 - n]}",
            "--cluster.settle-timeout=500ms",
            "--cluster.gossip-interval=50ms",
        ]
        with (folder / f"alertmanager-{n}.log").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    def _answers(self, port: int) -> bool:
        try:
            return self._request(port, "GET", "/alertmanager/-/ready", None) == 200
        except OSError:
            return False

    def stop(self) -> None:  # killed, as a clean shutdown of the gossip takes seconds
        for process in self._processes:
            process.kill()
            process.wait(5)

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}/alertmanager" for port in self.ports]

    def fires(self, **labels: str) -> None:
        """Report the alert as firing to both, as Prometheus does."""
        self._report(labels, self._now() + dt.timedelta(minutes=5))

    def resolves(self, **labels: str) -> None:
        self._report(labels, self._now())

    def _report(self, labels: dict[str, str], ends_at: dt.datetime) -> None:
        started = self._now() - dt.timedelta(minutes=1)
        alert: dict[str, Any] = {
            "labels": labels,
            "startsAt": started.isoformat(),
            "endsAt": ends_at.isoformat(),
        }
        for port in self.ports:
            assert self._request(port, "POST", "/alertmanager/api/v2/alerts", [alert]) == 200
