"""The body of a refused request occupies no connection, on gunicorn as `receiver web` starts it."""

from __future__ import annotations

import http.client
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from receiver.web.server.connection import LINGER_BYTES, LINGER_S
from receiver.web.server.worker import MAX_DRAINING_PER_ADDRESS
from tests.web.server.test_worker_slow_clients import is_closed
from tests.web.test_gunicorn import Serving

# What the buffers of both ends hold while neither end reads.
ROOM_ON_THE_WAY = 8 * 1024 * 1024
HEADS = {
    "with a length": b"POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\nx",
    "in chunks": b"POST /refused HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
    "of a question": b"GET /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n",
}
# What a client sends every tenth of a second.
PIECES = {"with a length": b"x", "in chunks": b"1\r\nx\r\n", "of a question": b"x"}


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    serving = Serving(tmp_path)
    serving.ask()
    yield serving
    serving.process.kill()
    serving.process.wait(5)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def begin(serving: Serving, head: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", serving.port), timeout=10)
    client.sendall(head)
    return client


def read_response(client: socket.socket) -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(client)
    response.begin()
    return response


@pytest.mark.parametrize("kind", HEADS)
def test_the_response_does_not_wait_for_the_body_and_closes_the_connection(
    serving: Serving, kind: str
) -> None:
    client = begin(serving, HEADS[kind])
    started = time.monotonic()
    response = read_response(client)
    assert (response.status, response.getheader("Connection"), response.read()) == (401, "close", b"no")
    assert time.monotonic() - started < LINGER_S
    while not is_closed(client):
        assert time.monotonic() - started < LINGER_S + 2.0, "still open"
        client.setblocking(True)
        with suppress(OSError):
            client.send(PIECES[kind])
        time.sleep(0.1)


def test_a_client_that_sends_a_long_body_gets_the_response_and_is_disconnected(serving: Serving) -> None:
    client = begin(serving, HEADS["with a length"])
    started, sent = time.monotonic(), 0
    client.settimeout(0.1)
    while time.monotonic() - started < LINGER_S + 2.0:
        try:
            sent += client.send(b"x" * 100_000)
        except TimeoutError:
            continue
        except OSError:
            break
    else:
        pytest.fail("still open")
    assert sent < LINGER_BYTES + ROOM_ON_THE_WAY
    client.setblocking(True)
    assert read_response(client).status == 401


def test_a_body_that_was_received_completely_keeps_the_connection_open(serving: Serving) -> None:
    connection = serving.connect()
    for _ in range(3):
        connection.request("POST", "/", body=b"x" * 100_000)
        response = connection.getresponse()
        assert response.status == 200
        assert response.getheader("Connection") != "close"
        response.read()


def list_drained(crowd: list[socket.socket]) -> list[float]:
    """Wait until the server has closed all of *crowd*; return when it began to drain those that it drained.

    While it drains, it has ended its own direction and still accepts what we send.
    """
    ended_at: dict[socket.socket, float] = {}
    drained_at: list[float] = []
    rest = set(crowd)
    while rest:
        for client in list(rest):
            if client not in ended_at and is_closed(client):
                ended_at[client] = time.monotonic()
            if client in ended_at:
                try:
                    client.send(b"x")
                except OSError:
                    rest.remove(client)
                    if time.monotonic() - ended_at[client] > LINGER_S / 2:
                        drained_at.append(ended_at[client])
        time.sleep(0.02)
    return drained_at


def test_only_a_few_connections_per_address_are_drained(serving: Serving) -> None:
    crowd = [begin(serving, HEADS["with a length"]) for _ in range(100)]
    drained_at = list_drained(crowd)
    assert drained_at
    # Each is drained for LINGER_S, by one of two processes.
    for first in drained_at:
        assert sum(0 <= at - first < LINGER_S / 2 for at in drained_at) <= 2 * MAX_DRAINING_PER_ADDRESS
    for client in crowd:
        client.close()
