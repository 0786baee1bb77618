"""A real `receiver` in its own folder, with all processes it started."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

RECEIVER = [sys.executable, "-P", "-m", "receiver"]
ROUTING = """\
version: 1
routes:
  - {match: [], channel: "#alerts-info"}
"""
TIMEOUT_S = 60.0


def clean_environ(**more: str) -> dict[str, str]:
    ours = re.compile(r"RECEIVER_|OIDC_|SLACK_|PAGERDUTY_|REDIS_URL|PUBLIC_URL|ALERTMANAGER_URL|PROMETHEUS_")
    return {name: value for name, value in os.environ.items() if not ours.match(name)} | more


def call(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `receiver ARGUMENTS` until it ends."""
    return subprocess.run(
        [*RECEIVER, *arguments],
        cwd=folder,
        env=clean_environ(**environ),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


class Running:
    """`receiver run` in *folder*, on a free port; `address` is known once it runs."""

    def __init__(self, folder: Path, *arguments: str, **environ: str) -> None:
        self.folder = folder
        (folder / "routing.yaml").exists() or (folder / "routing.yaml").write_text(ROUTING)
        self._out = folder / "out"
        self._log = folder / "log"
        with self._out.open("wb") as out, self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*RECEIVER, "run", "--listen", "127.0.0.1:0", "--workers", "1", *arguments],
                cwd=folder,
                env=clean_environ(**environ),
                stdout=out,
                stderr=log,
            )

    @property
    def address(self) -> str:
        wait_until(lambda: "Page" in self.output() or self.process.poll() is not None, self.log)
        return re.search(r"Page +(\S+)/\n", self.output())[1]

    def output(self) -> str:
        return self._out.read_text()

    def log(self) -> str:
        return self._log.read_text()

    def events(self, event: str) -> list[dict[str, object]]:
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def get(self, path: str) -> int:
        """Return the status of a GET, 0 without a response."""
        try:
            with urllib.request.urlopen(self.address + path, timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def is_ready(self) -> bool:
        return self.get("/readyz") == 200

    def process_of(self, child: str) -> int:
        """Return the current process ID of *child*."""
        return int([line for line in self.events("child started") if line["child"] == child][-1]["process"])

    def end(self) -> float:
        """Send SIGTERM; return the seconds until the process ended."""
        started_at = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(TIMEOUT_S)
        return time.monotonic() - started_at

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT_S)

    def left_over(self) -> list[str]:
        """Return the processes that still use our folder."""
        return [line for line in _commands() if str(self.folder) in line]


def wait_until(is_so: Callable[[], object], describe: Callable[[], str] = str) -> None:
    """Wait until *is_so* returns true for another process."""
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline, describe()
        time.sleep(0.02)


def _commands() -> list[str]:
    commands = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            commands.append(f"{path.name} {command} {(path / 'cwd').readlink()}" if command else "")
        except OSError:  # the process has just ended
            continue
    return commands
