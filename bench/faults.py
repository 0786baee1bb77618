"""What goes wrong during a soak: processes killed, and vendors that fail; in an order the seed decides."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.cli.running import Running
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack

EVERY_S = (4.0, 12.0)
LIMITED_WAIT_S = 2  # what a 429 bids us wait


class Faults:
    """Does one harm every few seconds until stopped; *done* tells when it did which."""

    def __init__(self, running: Running, slack: MockSlack, pagerduty: MockPagerDuty, seed: int) -> None:
        self._running = running
        self._slack = slack
        self._pagerduty = pagerduty
        self._random = random.Random(seed)
        self.done: list[tuple[float, str]] = []
        self._harms = {
            "worker killed": lambda: self._kill("worker"),
            "gunicorn worker killed": self._kill_gunicorn_worker,
            "web killed": lambda: self._kill("web"),
            "Valkey killed": lambda: self._kill("valkey"),
            "Slack 500": lambda: slack.fail_next(status=500, body=b"", times=5),
            "Slack 429": lambda: slack.fail_next(
                status=429, error="ratelimited", retry_after=LIMITED_WAIT_S, times=2
            ),
            "Slack answer lost": lambda: slack.drop_answer(times=3),
            "Slack slow": lambda: slack.hang(seconds=3, times=8),
            "PagerDuty 503": lambda: pagerduty.fail_next(503, times=3),
            "PagerDuty 429": lambda: pagerduty.fail_next(429, retry_after=LIMITED_WAIT_S, times=2),
            "PagerDuty answer lost": lambda: pagerduty.drop_answer(times=2),
        }

    def run(self, stopped: threading.Event) -> None:
        while not stopped.wait(self._random.uniform(*EVERY_S)):
            name = self._random.choice(sorted(self._harms))
            with suppress(OSError, IndexError):
                self._harms[name]()
                self.done.append((time.time(), name))

    @property
    def counts(self) -> Counter[str]:
        return Counter(name for _, name in self.done)

    def find_last(self, moment: float) -> str:
        """Return what was done last before *moment*."""
        return next((name for at, name in reversed(self.done) if at <= moment), "nothing")

    def _kill(self, child: str) -> None:
        os.kill(self._running.process_of(child), signal.SIGKILL)

    def _kill_gunicorn_worker(self) -> None:
        web = self._running.process_of("web")
        children = [line.partition(" ")[0] for line in self._running.left_over() if _parent_of(line) == web]
        os.kill(int(self._random.choice(children)), signal.SIGKILL)


def _parent_of(line: str) -> int:
    try:
        said = (Path("/proc") / line.partition(" ")[0] / "stat").read_text(errors="replace")
        return int(said.rpartition(")")[2].split()[1])
    except OSError:
        return 0
