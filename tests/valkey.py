"""One real Valkey for the whole test run, emptied between tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from receiver.standalone.valkey import EmbeddedValkey
from receiver.storage.connection import Client, connect


@contextmanager
def run_valkey() -> Iterator[str]:
    """Run a Valkey on a Unix socket in a temporary folder; return its address.

    It is never restarted on its data, so the append-only file is off: syncing it takes milliseconds a write.
    """
    with tempfile.TemporaryDirectory(prefix="rcv-") as folder:
        server = EmbeddedValkey(Path(folder))
        process = server.start()
        try:
            server.wait_ready(process)
            client = connect(server.url)
            client.config_set("appendonly", "no")
            client.close()
            yield server.url
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """Return the address of a Valkey for this test run."""
    with run_valkey() as url:
        yield url


@pytest.fixture
def redis_client(valkey_url: str) -> Iterator[Client]:
    """Return a client of an empty Valkey; afterwards, every key must have an expiry or belong to an open
    object.
    """
    client = connect(valkey_url)
    client.flushall()
    yield client
    leaked = find_keys_without_expiry(client)
    client.close()
    assert not leaked, f"keys that would stay for ever: {leaked}"


def find_keys_without_expiry(client: Client) -> list[str]:
    """Return the keys without an expiry that no open incident or storm needs."""
    open_ids = {
        m
        for index in ("open", "storms:unresolved")
        for key in client.scan_iter(f"rcv:*:{index}")
        for m in client.zrange(key, 0, -1)
    }
    group_ids = {member.partition(b"-")[0] for member in open_ids}
    leaked = []
    for key in client.scan_iter("*"):
        if client.ttl(key) != -1:
            continue
        kind, _, name = key.decode().partition("}:")[2].partition(":")
        if kind in ("open", "queue", "leases", "lease-owners"):
            continue
        if kind == "storms" or (kind in ("storm", "storm-members") and name.encode() in open_ids):
            continue
        if (kind == "incident" and name.encode() in group_ids) or (
            kind == "timeline" and name.encode() in open_ids
        ):
            continue
        leaked.append(key.decode())
    return leaked
