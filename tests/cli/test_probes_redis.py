"""`receiver check --online` with a real Redis: the faults and warnings from its settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.invoke import receiver
from tests.redis_servers import Server, needs_redis

pytestmark = needs_redis


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "routing.yaml").write_text('version: 1\nroutes:\n  - {match: [], channel: "#alerts"}\n')
    server = Server(tmp_path / "redis", "--appendonly", "yes").start()
    yield server
    server.kill()


def test_a_redis_that_evicts_nothing_passes(server: Server) -> None:
    result = receiver("check", "--online", REDIS_URL=server.url)
    assert result.exit_code == 0
    assert "ok: Redis takes what it is given" in result.stdout
    assert "warning: environment" not in result.stdout


def test_a_redis_that_may_evict_keys_is_a_fault(server: Server) -> None:
    server.run_command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    result = receiver("check", "--online", REDIS_URL=server.url)
    assert result.exit_code == 1
    assert "(maxmemory-policy is allkeys-lru): set maxmemory-policy noeviction" in result.stdout


def test_a_redis_without_persistence_is_a_warning(server: Server) -> None:
    server.run_command("CONFIG", "SET", "appendonly", "no")
    result = receiver("check", "--online", REDIS_URL=server.url)
    assert result.exit_code == 0
    assert "warning: environment:1: Redis keeps nothing on disk" in result.stdout


def test_a_redis_that_refuses_writes_is_a_fault(server: Server) -> None:
    server.run_command("REPLICAOF", "127.0.0.1", "1")
    result = receiver("check", "--online", REDIS_URL=server.url)
    assert result.exit_code == 1
    assert "READONLY" in result.stdout


def test_unavailable_sentinels_are_a_fault(server: Server) -> None:
    result = receiver("check", "--online", REDIS_URL="redis+sentinel://:pw@127.0.0.1:1,127.0.0.1:2/main")
    assert result.exit_code == 1
    assert "none of 2 sentinels knows the master of 'main'" in result.stdout
