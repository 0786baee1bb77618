"""The supervisor with shell scripts as children: start, restart, reload, and the order of the stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.process import Signals, is_orphan, start_child
from receiver.standalone.supervisor import Child, Supervisor
from tests.cli.running import clean_environ, wait_until


@pytest.fixture
def signals() -> Iterator[Signals]:
    wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
    before = {number: signal.getsignal(number) for number in wanted}
    yield Signals(*wanted)
    for number, handler in before.items():
        signal.signal(number, handler)


def a_child(name: str, script: str, ends_by_s: float = 1.0, reloads: bool = False) -> Child:
    def start():
        return start_child(["sh", "-c", script], clean_environ())

    return Child(name, start, ends_by_s=ends_by_s, reloads=reloads)


def a_recorder(folder: Path, name: str) -> str:
    """Return a script that writes down its name when it gets SIGTERM."""
    return f"trap 'echo {name} >> {folder}/ended; exit 0' TERM; echo up > {folder}/{name}; while :; do sleep 0.02; done"


def test_children_are_stopped_from_last_to_first(tmp_path: Path, signals: Signals) -> None:
    children = [a_child(name, a_recorder(tmp_path, name)) for name in ("store", "worker", "web")]
    for child in children:
        child.start()
        wait_until((tmp_path / child.name).exists)
    Supervisor(children, signals, lambda: True).stop()
    assert (tmp_path / "ended").read_text().split() == ["web", "worker", "store"]


def test_a_child_that_ignores_the_stop_is_killed_in_time_and_does_not_block_the_others(
    tmp_path: Path, signals: Signals
) -> None:
    deaf = a_child(
        "web", f"trap '' TERM; echo up > {tmp_path}/web; while :; do sleep 0.02; done", ends_by_s=0.3
    )
    store = a_child("store", a_recorder(tmp_path, "store"), ends_by_s=1.0)
    for child in (store, deaf):
        child.start()
        wait_until((tmp_path / child.name).exists)
    process = deaf.process
    started = time.monotonic()
    Supervisor([store, deaf], signals, lambda: True).stop()
    assert time.monotonic() - started < 2
    assert (tmp_path / "ended").read_text() == "store\n"
    assert process.returncode == -signal.SIGKILL


def test_processes_started_by_a_dead_child_are_ended(tmp_path: Path, signals: Signals) -> None:
    child = a_child("web", f"sleep 60 & echo $! > {tmp_path}/grandchild; kill -9 $$")
    process = child.start()
    process.wait(5)
    child.restart_if_due()
    pid = int((tmp_path / "grandchild").read_text())
    wait_until(
        lambda: not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    child.kill()


def test_a_child_that_ends_at_once_is_restarted_with_increasing_delays(
    tmp_path: Path, signals: Signals
) -> None:
    child = a_child("web", "exit 1")
    waits = []
    for _ in range(3):
        child.start().wait(5)
        waits.append(child.restart_if_due())
    assert [round(wait, 1) for wait in waits] == [0.2, 0.4, 0.8]


def test_a_child_that_can_not_be_started_is_retried(tmp_path: Path, signals: Signals) -> None:
    child = Child("store", lambda: start_child([str(tmp_path / "missing")], {}), ends_by_s=1)
    child.restart_if_due()
    assert 0 < child.restart_if_due() <= 0.2
    assert not child.is_running


def test_a_reload_is_sent_to_children_that_reload_and_only_if_the_check_passes(
    tmp_path: Path, signals: Signals
) -> None:
    script = (
        f"trap 'echo web >> {tmp_path}/reloaded' HUP; echo up > {tmp_path}/web; while :; do sleep 0.02; done"
    )
    checks: list[int] = []

    def is_second_check() -> bool:
        checks.append(1)
        return len(checks) == 2

    web = a_child("web", script, reloads=True)
    store = a_child("store", "sleep 60")
    supervisor = Supervisor([store, web], signals, is_second_check)
    for child in (store, web):
        child.start()
    wait_until((tmp_path / "web").exists)

    def drive() -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        wait_until(lambda: checks)  # two pending signals would count as one
        os.kill(os.getpid(), signal.SIGHUP)
        wait_until((tmp_path / "reloaded").exists)
        signals.request_end()

    driver = threading.Thread(target=drive)
    driver.start()
    supervisor.run_forever()
    driver.join(5)
    is_store_running = store.is_running
    supervisor.stop()
    assert is_store_running
    assert (tmp_path / "reloaded").read_text() == "web\n"


def test_with_another_parent_process_a_child_is_an_orphan() -> None:
    assert is_orphan(1_000_000_000)


def test_a_healthy_child_is_restarted_at_once_and_an_unhealthy_one_later(
    signals: Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = a_child("worker", "sleep 60")
    try:
        for healthy_after_s, is_at_once in ((0.0, True), (60.0, False)):
            monkeypatch.setattr("receiver.standalone.supervisor.HEALTHY_AFTER_S", healthy_after_s)
            process = child.start()
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            child.restart_if_due()
            assert child.is_running is is_at_once
    finally:
        child.kill()
