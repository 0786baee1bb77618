"""Connections to Redis, tested on a server that the tests stop and start again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import Popen

import pytest

from receiver.errors import StoreError
from receiver.standalone.valkey import EmbeddedValkey
from receiver.storage.connection import Client, Scripts, connect, store_errors


class Server:
    """A Valkey that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self._valkey = EmbeddedValkey(folder)
        self._process: Popen[bytes] | None = None
        self.url = self._valkey.url

    def start(self) -> None:
        self._process = self._valkey.start()
        self._valkey.wait_ready(self._process)

    def end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start()
    yield server
    server.end()


def ping_from_many(client: Client) -> list[bool]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda _: client.ping(), range(64)))


def test_connections_that_were_closed_while_idle_are_reopened(server: Server) -> None:
    client = connect(server.url)
    assert all(ping_from_many(client))
    server.end()
    server.start()
    assert all(ping_from_many(client))


def test_concurrent_commands_survive_connections_that_were_closed_while_idle(server: Server) -> None:
    client = connect(server.url)
    client.ping()
    server.end()
    server.start()
    with client.pipeline(transaction=False) as pipe:
        pipe.set("a", 1)
        pipe.get("a")
        assert pipe.execute() == [True, b"1"]


def test_a_script_is_loaded_again_after_the_server_lost_it(server: Server) -> None:
    client = connect(server.url)
    scripts = Scripts(client)
    calls = [(["queue", "leases", "lease-owners"], ["1", "2", "worker", 1, "99"])] * 2
    for _ in range(2):
        assert scripts.run_all("claim", calls) == [[b""], [b""]]
        server.end()
        server.start()


def test_an_unavailable_server_is_a_store_error_until_it_is_back(server: Server) -> None:
    client = connect(server.url)
    client.ping()
    server.end()
    with pytest.raises(StoreError), store_errors():
        client.ping()
    server.start()
    assert client.ping()


def test_after_a_timeout_the_connection_is_closed_so_that_no_late_answer_is_mixed_up(server: Server) -> None:
    client = connect(server.url, timeout_s=0.2)
    with pytest.raises(StoreError), store_errors():
        client.blpop("nothing", 0.6)
    assert client.echo("mine") == b"mine"


def test_connections_are_reused(server: Server) -> None:
    client = connect(server.url)
    for _ in range(10):
        client.ping()
    assert len(client.client_list()) == 1
