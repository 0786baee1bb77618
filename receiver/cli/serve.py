"""`receiver web` and `receiver worker`, and the flags that they share with `run`."""

from __future__ import annotations

import functools
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from receiver.cli.terminal import config_option
from receiver.config.model import Routing
from receiver.config.routing_loader import load_routing
from receiver.config.settings import Settings, load_settings
from receiver.errors import ConfigError
from receiver.logs import hide_secrets, log_problems, setup_logs
from receiver.process import Signals, is_orphan, pause_gc
from receiver.web.process_environment import check_metrics_dir, correct_gunicorn_variables
from receiver.web.server.listen import ListenAddress, open_listener, parse_address

if TYPE_CHECKING:
    from receiver.app.worker import ReceiverWorker

logger = logging.getLogger(__name__)
# Set by `run` for its children: the ID of this run; its presence means that a supervisor is the parent.
RUN_ID = "RECEIVER_RUN_ID"


@dataclass(frozen=True)
class Options:
    """The flags of the command line."""

    config: Path
    listen: ListenAddress
    data_dir: Path
    workers: int
    insecure: bool

    def load_settings(self) -> Settings:
        """Read the environment; raises ConfigError. From now on logs mask its secrets."""
        settings = load_settings(os.environ)
        hide_secrets(settings)
        return settings

    def load_routing(self) -> Routing:
        """Read the current configuration; raises ConfigError. From now on logs mask its secrets."""
        routing = load_routing(self.config, os.environ)
        hide_secrets(routing)
        return routing

    def load_config(self) -> tuple[Settings, Routing]:
        """Read both; raises ConfigError."""
        return self.load_settings(), self.load_routing()


_OPTIONS = (
    config_option,
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
    """Give *command* the flags of a running receiver as one `Options`; its own flags follow by name."""

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
    """Raise click's error (or, with --insecure, warn) if other machines can reach us without a token."""
    if options.listen.is_loopback:
        return
    tokens = {"RECEIVER_WEBHOOK_TOKEN": settings.webhook_tokens, "RECEIVER_API_TOKEN": settings.api_tokens}
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
    """Return the process ID of the `run` that started us, or None."""
    return os.getppid() if os.environ.get(RUN_ID) else None


@click.command()
@running_options
@click.option("--fd", type=int, hidden=True, help="A listening socket that `run` hands down.")
def web(options: Options, fd: int | None) -> None:
    """Answer HTTP; several of these and of `worker` may share one Redis (REDIS_URL)."""
    setup_logs()
    settings = options.load_settings()
    require_redis(settings)
    require_tokens(options, settings)
    options.load_routing()  # report a fault before anything else is tried
    correct_gunicorn_variables(os.environ)
    # This imports gunicorn, which reads those variables at import time.
    with pause_gc():
        from receiver.web.gunicorn import serve

    listener = socket.socket(fileno=fd) if fd is not None else open_listener(options.listen)
    serve(options.load_config, listener, options.workers, parent=find_supervisor())


# Work still in progress then is left to its lease: another worker claims it after 3 s.
STOP_TIMEOUT_S = 8.0
CHECK_EVERY_S = 0.5


@click.command()
@running_options
def worker(options: Options) -> None:
    """Post, page and escalate; several of these and of `web` may share one Redis (REDIS_URL).

    Takes the flags of `run`; only --config matters here.
    """
    setup_logs()
    signals = Signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    settings = options.load_settings()
    require_redis(settings)
    routing = options.load_routing()
    check_metrics_dir(os.environ)
    # Its libraries take long to import, and a fault should be reported at once.
    with pause_gc():
        from receiver.app.worker import ReceiverWorker

    run_worker(ReceiverWorker(settings, routing), signals, options.load_config, find_supervisor())


def run_worker(
    built: ReceiverWorker,
    signals: Signals,
    load: Callable[[], tuple[Settings, Routing]],
    parent: int | None,
) -> None:
    """Run *built* in a thread and handle *signals* until it ends; raises SystemExit(1) if it crashed."""
    crashed = threading.Event()

    def run_in_thread() -> None:
        try:
            built.run_until_stopped()
        except Exception:
            crashed.set()
            logger.exception("worker crashed")

    thread = threading.Thread(target=run_in_thread, name="worker")
    thread.start()
    while thread.is_alive() and not signals.is_ending:
        if signals.wait_for_signal(CHECK_EVERY_S) == signal.SIGHUP:
            _reload_worker(built, load)
        if parent is not None and is_orphan(parent):  # Linux ends us with the parent, macOS doesn't
            os._exit(1)
    built.stop()
    thread.join(STOP_TIMEOUT_S)
    if thread.is_alive():
        logger.warning("shutdown: leases left to expire")
        os._exit(0)
    if crashed.is_set():
        raise SystemExit(1)
    logger.info("worker ended")


def _reload_worker(built: ReceiverWorker, load: Callable[[], tuple[Settings, Routing]]) -> None:
    try:
        # With a fault in the settings the web process refuses both, and the worker must refuse them with it.
        _, routing = load()
    except ConfigError as error:
        log_problems(error)
        built.record_refused_config(error)
        return
    built.reload_routing(routing)
    logger.info("configuration reloaded")
