"""The condition of Redis, checked on a real server whose settings are changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.errors import StoreError
from receiver.storage.connection import connect
from receiver.storage.server_check import RedisServerCheck, ServerHealth
from tests.redis_servers import Server, needs_redis
from tests.rig import Clock

pytestmark = needs_redis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, "--appendonly", "yes").start()
    yield server
    server.kill()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def condition(server: Server, clock: Clock) -> RedisServerCheck:
    return RedisServerCheck(connect(server.url), clock)


def test_a_redis_that_evicts_nothing_is_fine(condition: RedisServerCheck) -> None:
    condition.check_writable()
    assert condition.find_problem() == ""
    assert condition.list_server_health()[0].warnings == []


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
def test_a_redis_that_may_evict_keys_is_a_fault(
    server: Server, condition: RedisServerCheck, policy: str
) -> None:
    server.run_command("CONFIG", "SET", "maxmemory-policy", policy)
    assert policy in condition.find_problem()
    assert "set maxmemory-policy noeviction" in condition.find_problem()


def test_the_policy_is_read_again_after_ten_seconds(
    server: Server, condition: RedisServerCheck, clock: Clock
) -> None:
    assert condition.find_problem() == ""
    server.run_command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    clock.moment += 9
    assert condition.find_problem() == ""
    clock.moment += 2
    assert condition.find_problem() != ""


def test_the_policy_is_known_also_where_config_is_forbidden(server: Server, clock: Clock) -> None:
    server.run_command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    server.run_command("ACL", "SETUSER", "default", "-config")
    condition = RedisServerCheck(connect(server.url), clock)
    assert "allkeys-lru" in condition.find_problem()
    assert condition.list_server_health()[0].has_snapshots is None


def test_a_redis_that_forbids_info_is_assumed_to_be_fine(server: Server, clock: Clock) -> None:
    server.run_command("ACL", "SETUSER", "default", "-info")
    assert RedisServerCheck(connect(server.url), clock).list_server_health() == [ServerHealth()]


def test_a_redis_without_persistence_is_a_warning(server: Server, condition: RedisServerCheck) -> None:
    server.run_command("CONFIG", "SET", "appendonly", "no")
    assert "keeps nothing on disk" in condition.list_server_health()[0].warnings[0]
    server.run_command("CONFIG", "SET", "save", "3600 1")
    assert "append-only" in condition.list_server_health()[0].warnings[0]


def test_nearly_full_memory_is_a_warning(server: Server, condition: RedisServerCheck) -> None:
    used = condition.list_server_health()[0].used
    server.run_command("CONFIG", "SET", "maxmemory", used + used // 10)
    assert "of its maxmemory" in condition.list_server_health()[0].warnings[0]


def test_full_memory_is_found_by_a_write(server: Server, condition: RedisServerCheck) -> None:
    server.run_command("CONFIG", "SET", "maxmemory", "1mb")
    server.run_command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreError, match="OOM"):
        condition.check_writable()
