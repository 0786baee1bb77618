"""The lines to Redis, on a server of their own that is ended and started again."""

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
    """A Valkey that can be ended and started again."""

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


def test_connections_that_were_cut_while_idle_are_opened_anew(server: Server) -> None:
    client = connect(server.url)
    assert all(ping_from_many(client))
    server.end()
    server.start()
    assert all(ping_from_many(client))


def test_several_commands_at_once_survive_a_connection_cut_while_idle(server: Server) -> None:
    client = connect(server.url)
    client.ping()
    server.end()
    server.start()
    with client.pipeline(transaction=False) as pipe:
        pipe.set("a", 1)
        pipe.get("a")
        assert pipe.execute() == [True, b"1"]


def test_a_script_survives_a_server_that_forgot_it(server: Server) -> None:
    client = connect(server.url)
    scripts = Scripts(client)
    calls = [(["queue", "leases", "lease-owners"], ["1", "2", "worker", 1, "99"])] * 2
    for _ in range(2):
        assert scripts.run_all("claim", calls) == [[b""], [b""]]
        server.end()
        server.start()


def test_a_server_that_is_away_is_a_store_error_and_its_return_is_noticed(server: Server) -> None:
    client = connect(server.url)
    client.ping()
    server.end()
    with pytest.raises(StoreError), store_errors():
        client.ping()
    server.start()
    assert client.ping()


def test_a_silent_server_costs_the_connection_and_no_later_answer(server: Server) -> None:
    client = connect(server.url, timeout_s=0.2)
    with pytest.raises(StoreError), store_errors():
        client.blpop("nothing", 0.6)
    assert client.echo("mine") == b"mine"


def test_connections_are_used_again(server: Server) -> None:
    client = connect(server.url)
    for _ in range(10):
        client.ping()
    assert len(client.client_list()) == 1
