"""What Redis' faults are told as."""

from __future__ import annotations

import pytest
from redis import exceptions

from receiver.errors import StoreError
from receiver.storage.connection import store_errors
from receiver.storage.pool import describe_error


@pytest.mark.parametrize(
    ("error", "said"),
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
        (
            exceptions.ResponseError("Command # 1 (SET a b) of pipeline caused error: MISCONF Redis"),
            "MISCONF",
        ),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."), "NOREPLICAS"),
        (exceptions.ConnectionError("max number of clients reached"), "maxclients"),
        (exceptions.TimeoutError("Timeout reading from socket"), "in time"),
        (ConnectionRefusedError("refused"), "can't be reached"),
        (exceptions.ResponseError("ERR whatever"), "see the log"),
    ],
)
def test_a_fault_says_in_one_line_what_to_do(error: Exception, said: str) -> None:
    assert said in describe_error(error)
    assert "\n" not in describe_error(error)


def test_what_strangers_wrote_does_not_get_into_the_fault() -> None:
    """redis-py puts the whole command before what Redis said."""
    with pytest.raises(StoreError) as caught, store_errors():
        raise exceptions.ResponseError("Command # 2 (HSET key s3cret) of pipeline caused error: OOM no\nroom")
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)
