"""ConfirmationResult the master through a real sentinel; failovers are tested in tests/e2e/test_redis_moves.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from receiver.errors import StoreError
from receiver.storage.address import parse_store_url
from receiver.storage.connection import Sentinels, connect, store_errors
from tests.redis_servers import MASTER_NAME, SENTINEL, Server, needs_redis
from tests.support.ports import free_port

pytestmark = needs_redis


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    master = Server(tmp_path_factory.mktemp("master")).start()
    yield master
    master.kill()


@pytest.fixture(scope="module")
def sentinel(tmp_path_factory: pytest.TempPathFactory, master: Server) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("sentinel")
    sentinel = Server(folder, program=SENTINEL)
    (folder / "sentinel.conf").write_text(
        f"port {sentinel.port}\nbind 127.0.0.1\ndir {folder}\n"
        f"sentinel monitor {MASTER_NAME} 127.0.0.1 {master.port} 1\n"
        "user asker on >s3cret -@all +auth +sentinel|get-master-addr-by-name\n"
    )
    sentinel.start()
    yield sentinel
    sentinel.kill()


def test_the_master_is_found_by_its_name(sentinel: Server) -> None:
    assert connect(f"redis+sentinel://{sentinel.node}/{MASTER_NAME}").ping()


def test_an_unavailable_sentinel_is_skipped(sentinel: Server) -> None:
    unknown = f"127.0.0.1:{free_port()}"
    assert connect(f"redis+sentinel://{unknown},{sentinel.node}/{MASTER_NAME}").ping()


def test_the_sentinels_have_a_login_of_their_own(sentinel: Server) -> None:
    login = "sentinel_username=asker&sentinel_password=s3cret"
    assert connect(f"redis+sentinel://{sentinel.node}/{MASTER_NAME}/3?{login}").set("rcv:x", "1", ex=9)
    with pytest.raises(StoreError) as caught, store_errors():
        connect(f"redis+sentinel://{sentinel.node}/{MASTER_NAME}?{login}wrong").ping()
    assert "s3cret" not in str(caught.value)


def test_a_service_unknown_to_the_sentinels_is_reported(sentinel: Server) -> None:
    with pytest.raises(StoreError, match="none of 1 sentinels knows the master of 'other'"), store_errors():
        connect(f"redis+sentinel://{sentinel.node}/other").ping()


def test_the_sentinel_that_answered_is_asked_first_the_next_time(sentinel: Server, master: Server) -> None:
    away = f"127.0.0.1:{free_port()}"
    sentinels = Sentinels(parse_store_url(f"redis+sentinel://{away},{sentinel.node}/{MASTER_NAME}"))
    first_asked = [sentinels.sentinels[0]]
    for _ in range(2):
        assert sentinels.discover_master(MASTER_NAME) == ("127.0.0.1", master.port)
        first_asked.append(sentinels.sentinels[0])
    ports = [one.connection_pool.connection_kwargs["port"] for one in first_asked]
    assert ports == [int(away.rpartition(":")[2]), sentinel.port, sentinel.port]
