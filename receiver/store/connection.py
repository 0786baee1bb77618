"""The line to Redis: how it is opened, how long it may be silent, and what its errors become."""

from __future__ import annotations

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
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 1, supported_errors=(LineCut,)),
        protocol=2,
    )


class Scripts:
    """The Lua scripts, sent by their digest, and whole when Redis doesn't know them (yet)."""

    def __init__(self, client: Client) -> None:
        self._client = client
        folder = resources.files("receiver.store") / "scripts"
        self._scripts = {
            name: client.register_script((folder / f"{name}.lua").read_text())
            for name in ("commit", "claim", "release", "renew", "record")
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
