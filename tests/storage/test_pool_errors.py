"""How errors of Redis are reported."""

from __future__ import annotations

import pytest
from redis import exceptions

from receiver.errors import StoreError
from receiver.storage.connection import Client, store_errors
from receiver.storage.pool import describe_error
from tests.valkey import redis_client, valkey_url

__all__ = ["redis_client", "valkey_url"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (exceptions.ReadOnlyError("You can't write against a read only replica."), "READONLY"),
        (exceptions.OutOfMemoryError("command not allowed"), "OOM"),
        (exceptions.BusyLoadingError("Redis is loading"), "LOADING"),
        (exceptions.AuthenticationError("Authentication required."), "password of REDIS_URL"),
        (exceptions.NoPermissionError("this user has no permissions"), "NOPERM"),
        (exceptions.TryAgainError(), "TRYAGAIN"),
        (exceptions.ClusterDownError("The cluster is down"), "CLUSTERDOWN"),
        (exceptions.MasterDownError("Link with MASTER is down"), "MASTERDOWN"),
        (exceptions.MovedError("1 host:1"), "redis+cluster://"),
        (exceptions.ResponseError("MISCONF Redis is configured to save"), "MISCONF"),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."), "NOREPLICAS"),
        (exceptions.ConnectionError("max number of clients reached"), "maxclients"),
        (exceptions.TimeoutError("Timeout reading from socket"), "in time"),
        (ConnectionRefusedError("refused"), "can't be reached"),
        (exceptions.ResponseError("ERR whatever"), "see the log"),
    ],
)
def test_an_error_names_the_remedy_in_one_line(error: Exception, message: str) -> None:
    assert message in describe_error(error)
    assert "\n" not in describe_error(error)


def test_an_error_of_a_pipeline_does_not_contain_the_command(redis_client: Client) -> None:
    """redis-py's own pipeline puts the whole command, with data from webhooks, before Redis' message; ours does
    not.
    """
    redis_client.set("key", "text", ex=60)
    pipe = redis_client.pipeline()
    pipe.hset("key", "field", "s3cret")
    with pytest.raises(StoreError) as caught, store_errors():
        pipe.execute()
    assert "WRONGTYPE" in str(caught.value)
    assert "s3cret" not in str(caught.value)
