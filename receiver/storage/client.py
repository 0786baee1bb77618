"""The client of one Redis server, and the pipeline of this client and that of a cluster.

It is redis-py's client without the telemetry of that, which takes longer than a command itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import hiredis
import redis
from redis.commands import CoreCommands
from redis.exceptions import ReadOnlyError, ResponseError

# The arguments of a command, and the options with which its reply is parsed.
Command = tuple[tuple[Any, ...], dict[str, Any]]


class PipelinedCommands:
    """Single commands and pipelines, both run by `run_commands`."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command and return its reply."""
        return self.run_commands([(args, options)])[0]

    def pipeline(self, transaction: bool = False) -> Pipeline:
        """Return a pipeline. Raises ValueError for a transaction: scripts do what must be atomic."""
        if transaction:
            raise ValueError("there are no transactions")
        return Pipeline(self.run_commands)

    def run_commands(self, commands: Sequence[Command], raise_on_error: bool = True) -> list[Any]:
        """Return the replies to *commands* in order. With *raise_on_error* the first error is raised, else
        errors stand in place of the replies.
        """
        raise NotImplementedError


class ServerClient(PipelinedCommands, redis.Redis):  # type: ignore[misc]
    """A client of one server. Threads may share it."""

    def run_commands(self, commands: Sequence[Command], raise_on_error: bool = True) -> list[Any]:
        """Run *commands* in one round trip. READONLY is always raised, so that the connection's retry
        connects to the present master.
        """
        connection: Any = self.connection_pool.get_connection()
        parse: Callable[..., Any] = self.parse_response

        def send() -> list[Any]:
            packed = b"".join([_pack_command(args) for args, _ in commands])
            connection.send_packed_command((packed,), check_health=False)
            replies: list[Any] = []
            for args, options in commands:
                try:
                    # Of most scripts and reads the reply is taken as it is; redis-py looks for options first.
                    is_plain = args[0] == "EVALSHA"
                    replies.append(
                        connection.read_response() if is_plain else parse(connection, args[0], **options)
                    )
                except ResponseError as error:
                    replies.append(error)
            for reply in replies:
                if isinstance(reply, ReadOnlyError):
                    raise reply
            return replies

        try:
            replies: list[Any] = connection.retry.call_with_retry(send, lambda _: connection.disconnect())
        except BaseException:  # also gevent's: the next command would read the replies that are left
            connection.disconnect()
            raise
        finally:
            self.connection_pool.release(connection)
        if raise_on_error:
            for reply in replies:
                if isinstance(reply, ResponseError):
                    raise reply
        return replies


def _pack_command(args: tuple[Any, ...]) -> bytes:
    name = args[0]
    packed: bytes = hiredis.pack_command((*name.split(), *args[1:]) if " " in name else args)
    return packed


class Pipeline(CoreCommands):
    """Collects commands for one round trip to each server; *run_commands* runs them."""

    _event_dispatcher: Any = None  # required by redis-py's type hints

    def __init__(self, run_commands: Callable[[Sequence[Command], bool], list[Any]]) -> None:
        self._run_commands = run_commands
        self._commands: list[Command] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._commands = []

    def execute_command(self, *args: Any, **options: Any) -> Self:
        self._commands.append((args, options))
        return self

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Return the replies as `run_commands` does."""
        commands, self._commands = self._commands, []
        return self._run_commands(commands, raise_on_error) if commands else []
