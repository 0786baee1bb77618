"""The connection pool of one process: its size, its waiters, and its broken and idle connections."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from receiver.errors import StoreError
from receiver.storage.connection import Client, connect, store_errors
from receiver.storage.pool import MAX_IDLE, ConnectionPool, build_pool_options
from tests.redis_servers import Server, needs_redis, wait_until

pytestmark = needs_redis


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


def count_connections(server: Server) -> int:
    """Return the number of connections, without the one that asks."""
    with server.build_client() as client:
        return len(client.client_list()) - 1


def run_in_threads(client: Client, count: int) -> list[object]:
    """Run a command of about 50 ms in *count* threads at once; return results and errors."""
    start = threading.Barrier(count)

    def ask(_: int) -> object:
        start.wait(10)
        try:
            with store_errors():
                return client.blpop("nothing", 0.02)
        except StoreError as error:
            return error

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(ask, range(count)))


def test_a_process_opens_at_most_its_allowed_connections_and_every_command_gets_its_answer(
    server: Server,
) -> None:
    client = connect(server.url, timeout_s=10.0, max_connections=5)
    most = []
    with ThreadPoolExecutor(1) as watcher:
        done = threading.Event()

        def watch() -> None:
            while not done.is_set():
                most.append(count_connections(server))

        watching = watcher.submit(watch)
        assert run_in_threads(client, 60) == [None] * 60
        done.set()
        watching.result()
    assert max(most) == 5
    client.close()


def test_if_redis_refuses_further_connections_the_open_ones_are_used(tmp_path: Path) -> None:
    """Before, failed connections were handed out again and again, before the working ones."""
    server = Server(tmp_path, "--maxclients", "10").start()
    try:
        client = connect(server.url, max_connections=100)
        answers = run_in_threads(client, 60)
        assert any(isinstance(answer, StoreError) for answer in answers)
        assert all("maxclients" in str(answer) for answer in answers if answer is not None)
        for _ in range(50):
            assert client.ping()
        client.close()
    finally:
        server.kill()


def test_a_process_without_a_connection_gets_the_first_that_another_process_closes(tmp_path: Path) -> None:
    """The other process keeps a few idle connections and closes the rest, so the wait is short."""
    server = Server(tmp_path, "--maxclients", "10").start()
    try:
        other = connect(server.url, timeout_s=2.0, max_connections=10)
        run_in_threads(other, 10)
        late = connect(server.url, timeout_s=2.0, max_connections=10)
        started = time.monotonic()
        assert late.ping()
        assert time.monotonic() - started < 1.5
        other.close()
        late.close()
    finally:
        server.kill()


def test_a_process_without_a_connection_gets_an_error_in_time_while_others_use_all(tmp_path: Path) -> None:
    server = Server(tmp_path, "--maxclients", "10").start()
    try:
        others = [redis.Redis(port=server.port) for _ in range(10)]
        for other in others:
            other.ping()
        late = connect(server.url, timeout_s=0.5, max_connections=10)
        started = time.monotonic()
        with pytest.raises(StoreError, match="maxclients"), store_errors():
            late.ping()
        assert 0.3 < time.monotonic() - started < 1.5
        for other in others:
            other.close()
    finally:
        server.kill()


def test_a_connection_that_did_not_open_is_not_used_again_before_an_idle_one(server: Server) -> None:
    client = connect(server.url, max_connections=3)
    pool = client.connection_pool
    good, other = pool.get_connection(), pool.get_connection()
    pool.release(good)
    other.disconnect()
    pool.release(other)
    assert pool.get_connection() is good
    pool.release(good)
    client.close()


def test_connections_that_fail_to_open_do_not_fill_the_pool(tmp_path: Path) -> None:
    server = Server(tmp_path).start()
    client = connect(server.url, timeout_s=0.3, max_connections=2)
    server.kill()
    for _ in range(10):
        with pytest.raises(StoreError, match="can't be reached"), store_errors():
            client.ping()
    server.start()
    for _ in range(10):
        assert client.ping()
    client.close()
    server.kill()


def test_a_thread_that_finds_no_free_connection_in_time_gets_an_error(server: Server) -> None:
    client = connect(server.url, timeout_s=0.3, max_connections=2)
    leased = [client.connection_pool.get_connection() for _ in range(2)]
    started = time.monotonic()
    with pytest.raises(StoreError, match="REDIS_MAX_CONNECTIONS"), store_errors():
        client.ping()
    assert 0.25 < time.monotonic() - started < 2.0
    for connection in leased:
        client.connection_pool.release(connection)
    assert client.ping()
    client.close()


def test_a_waiting_thread_gets_the_first_free_connection(server: Server) -> None:
    client = connect(server.url, timeout_s=5.0, max_connections=2)
    leased = [client.connection_pool.get_connection() for _ in range(2)]
    with ThreadPoolExecutor(1) as threads:
        started = time.monotonic()
        answer = threads.submit(client.ping)
        time.sleep(0.2)
        client.connection_pool.release(leased[0])
        assert answer.result()
        assert time.monotonic() - started < 2.0
    client.connection_pool.release(leased[1])
    client.close()


def test_idle_connections_above_a_few_are_closed(server: Server) -> None:
    options = build_pool_options(10.0, 20)
    pool = ConnectionPool(host="127.0.0.1", port=server.port, idle_s=0.3, **options)
    client = redis.Redis.from_pool(pool)
    assert run_in_threads(client, 20) == [None] * 20
    assert count_connections(server) > MAX_IDLE
    wait_until(lambda: count_connections(server) == MAX_IDLE, lambda: str(count_connections(server)))
    assert run_in_threads(client, 60) == [None] * 60
    client.close()


def test_a_process_that_can_start_no_thread_still_gets_its_answers_and_closes_idle_connections_later(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = ConnectionPool(host="127.0.0.1", port=server.port, idle_s=0.1, **build_pool_options(10.0, 20))
    client = redis.Redis.from_pool(pool)

    def start(_: threading.Timer) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Timer, "start", start)
        assert run_in_threads(client, 20) == [None] * 20
    assert count_connections(server) > MAX_IDLE
    assert client.ping()
    wait_until(lambda: count_connections(server) == MAX_IDLE, lambda: str(count_connections(server)))
    client.close()


def test_connections_that_are_used_repeatedly_stay_open(server: Server) -> None:
    options = build_pool_options(10.0, 12)
    pool = ConnectionPool(host="127.0.0.1", port=server.port, idle_s=1.0, **options)
    client = redis.Redis.from_pool(pool)
    assert run_in_threads(client, 12) == [None] * 12
    with server.build_client() as admin:
        before = admin.info("stats")["total_connections_received"]
        for _ in range(15):
            assert run_in_threads(client, 12) == [None] * 12
            time.sleep(0.1)
        # Some may be closed on a slow machine.
        assert admin.info("stats")["total_connections_received"] - before <= 3
    client.close()


UNDER_GEVENT = """
from gevent import monkey
monkey.patch_all()
import sys, threading, time
import redis
from receiver.storage.pool import ConnectionPool, build_pool_options

port = int(sys.argv[1])
pool = ConnectionPool(host="127.0.0.1", port=port, idle_s=0.3, **build_pool_options(10.0, 8))
client, answers = redis.Redis.from_pool(pool), []

def ask():
    for _ in range(3):
        answers.append(client.ping())
        client.blpop("nothing", 0.01)

threads = [threading.Thread(target=ask) for _ in range(40)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(20)
most = len(client.client_list())
time.sleep(1.0)
print(len(answers), all(answers), most, len(client.client_list()))
"""


def test_the_pool_is_bounded_under_gevent_too(server: Server) -> None:
    """Under gevent, the queue inside the pool is gevent's own."""
    run = subprocess.run(
        [sys.executable, "-c", UNDER_GEVENT, str(server.port)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (run.stdout.split(), run.stderr) == (["120", "True", "8", str(MAX_IDLE)], "")


def test_the_address_may_set_another_pool_size(server: Server) -> None:
    client = connect(f"{server.url}?max_connections=3", timeout_s=10.0, max_connections=10)
    assert run_in_threads(client, 12) == [None] * 12
    assert count_connections(server) == 3
    client.close()


def test_many_threads_share_few_connections_and_every_thread_gets_one(server: Server) -> None:
    """A waiting thread is woken for each free connection, however often other threads are faster."""
    client = connect(server.url, timeout_s=5.0, max_connections=2)
    done: list[int] = []

    def ask(number: int) -> None:
        for _ in range(200):
            client.ping()
        done.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(done) == list(range(16))
