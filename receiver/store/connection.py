"""The line to Redis: how it is opened, how long it may be silent, and what its errors become."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LineCut
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from receiver.errors import StoreError

# redis' own hints leave open whether an answer comes now or is awaited, and bytes or text.
Client = Any

# Alertmanager is to hear 503 within 5 s; a read and a write that both time out must fit.
TIMEOUT_S = 2.0


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn what redis raises into a StoreError that says what Redis said."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise StoreError(f"Redis: {type(error).__name__}: {error}") from error


def connect(url: str, timeout_s: float = TIMEOUT_S) -> Client:
    """Return a client for *url*; it connects when first used.

    A line that was cut while idle is opened anew once, at once; nothing else is tried again
    here, since whoever asked knows better whether it still matters.
    """
    pool = LinePool.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 1, supported_errors=(LineCut,)),
        protocol=2,
    )
    return redis.Redis.from_pool(pool)


class LinePool(redis.ConnectionPool):
    """Lends lines as they are.

    redis' own pool first polls each line and then counts it for OpenTelemetry; under gevent that takes
    longer than the command. A line that was cut while idle shows when it is used, and the retry of
    `connect` opens it anew.
    """

    def get_connection(self, *_args: Any, **_options: Any) -> Any:
        """Return a free line, or a new one; it stands, as far as we know."""
        self._checkpid()
        # Let others go first: under gevent, whoever always finds its answers there would never give way.
        time.sleep(0)
        with self._lock:
            free = self._available_connections
            line = free.pop() if free else self.make_connection()
            self._in_use_connections.add(line)
        try:
            line.connect()
        except BaseException:
            self.release(line)
            raise
        return line

    def release(self, connection: Any) -> None:
        """Take a line back, unless it is from before a fork."""
        self._checkpid()
        with self._lock:
            if connection in self._in_use_connections:
                self._in_use_connections.remove(connection)
                self._available_connections.append(connection)


class Scripts:
    """The Lua scripts, sent by their digest, and whole when Redis doesn't know them (yet)."""

    def __init__(self, client: Client) -> None:
        self._client = client
        folder = resources.files("receiver.store") / "scripts"
        self._scripts = {
            name: client.register_script((folder / f"{name}.lua").read_text())
            for name in (
                *("commit", "claim", "release", "renew", "record", "errand"),
                *("storm_begin", "storm_join", "storm_keep"),
            )
        }

    def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run one script and return its answer."""
        return self._scripts[name](keys=list(keys), args=list(args))

    def run_all(self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """Run one script for each call, in one round trip."""
        if len(calls) == 1:
            return [self.run(name, *calls[0])]
        try:
            return self._pipeline(name, calls)
        except NoScriptError:
            self._client.script_load(self._scripts[name].script)
            return self._pipeline(name, calls)

    def _pipeline(self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        with self._client.pipeline(transaction=False) as pipe:
            for keys, args in calls:
                pipe.evalsha(self._scripts[name].sha, len(keys), *keys, *args)
            return list(pipe.execute())
