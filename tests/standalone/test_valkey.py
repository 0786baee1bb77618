"""The embedded Valkey as a real server."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from receiver.errors import StoreError
from receiver.process import kill_process_group
from receiver.standalone.valkey import EmbeddedValkey, find_server

Process = subprocess.Popen


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Process]]:
    """Processes that a test has started; they end with it."""
    started: list[Process] = []
    yield started
    for process in started:
        kill_process_group(process)


def test_what_was_written_is_there_after_a_kill(tmp_path: Path, started: list[Process]) -> None:
    valkey = EmbeddedValkey(tmp_path)
    started.append(valkey.start())
    valkey.wait_ready(started[-1])
    with redis.Redis.from_url(valkey.url) as client:
        client.set("test:kept", "yes")
    kill_process_group(started[-1])

    started.append(valkey.start())
    valkey.wait_ready(started[-1])
    with redis.Redis.from_url(valkey.url) as client:
        assert client.get("test:kept") == b"yes"


def test_one_left_over_is_ended_first(tmp_path: Path, started: list[Process]) -> None:
    first, second = EmbeddedValkey(tmp_path), EmbeddedValkey(tmp_path)
    started.append(first.start())
    first.wait_ready(started[-1])

    started.append(second.start())
    second.wait_ready(started[-1])
    assert started[0].wait(5) == 0


def test_one_that_hangs_is_waited_for_and_then_named(tmp_path: Path, started: list[Process]) -> None:
    valkey = EmbeddedValkey(tmp_path)
    started.append(valkey.start())
    valkey.wait_ready(started[-1])
    os.kill(started[-1].pid, signal.SIGSTOP)
    with pytest.raises(StoreError, match="another Valkey still works"):
        EmbeddedValkey(tmp_path).start(lambda: True)


def test_a_stale_socket_is_in_nobodys_way(tmp_path: Path, started: list[Process]) -> None:
    (tmp_path / "valkey.sock").write_text("")
    valkey = EmbeddedValkey(tmp_path)
    started.append(valkey.start())
    valkey.wait_ready(started[-1])


def test_a_folder_with_odd_signs_in_its_name_works(tmp_path: Path, started: list[Process]) -> None:
    folder = tmp_path / "a b%20#?\"'ü"
    folder.mkdir()
    valkey = EmbeddedValkey(folder)
    started.append(valkey.start())
    valkey.wait_ready(started[-1])


def test_a_server_that_ends_at_once_says_why(tmp_path: Path, started: list[Process]) -> None:
    (tmp_path / "appendonlydir").write_text("a file where a folder should be")
    valkey = EmbeddedValkey(tmp_path)
    started.append(valkey.start())
    with pytest.raises(StoreError, match=r"appendonlydir"):
        valkey.wait_ready(started[-1])


def test_somebody_elses_folder_under_tmp_is_not_used(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 100)
    deep.mkdir()
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (deep / "valkey.sock.folder").write_text(str(open_to_all))
    link = tmp_path / "link"
    link.symlink_to(open_to_all)

    chosen = Path(EmbeddedValkey(deep).url.removeprefix("unix://")).parent
    assert chosen != open_to_all
    assert chosen.stat().st_mode & 0o777 == 0o700
    assert Path(EmbeddedValkey(deep).url.removeprefix("unix://")).parent == chosen
    chosen.rmdir()


def test_where_there_is_no_wheel_a_server_on_the_path_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Plan9")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreError, match="apt install redis-server"):
        find_server()
    (tmp_path / "redis-server").write_text("#!/bin/sh\n")
    (tmp_path / "redis-server").chmod(0o755)
    assert find_server() == tmp_path / "redis-server"


def test_it_has_a_bound_of_memory_at_which_it_refuses_and_forgets_nothing(
    tmp_path: Path, started: list[Process]
) -> None:
    valkey = EmbeddedValkey(tmp_path, max_memory_mib=32)
    started.append(valkey.start())
    valkey.wait_ready(started[-1])
    with redis.Redis.from_url(valkey.url) as client:

        def fill() -> None:
            for number in range(100):
                client.set(f"test:{number}", b"x" * 1024 * 1024)

        with pytest.raises(redis.exceptions.OutOfMemoryError):
            fill()
        assert client.get("test:0") == b"x" * 1024 * 1024
        assert client.info("memory")["maxmemory"] == 32 * 1024 * 1024


def test_it_syncs_its_file_before_it_answers(tmp_path: Path, started: list[Process]) -> None:
    """With `everysec` what was answered is gone after a kill -9 while a sync is slow."""
    valkey = EmbeddedValkey(tmp_path)
    started.append(valkey.start())
    valkey.wait_ready(started[-1])
    with redis.Redis.from_url(valkey.url) as client:
        settings = client.config_get("append*")
    assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "always")


def test_it_gets_no_secret_of_ours_and_its_files_are_for_us_alone(
    tmp_path: Path, started: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-secret")
    valkey = EmbeddedValkey(tmp_path)
    started.append(valkey.start())
    valkey.wait_ready(started[-1])
    with redis.Redis.from_url(valkey.url) as client:
        client.set("test:kept", "yes")
    if sys.platform == "linux":
        environ = Path(f"/proc/{started[-1].pid}/environ").read_bytes().split(b"\0")
        names = {name.partition(b"=")[0] for name in environ if name}
        assert {name for name in names if not name.startswith(b"LD_")} <= {b"PATH", b"HOME"}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
