"""The flags that `run`, `web` and `worker` share, so that one set of them fits all three."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from receiver.config.model import Routing
from receiver.config.routing import load_routing
from receiver.config.settings import Settings, load_settings
from receiver.logs import hide_secrets
from receiver.web.server.listen import ListenAddress, parse_address

logger = logging.getLogger(__name__)

# Set by `run` for its children: names this run, and says that their parent is a supervisor.
RUN_ID = "RECEIVER_RUN_ID"


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    config: Path
    listen: ListenAddress
    data_dir: Path
    workers: int
    insecure: bool

    def load_settings(self) -> Settings:
        """Read the environment; raises ConfigError. No log shows its secrets from now on."""
        settings = load_settings(os.environ)
        hide_secrets(settings)
        return settings

    def load_routing(self) -> Routing:
        """Read the configuration as it is now; raises ConfigError. No log shows its secrets from now on."""
        routing = load_routing(self.config, os.environ)
        hide_secrets(routing)
        return routing


_OPTIONS = (
    click.option(
        "--config",
        type=click.Path(path_type=Path),
        default="routing.yaml",
        show_default=True,
        help="Routes, escalations, responders.",
    ),
    click.option(
        "--listen", default="127.0.0.1:9080", show_default=True, help="HOST:PORT, or [::1]:PORT for IPv6."
    ),
    click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=".receiver",
        show_default=True,
        help="Where the embedded Valkey keeps its data.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(1, 64),
        default=2,
        show_default=True,
        help="Processes that answer HTTP.",
    ),
    click.option("--insecure", is_flag=True, help="Listen beyond this machine without asking for tokens."),
)


def running_options(command: Callable[..., None]) -> Callable[..., None]:
    """Hand *command* the flags of a running receiver as one `Options`; flags of its own follow by name."""

    def read(config: Path, listen: str, data_dir: Path, workers: int, insecure: bool, **others: Any) -> None:
        try:
            address = parse_address(listen)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--listen") from error
        command(Options(config, address, data_dir, workers, insecure), **others)

    wrapped: Callable[..., None] = functools.wraps(command)(read)  # keeps its own flags, too
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def require_tokens(options: Options, settings: Settings) -> None:
    """Raise click's error when others could reach us and nobody would ask them for a token.

    With --insecure that is only said, aloud.
    """
    if options.listen.is_loopback:
        return
    tokens = {
        "RECEIVER_WEBHOOK_TOKEN": settings.webhook_tokens,
        "RECEIVER_API_TOKEN": settings.api_tokens,
    }
    missing = [name for name, values in tokens.items() if not values]
    if missing and options.insecure:
        logger.warning(
            "open to all: anybody who reaches this address may send and acknowledge alerts",
            extra={"fields": {"listen": str(options.listen), "unset": missing}},
        )
    elif missing:
        raise click.ClickException(
            f"{options.listen} can be reached from other machines, and without tokens anybody there could "
            f"send and acknowledge alerts. Set {' and '.join(missing)} (any long random text, for example "
            "from `openssl rand -hex 24`), or listen on 127.0.0.1, or give --insecure."
        )


def require_redis(settings: Settings) -> None:
    """Raise click's error when REDIS_URL is unset."""
    if not settings.redis_url:
        raise click.ClickException(
            "REDIS_URL is not set: several processes meet in one Redis, like redis://localhost:6379/0. "
            "`receiver run` needs none."
        )


def find_supervisor() -> int | None:
    """Return the process of the `run` that started us, if one did."""
    return os.getppid() if os.environ.get(RUN_ID) else None
