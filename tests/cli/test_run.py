"""`receiver run`, `receiver web` and `receiver worker` as real processes: start, kill and stop."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import ROUTING, Running, call, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc, and kills as Linux does")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One instance for the tests that read, and for those after which it works as before.

    Its folder holds Python files named like modules that the receiver imports.
    """
    folder = tmp_path_factory.mktemp("shared")
    for name in ("redis.py", "flask.py", "gevent.py"):
        (folder / name).write_text("raise RuntimeError('taken for a module')")
    shared = Running(folder)
    wait_until(shared.is_ready, shared.log)
    yield shared
    shared.end()
    assert shared.left_over() == []


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    yield running
    if running.process.poll() is None:
        running.kill()


def test_run_starts_responds_and_stops_without_leaving_a_process(running: Running) -> None:
    wait_until(running.is_ready, running.log)
    assert running.get("/healthz") == 200
    assert running.get("/") == 200

    duration_s = running.end()

    assert duration_s < 10
    assert running.process.returncode == 0, running.log()
    assert running.left_over() == []
    assert not list((running.folder / ".receiver").glob("*.sock"))


def test_the_embedded_valkey_has_no_port_and_a_private_socket(shared: Running) -> None:
    data_dir = shared.folder / ".receiver"
    assert data_dir.stat().st_mode & 0o777 == 0o700
    assert (data_dir / "valkey.sock").stat().st_mode & 0o777 == 0o700
    assert _tcp_listeners(shared.process_of("valkey")) == []


def test_all_written_files_are_private(shared: Running) -> None:
    files = [path for path in (shared.folder / ".receiver").rglob("*") if path.is_file()]
    assert [path for path in files if "metrics" in path.parts]
    assert [path.name for path in files if path.stat().st_mode & 0o077] == []


def test_the_output_shows_the_urls_and_the_simulated_channels(shared: Running) -> None:
    assert f"{shared.address}/webhooks/alertmanager" in shared.output()
    assert str(shared.folder / ".receiver") in shared.output()
    assert "Slack: no token" in shared.output()


def test_a_data_folder_can_be_used_by_one_run_only(shared: Running) -> None:
    second = call(shared.folder, "run", "--listen", "127.0.0.1:0")
    assert second.returncode == 1
    assert f"process {shared.process.pid}" in second.stderr
    assert shared.is_ready()


def test_python_files_in_the_folder_are_not_imported(shared: Running) -> None:
    assert list(shared.folder.glob("*.py"))
    assert shared.is_ready()


def test_a_reload_refuses_a_faulty_configuration_and_applies_a_valid_one(shared: Running) -> None:
    routing = shared.folder / "routing.yaml"

    routing.write_text(ROUTING + "colour: red\n")
    shared.process.send_signal(signal.SIGHUP)
    wait_until(lambda: shared.events("configuration refused"), shared.log)
    assert "routing.yaml:4" in str(shared.events("configuration refused")[0]["problem"])
    assert shared.is_ready()

    routing.write_text(ROUTING.replace("#alerts-info", "#elsewhere"))
    shared.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(shared.events("configuration reloaded")) == 2, shared.log)
    wait_until(shared.is_ready, shared.log)
    assert shared.events("child died") == []


@pytest.mark.parametrize("child", ["valkey", "worker", "web"])
def test_a_child_that_ends_is_started_again(shared: Running, child: str) -> None:
    before = shared.process_of(child)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: shared.process_of(child) != before, shared.log)
    wait_until(shared.is_ready, shared.log)


def test_after_a_kill_no_process_is_left_and_run_starts_again_at_once(running: Running) -> None:
    wait_until(running.is_ready, running.log)
    running.kill()
    wait_until(lambda: not running.left_over(), lambda: str(running.left_over()))

    again = Running(running.folder)
    wait_until(again.is_ready, again.log)
    again.end()
    assert again.left_over() == []


def test_acknowledged_webhooks_survive_a_kill_of_all_processes(running: Running) -> None:
    import redis

    wait_until(running.is_ready, running.log)
    with redis.Redis(unix_socket_path=str(running.folder / ".receiver/valkey.sock")) as client:
        client.set("test:kept", "yes", ex=60)
    running.kill()

    again = Running(running.folder)
    wait_until(again.is_ready, again.log)
    with redis.Redis(unix_socket_path=str(again.folder / ".receiver/valkey.sock")) as client:
        assert client.get("test:kept") == b"yes"
    again.end()


def test_a_faulty_configuration_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "routing.yaml").write_text(
        "version: 1\nroutes:\n  - {match: [], chanel: '#a'}\ncolour: red\n"
    )
    ended = call(tmp_path, "run")
    assert ended.returncode == 1
    assert "routing.yaml:3: " in ended.stderr
    assert "routing.yaml:4: " in ended.stderr
    assert not (tmp_path / ".receiver").exists()


@pytest.mark.parametrize(("command", "address"), [("run", "0.0.0.0:0"), ("web", "[::]:0")])
def test_beyond_loopback_run_does_not_start_without_tokens(
    tmp_path: Path, command: str, address: str
) -> None:
    (tmp_path / "routing.yaml").write_text(ROUTING)
    ended = call(
        tmp_path,
        command,
        "--listen",
        address,
        REDIS_URL="redis://127.0.0.1:1",
        RECEIVER_API_TOKEN="secret-api",
    )
    assert ended.returncode == 1
    assert "RECEIVER_WEBHOOK_TOKEN" in ended.stderr
    assert "RECEIVER_API_TOKEN" not in ended.stderr
    assert "--insecure" in ended.stderr


def test_an_address_in_use_is_reported(tmp_path: Path) -> None:
    (tmp_path / "routing.yaml").write_text(ROUTING)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = call(tmp_path, "run", "--listen", address)
    assert ended.returncode == 1
    assert f"already listens on {address}" in ended.stderr


@pytest.mark.parametrize("command", ["web", "worker"])
def test_web_and_worker_need_a_redis_url(tmp_path: Path, command: str) -> None:
    (tmp_path / "routing.yaml").write_text(ROUTING)
    ended = call(tmp_path, command)
    assert ended.returncode == 1
    assert "REDIS_URL is not set" in ended.stderr


def test_a_folder_whose_path_is_too_long_for_a_socket_works(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 60) / ("b" * 60)
    deep.mkdir(parents=True)
    running = Running(deep)
    try:
        wait_until(running.is_ready, running.log)
    finally:
        running.end()
        note = deep / ".receiver" / "valkey.sock.folder"
        Path(note.read_text()).rmdir()  # fails unless the folder is empty again
    assert running.left_over() == []


def _tcp_listeners(process: int) -> list[str]:
    """Return the listening TCP sockets of a process, as Linux lists them."""
    inodes = set()
    for entry in Path(f"/proc/{process}/fd").iterdir():
        inodes.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return [fields[1] for fields in lines if fields[3] == "0A" and fields[9] in inodes]
