"""`receiver check --online` on a real Redis: what it makes of its settings."""

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


def test_a_redis_that_keeps_everything_is_good(server: Server) -> None:
    result = receiver("check", "--online", REDIS_URL=server.url)
    assert result.exit_code == 0
    assert "ok: Redis takes what it is given" in result.stdout
    assert "warning: environment" not in result.stdout


def test_a_redis_that_would_forget_is_a_fault(server: Server) -> None:
    server.run_command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    result = receiver("check", "--online", REDIS_URL=server.url)
    assert result.exit_code == 1
    assert "(maxmemory-policy is allkeys-lru): set maxmemory-policy noeviction" in result.stdout


def test_a_redis_without_a_file_is_a_warning(server: Server) -> None:
    server.run_command("CONFIG", "SET", "appendonly", "no")
    result = receiver("check", "--online", REDIS_URL=server.url)
    assert result.exit_code == 0
    assert "warning: environment:1: Redis keeps nothing on disk" in result.stdout


def test_a_redis_that_takes_no_writes_is_a_fault(server: Server) -> None:
    server.run_command("REPLICAOF", "127.0.0.1", "1")
    result = receiver("check", "--online", REDIS_URL=server.url)
    assert result.exit_code == 1
    assert "READONLY" in result.stdout


def test_sentinels_that_are_away_are_a_fault(server: Server) -> None:
    result = receiver("check", "--online", REDIS_URL="redis+sentinel://:pw@127.0.0.1:1,127.0.0.1:2/main")
    assert result.exit_code == 1
    assert "none of 2 sentinels knows the master of 'main'" in result.stdout
