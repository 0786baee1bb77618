"""What Redis' faults mean, and what to do about each: one line for people.

The words are Redis' own, see `src/server.c` and https://redis.io/docs/latest/operate/oss_and_stack/management/.
"""

from __future__ import annotations

from redis import exceptions


class MasterDemoted(exceptions.ConnectionError):
    """Whom we asked to write takes no writes any more: the line leads to a former master."""


class PoolExhausted(exceptions.RedisError):
    """All lines that this process may have were in use for as long as one is waited for."""


# The word with which Redis' answer begins, where redis-py has no class for it.
_BY_WORD = {
    "MISCONF": "it can't save to its disk and refuses writes (MISCONF): see its log and the disk's room",
    "NOREPLICAS": "too few of its replicas are in reach to take writes (NOREPLICAS): see the replicas",
    "BUSY": "a script holds it up (BUSY): see what else uses this Redis",
}
_IS_CLUSTER = "it is a Redis Cluster (MOVED, CROSSSLOT): use redis+cluster:// in REDIS_URL"
# Some answers have no word of their own.
_BY_PHRASE = {
    "cluster support disabled": "it is no Redis Cluster: use redis:// in REDIS_URL",
    "max number of clients": "it takes no more lines: raise its maxclients, or lower REDIS_MAX_CONNECTIONS",
}
# The first that fits: a class may be a kind of one further down.
_BY_CLASS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (
        (exceptions.ReadOnlyError, MasterDemoted),
        "it is a replica and takes no writes (READONLY): after a failover wait",
    ),
    (exceptions.OutOfMemoryError, "its memory is full (OOM): raise maxmemory, or shorten `history`"),
    (exceptions.BusyLoadingError, "it is still loading its file (LOADING): wait"),
    (exceptions.NoPermissionError, "its ACL forbids this to our user (NOPERM): see docs/redis.md"),
    (exceptions.AuthenticationError, "it refuses the user or password of REDIS_URL (NOAUTH, WRONGPASS)"),
    (exceptions.TryAgainError, "a part of the cluster is being moved (TRYAGAIN): wait"),
    (exceptions.MasterDownError, "this replica has lost its master (MASTERDOWN): wait for the failover"),
    (exceptions.ClusterDownError, "a part of the cluster is down (CLUSTERDOWN): see its `CLUSTER INFO`"),
    (exceptions.ClusterCrossSlotError, _IS_CLUSTER),
    (exceptions.AskError, _IS_CLUSTER),
    (
        PoolExhausted,
        "all lines of this process to it are in use: see its load, or raise REDIS_MAX_CONNECTIONS",
    ),
    (exceptions.TimeoutError, "it does not answer in time: see its load and the network"),
    ((exceptions.ConnectionError, OSError), "it can't be reached: see whether it runs, and the network"),
)
_MAX_DETAIL = 300


def describe_error(error: BaseException) -> str:
    """Return what is the matter with Redis in one line without addresses or secrets."""
    message = _strip_command(error)
    by_text = [sentence for phrase, sentence in _BY_PHRASE.items() if phrase in message]
    by_class = [sentence for kind, sentence in _BY_CLASS if isinstance(error, kind)]
    found = (_BY_WORD.get(message.partition(" ")[0]), *by_text, *by_class)
    return next((sentence for sentence in found if sentence), "it refuses what we ask: see the log")


def quote_error(error: BaseException) -> str:
    """Return what Redis said, in one line of bounded length, for logs."""
    message = " ".join(_strip_command(error).split())[:_MAX_DETAIL]
    return f"{type(error).__name__}: {message}"


def _strip_command(error: BaseException) -> str:
    """Return Redis' own words, without the command that redis-py puts before them in a batch: it may
    hold what strangers wrote.
    """
    return str(error).rpartition("of pipeline caused error: ")[2]
