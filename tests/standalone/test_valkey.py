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
    """The processes that a test has started; they end with the test."""
    started: list[Process] = []
    yield started
    for process in started:
        kill_process_group(process)


def test_written_data_survives_a_kill(tmp_path: Path, started: list[Process]) -> None:
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


def test_a_remaining_server_is_ended_first(tmp_path: Path, started: list[Process]) -> None:
    first, second = EmbeddedValkey(tmp_path), EmbeddedValkey(tmp_path)
    started.append(first.start())
    first.wait_ready(started[-1])

    started.append(second.start())
    second.wait_ready(started[-1])
    assert started[0].wait(5) == 0


def test_a_remaining_server_that_does_not_end_is_reported_after_a_wait(
    tmp_path: Path, started: list[Process]
) -> None:
    valkey = EmbeddedValkey(tmp_path)
    started.append(valkey.start())
    valkey.wait_ready(started[-1])
    os.kill(started[-1].pid, signal.SIGSTOP)
    with pytest.raises(StoreError, match="another Valkey still works"):
        EmbeddedValkey(tmp_path).start(lambda: True)


def test_a_stale_socket_is_replaced(tmp_path: Path, started: list[Process]) -> None:
    (tmp_path / "valkey.sock").write_text("")
    valkey = EmbeddedValkey(tmp_path)
    started.append(valkey.start())
    valkey.wait_ready(started[-1])


def test_a_folder_with_special_characters_in_its_name_works(tmp_path: Path, started: list[Process]) -> None:
    folder = tmp_path / "a b%20#?\"'ü"
    folder.mkdir()
    valkey = EmbeddedValkey(folder)
    started.append(valkey.start())
    valkey.wait_ready(started[-1])


def test_a_server_that_ends_at_once_is_reported_with_the_reason(
    tmp_path: Path, started: list[Process]
) -> None:
    (tmp_path / "appendonlydir").write_text("a file where a folder should be")
    valkey = EmbeddedValkey(tmp_path)
    started.append(valkey.start())
    with pytest.raises(StoreError, match=r"appendonlydir"):
        valkey.wait_ready(started[-1])


def test_a_folder_of_another_user_under_tmp_is_not_used(tmp_path: Path) -> None:
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


def test_without_the_wheel_a_server_on_the_path_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Plan9")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreError, match="apt install redis-server"):
        find_server()
    (tmp_path / "redis-server").write_text("#!/bin/sh\n")
    (tmp_path / "redis-server").chmod(0o755)
    assert find_server() == tmp_path / "redis-server"


def test_the_memory_is_limited_and_at_the_limit_writes_are_refused_and_nothing_is_evicted(
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


def test_the_server_syncs_its_file_before_it_responds(tmp_path: Path, started: list[Process]) -> None:
    """With `everysec`, acknowledged writes are lost by a kill -9 while a sync is slow."""
    valkey = EmbeddedValkey(tmp_path)
    started.append(valkey.start())
    valkey.wait_ready(started[-1])
    with redis.Redis.from_url(valkey.url) as client:
        settings = client.config_get("append*")
    assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "always")


def test_the_server_gets_none_of_our_secrets_and_its_files_are_private(
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
