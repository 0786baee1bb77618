"""The client of one server: each command gets its own reply, whatever error ended the one before."""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from redis.exceptions import InvalidResponse

from receiver.storage.client import ServerClient
from receiver.storage.connection import Client, connect
from receiver.storage.pool import ConnectionPool

# What may end the reading of replies: an error of the parser, an unexpected one, and what gevent or a signal throws
# into the code that runs.
ERRORS = [InvalidResponse, ValueError, KeyboardInterrupt, SystemExit, gevent.GreenletExit, gevent.Timeout]


@pytest.fixture
def client(valkey_url: str, redis_client: Client) -> Client:
    redis_client.set("key", "value", ex=60)
    return connect(valkey_url, max_connections=1)


def fail_on_first_reply(client: Client, error: type[BaseException]) -> None:
    def parse(reply: Any, **_: Any) -> Any:
        client.set_response_callback("GET", lambda reply, **_: reply)
        raise error

    client.set_response_callback("GET", parse)


@pytest.mark.parametrize("error", ERRORS)
def test_no_command_gets_the_reply_of_a_pipeline_that_was_interrupted(
    client: Client, error: type[BaseException]
) -> None:
    fail_on_first_reply(client, error)
    pipe = client.pipeline()
    pipe.get("key")
    pipe.echo("of the pipeline")
    with pytest.raises(error):
        pipe.execute()
    assert client.echo("mine") == b"mine"
    assert client.get("key") == b"value"


@pytest.mark.parametrize("error", ERRORS)
def test_no_command_gets_the_reply_of_a_login_that_was_interrupted(
    valkey_url: str, error: type[BaseException]
) -> None:
    errors = [error]

    def log_in(connection: Any) -> None:
        connection.on_connect()
        connection.send_command("SELECT", 0)
        if errors:
            raise errors.pop()
        assert connection.read_response() == b"OK"

    options = {**connect(valkey_url).connection_pool.connection_kwargs, "redis_connect_func": log_in}
    kind = connect(valkey_url).connection_pool.connection_class
    client = ServerClient.from_pool(ConnectionPool(connection_class=kind, max_connections=1, **options))
    with pytest.raises(error):
        client.ping()
    assert client.echo("mine") == b"mine"


def test_an_error_reply_keeps_the_connection(client: Client) -> None:
    before = client.client_id()
    for _ in range(3):
        with pytest.raises(Exception, match="WRONGTYPE"):
            client.hget("key", "field")
    assert client.client_id() == before
