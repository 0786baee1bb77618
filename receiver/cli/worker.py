"""`receiver worker`: posts, pages and escalates what is due; needs a Redis."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Protocol

import click

from receiver.cli.options import Options, find_supervisor, require_redis, running_options
from receiver.config.model import Routing
from receiver.errors import ConfigError
from receiver.logs import log_problems, setup_logs
from receiver.process import Signals, is_orphan
from receiver.web.environment import check_metrics_dir

logger = logging.getLogger(__name__)

# What is under way then is left to its lease: another worker finds it after 3 s.
STOP_TIMEOUT_S = 8.0
CHECK_EVERY_S = 0.5


class RunnableWorker(Protocol):
    """What `wiring.build_worker` gives."""

    def run(self) -> None:
        """Work until `stop()` is called, from another thread."""
        ...

    def stop(self) -> None: ...

    def reload(self, routing: Routing) -> None: ...

    def record_refused_config(self, error: ConfigError) -> None:
        """Go on with the configuration in force, and have it said that another one was refused."""
        ...


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
    # The libraries behind it take their time to load, and a fault should be told at once.
    from receiver.wiring.worker import build_worker

    def load() -> Routing:
        options.load_settings()  # with one of its faults the web side refuses, and both go together
        return options.load_routing()

    run_worker(build_worker(settings, routing), signals, load, find_supervisor())


def run_worker(
    built: RunnableWorker, signals: Signals, load: Callable[[], Routing], parent: int | None
) -> None:
    """Run *built* in a thread and obey *signals* until it has ended; leaves by SystemExit 1 if it crashed."""
    crashed = threading.Event()
    thread = threading.Thread(target=_run, args=(built, crashed), name="worker")
    thread.start()
    while thread.is_alive() and not signals.is_ending:
        if signals.wait_for_signal(CHECK_EVERY_S) == signal.SIGHUP:
            _reload(built, load)
        if parent is not None and is_orphan(parent):  # Linux would have ended us, macOS doesn't
            os._exit(1)
    built.stop()
    thread.join(STOP_TIMEOUT_S)
    if thread.is_alive():
        logger.warning("worker left deliveries to their leases")
        os._exit(0)
    if crashed.is_set():
        raise SystemExit(1)
    logger.info("worker ended")


def _run(built: RunnableWorker, crashed: threading.Event) -> None:
    try:
        built.run()
    except Exception:
        crashed.set()
        logger.exception("worker crashed")


def _reload(built: RunnableWorker, load: Callable[[], Routing]) -> None:
    try:
        routing = load()
    except ConfigError as error:
        log_problems(error)
        built.record_refused_config(error)
        return
    built.reload(routing)
    logger.info("configuration reloaded")
