"""Many slow clients at once, on gunicorn as `receiver web` starts it: other clients are not delayed."""

from __future__ import annotations

import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from receiver.web.server.connection import HEAD_S, STALL_TIMEOUT_S
from tests.web.test_gunicorn import Serving

ROOM = 64
# Generous limits, as the machine that runs this may be slow, too.
SPARE_S = 6.0


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    serving = Serving(tmp_path)
    serving.ask()
    yield serving
    serving.process.kill()
    serving.process.wait(5)


@pytest.fixture
def crowd() -> Iterator[list[socket.socket]]:
    crowd: list[socket.socket] = []
    yield crowd
    for client in crowd:
        client.close()


def gather(crowd: list[socket.socket], serving: Serving, count: int, first: bytes) -> None:
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", serving.port), timeout=10)
        crowd.append(client)
        client.sendall(first)


def is_closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        while client.recv(8192):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


# What a slow client sends first, what it then sends each second, and the number of such clients.
SLOW = [
    (b"GET / HTTP/1.1\r\nX-", b"a", 60),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", b"a", 60),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", 60),
    (b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n", b"", 20),
]


def test_200_slow_clients_delay_no_other_and_are_disconnected(
    serving: Serving, crowd: list[socket.socket]
) -> None:
    pieces = []
    for first, piece, count in SLOW:
        gather(crowd, serving, count, first)
        pieces += [piece] * count
    took_s, end = [], time.monotonic() + max(HEAD_S, STALL_TIMEOUT_S) + SPARE_S
    while time.monotonic() < end:
        for client, piece in zip(crowd, pieces, strict=True):
            with suppress(OSError):
                client.send(piece)
        for _ in range(5):
            started = time.monotonic()
            assert serving.ask().startswith("first")
            took_s.append(time.monotonic() - started)
        time.sleep(1.0)
    # On a busy machine one in twenty may be slow; if the slow clients blocked, all would take ten seconds.
    assert sorted(took_s)[-1 - len(took_s) // 20] < 1.0
    assert max(took_s) < HEAD_S / 2
    assert [client for client in crowd if not is_closed(client)] == []
    assert "Traceback" not in serving.log()


def test_pipelined_requests_delay_no_other_client(narrow: Serving, crowd: list[socket.socket]) -> None:
    """A client that pipelines always has its next request ready; the worker must still pause it."""
    many = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 1000
    end = time.monotonic() + 6.0

    def pipeline(client: socket.socket) -> None:
        with suppress(OSError):
            while time.monotonic() < end:
                client.sendall(many)

    def read(client: socket.socket) -> None:
        with suppress(OSError):
            while time.monotonic() < end and client.recv(1 << 20):
                pass

    gather(crowd, narrow, 4, b"")
    threads = [threading.Thread(target=do, args=(client,)) for client in crowd for do in (pipeline, read)]
    for thread in threads:
        thread.start()
    took_s = []
    while time.monotonic() < end - 2.0:
        started = time.monotonic()
        assert narrow.ask().startswith("first")
        took_s.append(time.monotonic() - started)
        time.sleep(0.1)
    for client in crowd:
        client.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(10.0)
    assert max(took_s) < 2.0
    assert "Traceback" not in narrow.log()


@pytest.fixture
def narrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    """One process with room for 64 connections, half of the files it may open."""
    monkeypatch.setenv("WORKERS", "1")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * ROOM, before[1]))
    try:
        narrow = Serving(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    yield narrow
    narrow.process.kill()
    narrow.process.wait(5)


def test_idle_connections_are_closed_to_make_room_for_others(
    narrow: Serving, crowd: list[socket.socket]
) -> None:
    gather(crowd, narrow, ROOM + 40, b"")
    started = time.monotonic()
    for _ in range(20):
        assert narrow.ask().startswith("first")
    assert time.monotonic() - started < 5.0
    assert sum(is_closed(client) for client in crowd) >= 40
    assert "too many connections" in narrow.log()


def test_if_all_connections_are_busy_a_further_one_is_rejected_with_retry_after(
    narrow: Serving, crowd: list[socket.socket]
) -> None:
    gather(crowd, narrow, ROOM, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na")
    time.sleep(1.0)
    connection = narrow.connect()
    connection.request("GET", "/")
    response = connection.getresponse()
    assert response.status == 503
    assert response.getheader("Retry-After") == "1"
    assert json.loads(response.read())["error"]["type"] == "unavailable"


def test_100_continue_is_sent_before_the_body(serving: Serving) -> None:
    with socket.create_connection(("127.0.0.1", serving.port), timeout=5) as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
            b"Connection: close\r\n\r\n"
        )
        assert client.recv(8192).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"{}")
        assert client.recv(8192).startswith(b"HTTP/1.1 200 ")
