"""A former master that answers READONLY: the connections to it are closed, and the present one is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.storage.connection import Client, Scripts, connect
from receiver.storage.keys import Keys
from tests.redis_servers import Server, needs_redis

pytestmark = needs_redis
KEYS = Keys(0)
CLAIM = ([KEYS.queue("slack"), KEYS.leases("slack"), KEYS.lease_owners("slack")], ["1", "2", "w", 1, "99"])


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """Return a client with an open connection to a server that was the master until now, under a name that
    leads to the present master.
    """
    servers = [
        Server(tmp_path / name, "--unixsocket", str(tmp_path / f"{name}.sock")).start() for name in "ab"
    ]
    name = tmp_path / "redis.sock"
    name.symlink_to(tmp_path / "a.sock")
    client = connect(f"unix://{name}")
    Scripts(client).run_script("claim", *CLAIM)
    name.unlink()
    name.symlink_to(tmp_path / "b.sock")
    former, present = servers
    former.run_command("REPLICAOF", "127.0.0.1", present.port)
    yield client
    client.close()
    for server in servers:
        server.kill()


def test_a_command_is_run_on_the_present_master(client: Client) -> None:
    assert client.set("key", "1", ex=60)


def test_a_pipeline_is_run_on_the_present_master(client: Client) -> None:
    with client.pipeline(transaction=False) as pipe:
        pipe.set("key", "1", ex=60)
        pipe.get("key")
        assert pipe.execute() == [True, b"1"]


@pytest.mark.parametrize("raise_on_error", [True, False])
def test_scripts_are_run_on_the_present_master(client: Client, raise_on_error: bool) -> None:
    calls = [("claim", *CLAIM)] * 2
    assert Scripts(client).run_each(calls, raise_on_error=raise_on_error) == [[b""]] * 2
