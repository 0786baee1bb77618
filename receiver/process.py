"""Processes: child processes that are killed when their parent dies, and signals read from a queue."""

from __future__ import annotations

import ctypes
import gc
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import IO

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@contextmanager
def pause_gc() -> Iterator[None]:
    """Pause garbage collections while modules are imported: there they take a tenth of the CPU time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Signals:
    """Receives the *wanted* signals in order of arrival. Must be created in the main thread.

    A handler may interrupt a thread that holds a lock the handler needs, so ours only puts the number into a
    reentrant queue: https://docs.python.org/3/library/queue.html#simplequeue-objects
    """

    def __init__(self, *wanted: signal.Signals) -> None:
        self._queue: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.is_ending = False  # SIGTERM or SIGINT has arrived, also if it has not been read yet
        for number in wanted:
            signal.signal(number, self._enqueue_signal)

    def request_end(self) -> None:
        """Act as if SIGTERM had arrived."""
        self._enqueue_signal(signal.SIGTERM, None)

    def wait_for_signal(self, timeout_s: float) -> signal.Signals | None:
        """Wait for the next signal; None when none came within *timeout_s* seconds."""
        try:
            return signal.Signals(self._queue.get(timeout=max(0.0, timeout_s)))
        except queue.Empty:
            return None

    def _enqueue_signal(self, number: int, _frame: FrameType | None) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self.is_ending = True
        self._queue.put(number)


def start_child(
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    pass_fds: Sequence[int] = (),
    output: IO[bytes] | None = None,
    umask: int = -1,
) -> subprocess.Popen[bytes]:
    """Start *command* as a child process that is killed when this process dies, even by SIGKILL.

    It gets its own session, so that Ctrl-C reaches only this process, which stops its children in order.
    Call it from the main thread: Linux kills the child when the thread that started it ends.
    """
    return subprocess.Popen(
        command,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=tuple(pass_fds),
        start_new_session=True,
        umask=umask,
        preexec_fn=end_with_parent(os.getpid()),  # noqa: PLW1509  # no threads here, and nothing else can do it
    )


def end_with_parent(parent: int) -> Callable[[], None]:
    """Return a function that a new child of process *parent* calls to be killed when *parent* dies.

    Only Linux supports this; on other systems poll `is_orphan`.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def set_death_signal() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if is_orphan(parent):  # it died before prctl was called
            os._exit(1)

    return set_death_signal


def is_orphan(parent: int) -> bool:
    """Return whether process *parent* is no longer our parent."""
    return os.getppid() != parent


def kill_process_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a child of `start_child` and all its children at once; returns when it has exited."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
