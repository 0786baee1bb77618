"""The supervisor of `receiver run`: restarts its child processes, and stops them in order."""

from __future__ import annotations

import logging
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field

from receiver.process import Signals, kill_process_group

logger = logging.getLogger(__name__)
FIRST_DELAY_S = 0.2
LAST_DELAY_S = 5.0
# A child that ran this long was healthy: its next restart starts with the short delay again.
HEALTHY_AFTER_S = 10.0


@dataclass
class Child:
    """One child process. `Supervisor.stop` waits for it until *ends_by_s* seconds after it began, at most."""

    name: str
    start_process: Callable[[], subprocess.Popen[bytes]]
    _: KW_ONLY
    ends_by_s: float
    reloads: bool = False
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _delay_s: float = field(default=FIRST_DELAY_S, init=False)
    _started_at: float = field(default=0.0, init=False)
    _restart_at: float = field(default=0.0, init=False)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> subprocess.Popen[bytes]:
        """Start the process; raises what *start* raises."""
        self._started_at = time.monotonic()
        self.process = self.start_process()
        logger.info("child started", extra={"fields": {"child": self.name, "process": self.process.pid}})
        return self.process

    def restart_if_due(self) -> float:
        """Restart the process if it has died and the restart is due; return in how many s to call again."""
        if self.is_running:
            return LAST_DELAY_S
        if self.process is not None:
            kill_process_group(self.process)  # including the processes that it started
            if time.monotonic() - self._started_at > HEALTHY_AFTER_S:
                self._delay_s = 0.0  # it was healthy: restart it without delay
            fields = {"child": self.name, "code": self.process.returncode, "again_in_s": self._delay_s}
            logger.error("child died", extra={"fields": fields})
            self.process = None
            self._plan_restart()
        wait_s = self._restart_at - time.monotonic()
        if wait_s > 0:
            return wait_s
        try:
            self.start()
        except Exception:  # the cause may be gone at the next attempt
            logger.exception("child can't be started", extra={"fields": {"child": self.name}})
            self._plan_restart()
        return FIRST_DELAY_S

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal; does nothing if it has died."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)

    def wait(self, timeout_s: float) -> None:
        """Wait until it ends, *timeout_s* at most."""
        if self.process is not None:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(max(0.0, timeout_s))

    def kill(self) -> None:
        """Kill it and its own children."""
        if self.process is not None:
            if self.process.poll() is None:
                logger.warning("child killed", extra={"fields": {"child": self.name}})
            kill_process_group(self.process)
            self.process = None

    def _plan_restart(self) -> None:
        self._restart_at = time.monotonic() + self._delay_s
        self._delay_s = min(max(self._delay_s * 2, FIRST_DELAY_S), LAST_DELAY_S)


@dataclass(frozen=True)
class Supervisor:
    """Runs *children* until a stop signal; *is_reload_wanted* is called at SIGHUP and may refuse.

    *signals* must contain SIGCHLD, so that an exit is noticed at once.
    """

    children: Sequence[Child]
    signals: Signals
    is_reload_wanted: Callable[[], bool]

    def run_forever(self) -> None:
        """Keep every child running until SIGTERM or SIGINT; the caller must call `stop()`."""
        while not self.signals.is_ending:
            wait_s = min(child.restart_if_due() for child in self.children)
            if self.signals.wait_for_signal(wait_s) == signal.SIGHUP and self.is_reload_wanted():
                for child in self.children:
                    if child.reloads:
                        child.send_signal(signal.SIGHUP)
                logger.info("reload sent")

    def stop(self) -> None:
        """End the children from last to first, each before the next, and leave no process.

        The next child is asked to end at the latest when the `ends_by_s` of the one before has passed; what
        is left after the last one's time is killed.
        """
        started_at = time.monotonic()
        stopping: list[Child] = []
        for child in reversed(self.children):
            child.send_signal(signal.SIGTERM)
            stopping.append(child)
            for one in stopping:
                one.wait(started_at + child.ends_by_s - time.monotonic())
        for child in stopping:
            child.kill()
