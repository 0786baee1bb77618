"""Faults of Redis while the receiver runs as processes on it: 503 in time, and recovery without a restart."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.bodies import a_body
from tests.e2e.deployment import Deployment
from tests.e2e.redis_traffic import has_paged_once, post, post_until_accepted
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.redis_servers import Server, needs_redis, wait_until
from tests.slow_connection import SlowRelay

pytestmark = [
    needs_redis,
    pytest.mark.skipif(sys.platform != "linux", reason="kills as Linux does"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(
        tmp_path_factory.mktemp("redis"),
        *("--appendonly", "yes", "--repl-diskless-sync-delay", "0"),
        # Loading its file takes Redis some time, in which it responds with LOADING.
        *("--loading-process-events-interval-bytes", "1024"),
    ).start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[Deployment]:
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        deployment = Deployment(
            tmp_path_factory.mktemp("outside"), slack, pagerduty, workers=2, REDIS_URL=server.url
        )
        yield deployment
        deployment.kill_everything()


@dataclass(frozen=True)
class Fault:
    """A fault of Redis, how it ends, and what `/readyz` shows meanwhile."""

    begin: Callable[[Server], object]
    end: Callable[[Server], object]
    readiness_error: str


def kill_and_load(server: Server) -> None:
    """Restart Redis with a large file to load: 90 keys of 0.1 s each."""
    with server.build_client() as client:
        for n in range(90):
            client.set(f"big:{n}", "x" * 100, ex=300)
        client.bgrewriteaof()
        wait_until(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
    server.kill()
    server.options += ["--key-load-delay", "100000"]
    server.start(is_awaited=False)
    time.sleep(0.5)


def break_saving(server: Server) -> None:
    """Make its snapshot fail: a folder has the name of the file."""
    (server.folder / "dump.rdb").unlink(missing_ok=True)
    (server.folder / "dump.rdb").mkdir()
    server.run_command("CONFIG", "SET", "save", "1000 1000")
    server.run_command("BGSAVE")
    with server.build_client() as client:
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")


def mend_saving(server: Server) -> None:
    (server.folder / "dump.rdb").rmdir()
    server.run_command("BGSAVE")


def unlock(server: Server) -> None:
    with server.build_client(password="other") as client:
        client.config_set("requirepass", "")


def lock(server: Server) -> None:
    server.run_command("CONFIG", "SET", "requirepass", "other")
    with server.build_client(password="other") as client:
        client.client_kill_filter(_type="normal", skipme=True)


FAULTS = {
    "stopped": Fault(Server.stop, Server.resume, "does not answer in time"),
    "killed": Fault(Server.kill, Server.start, "can't be reached"),
    "loading its file": Fault(kill_and_load, lambda _: None, "LOADING|does not answer"),
    "out of memory": Fault(
        lambda server: server.run_command("CONFIG", "SET", "maxmemory", "1mb"),
        lambda server: server.run_command("CONFIG", "SET", "maxmemory", "0"),
        "OOM",
    ),
    "a replica now": Fault(
        lambda server: server.run_command("REPLICAOF", "127.0.0.1", "1"),
        lambda server: server.run_command("REPLICAOF", "NO", "ONE"),
        "READONLY",
    ),
    "unable to save": Fault(break_saving, mend_saving, "MISCONF"),
    "locked": Fault(lock, unlock, "user or password"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_alertmanager_gets_a_503_in_time_and_the_receiver_recovers_without_a_restart(
    deployment: Deployment, server: Server, name: str
) -> None:
    fault = FAULTS[name]
    before, during = a_body(f"before {name}"), a_body(f"while {name}")
    post_until_accepted(deployment, before)
    deployment.wait_for(lambda: has_paged_once(deployment, before))
    fault.begin(server)
    for _ in range(3):
        started = time.monotonic()
        status, answer = post(deployment, during)
        assert (status, time.monotonic() - started < 5.0) == (503, True), answer
    started = time.monotonic()
    status, answer = deployment.ask("GET", "/readyz")
    assert (status, answer["error"]["type"]) == (503, "store"), answer
    assert re.search(fault.readiness_error, answer["error"]["message"])
    assert time.monotonic() - started < 5.0
    fault.end(server)
    post_until_accepted(deployment, during)
    deployment.wait_for(lambda: has_paged_once(deployment, during))
    wait_until(lambda: deployment.ask("GET", "/readyz")[0] == 200, deployment.describe)
    assert has_paged_once(deployment, before)
    assert deployment.receiver.events("child died") == []


def test_a_redis_that_may_evict_keys_is_not_ready(deployment: Deployment, server: Server) -> None:
    server.run_command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    readiness_error = {
        "type": "eviction",
        "message": "Redis may throw away what it was given (maxmemory-policy is "
        "allkeys-lru): set maxmemory-policy noeviction",
    }
    wait_until(
        lambda: deployment.ask("GET", "/readyz") == (503, {"error": readiness_error}), deployment.describe
    )
    server.run_command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    wait_until(lambda: deployment.ask("GET", "/readyz")[0] == 200)


def test_a_redis_that_is_slow_at_each_step_is_a_503_in_time(tmp_path: Path) -> None:
    """Login, read and write take 1.8 s each: each alone is in time, all together are not."""
    server = Server(tmp_path / "redis").start()
    server.run_command("ACL", "SETUSER", "slow", "on", ">pw", "~*", "&*", "+@all")
    line = SlowRelay(server.port)
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        url = f"redis://slow:pw@127.0.0.1:{line.port}/0"
        deployment = Deployment(tmp_path, slack, pagerduty, REDIS_URL=url)
        try:
            line.delay_s = 1.8
            for n in range(3):
                server.run_command(
                    "CLIENT", "KILL", "USER", "slow"
                )  # so that every connection starts with the login
                started = time.monotonic()
                status, answer = post(deployment, a_body(f"slow {n}"))
                assert time.monotonic() - started < 5.0
                assert status == 503, answer
            line.delay_s = 0.0
            for n in range(3):
                post_until_accepted(deployment, a_body(f"slow {n}"))
            deployment.wait_for(
                lambda: all(has_paged_once(deployment, a_body(f"slow {n}")) for n in range(3))
            )
        finally:
            deployment.kill_everything()
            line.close()
            server.kill()
