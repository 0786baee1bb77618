"""A client connection: each phase has its deadline."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from receiver.web.server.connection import (
    HEAD_S,
    MIN_BYTES_PER_S,
    STALL_TIMEOUT_S,
    ClientConnection,
    reject_client,
)

IDLE_S = 75.0


class Client:
    """Stands in for a socket: each piece of data is received, and each accepted, after its delay."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pieces: list[tuple[float, bytes]] = []
        self.takes: list[tuple[float, int]] = []
        self.taken = b""
        self._timeout_s: float | None = None

    def clock(self) -> float:
        return self.now

    def settimeout(self, timeout_s: float | None) -> None:
        self._timeout_s = timeout_s

    def recv(self, _size: int) -> bytes:
        delay_s, data = self.pieces.pop(0) if self.pieces else (0.0, b"")
        self._wait(delay_s)
        return data

    def send(self, data: bytes) -> int:
        delay_s, count = self.takes.pop(0) if self.takes else (0.0, len(data))
        self._wait(delay_s)
        count = min(count, len(data))
        self.taken += bytes(data[:count])
        return count

    def _wait(self, delay_s: float) -> None:
        assert self._timeout_s is not None, "it would wait for ever"
        if delay_s > self._timeout_s:
            self.now += self._timeout_s
            raise TimeoutError
        self.now += delay_s


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def connection(client: Client) -> ClientConnection:
    connection = ClientConnection(client, client.clock)
    connection.await_request(IDLE_S)
    return connection


def read_all(connection: ClientConnection) -> bytes:
    read = b""
    while data := connection.recv(8192):
        read += data
    return read


def test_a_connection_without_a_request_is_closed_after_its_idle_time(
    client: Client, connection: ClientConnection
) -> None:
    client.pieces = [(IDLE_S + 1, b"GET")]
    assert connection.recv(8192) == b""
    assert client.now == IDLE_S


def test_a_request_head_has_ten_seconds_from_its_first_byte(
    client: Client, connection: ClientConnection
) -> None:
    client.pieces = [(IDLE_S - 1, b"G")] + [(1.0, b"E")] * 100
    read_all(connection)
    assert client.now == pytest.approx(IDLE_S - 1 + HEAD_S, abs=1.01)


def test_a_body_of_a_byte_a_second_is_aborted(client: Client, connection: ClientConnection) -> None:
    connection.begin_body()
    client.pieces = [(1.0, b"x")] * 1000
    with pytest.raises(ConnectionResetError):
        read_all(connection)
    assert client.now < STALL_TIMEOUT_S + 2


def test_a_stalled_body_is_aborted_however_fast_it_was_before(
    client: Client, connection: ClientConnection
) -> None:
    connection.begin_body()
    client.pieces = [(0.0, b"x" * 30 * 1024 * 1024), (STALL_TIMEOUT_S + 1, b"x")]
    with pytest.raises(ConnectionResetError):
        read_all(connection)
    assert client.now == STALL_TIMEOUT_S


def test_a_body_of_32_mib_is_read_over_a_slow_connection(
    client: Client, connection: ClientConnection
) -> None:
    connection.begin_body()
    client.pieces = [(1.0, b"x" * MIN_BYTES_PER_S)] * 656
    assert len(read_all(connection)) > 32 * 1024 * 1024


def test_a_response_read_at_a_byte_a_second_is_aborted(client: Client, connection: ClientConnection) -> None:
    connection.begin_body()
    client.takes = [(1.0, 1)] * 1000
    with pytest.raises(ConnectionResetError):
        connection.sendall(b"x" * 1000)
    assert client.now < STALL_TIMEOUT_S + 2


def test_a_response_is_sent_completely_to_a_client_that_reads_fast_enough(
    client: Client, connection: ClientConnection
) -> None:
    connection.begin_body()
    client.takes = [(1.0, MIN_BYTES_PER_S)] * 40
    connection.sendall(b"x" * MIN_BYTES_PER_S * 40)
    assert len(client.taken) == MIN_BYTES_PER_S * 40


def test_the_response_has_its_own_deadline(client: Client, connection: ClientConnection) -> None:
    """The interim response 100-continue is sent before the body arrives."""
    connection.begin_body()
    connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    client.pieces = [(1.0, b"x" * MIN_BYTES_PER_S)] * 60
    read_all(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    assert client.taken.endswith(b"200 OK\r\n\r\n")


def test_each_request_on_a_connection_has_its_own_deadlines(
    client: Client, connection: ClientConnection
) -> None:
    for _ in range(50):
        client.pieces = [(1.0, b"GET / HTTP/1.1\r\n\r\n")]
        assert connection.recv(8192)
        connection.begin_body()
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        client.now += 5.0
        connection.await_request(IDLE_S)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_rejected_client_gets_the_reason_although_its_body_was_not_read(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    theirs.sendall(b"POST /webhooks/alertmanager HTTP/1.1\r\n\r\n")
    theirs.shutdown(socket.SHUT_WR)
    reject_client(ours, b"no room")
    assert theirs.recv(8192) == b"no room"
    assert theirs.recv(8192) == b""
