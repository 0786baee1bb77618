"""Runs the web side under gunicorn: a master process that holds the configuration, and its workers.

Only the gevent workers import the application. They patch the standard library first; modules that the master
had imported before the fork (redis, requests, ssl) would keep their blocking sockets. So this module must not
import any of them.
"""

from __future__ import annotations

import gc
import logging
import mmap
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.glogging import Logger
from msgspec import json

from receiver import clock as wall
from receiver.config_state import MAX_ERROR, ConfigState
from receiver.errors import ConfigError
from receiver.logs import log_problems
from receiver.process import end_with_parent, is_orphan, pause_gc
from receiver.web.process_environment import VARIABLE, provide_metrics_dir, remove_metrics_dir
from receiver.web.server.malformed import MAX_HEADER, MAX_HEADERS, MAX_LINE
from receiver.web.server.worker import WebWorker

if TYPE_CHECKING:
    from receiver.config.model import Routing
    from receiver.config.settings import Settings


logger = logging.getLogger(__name__)
# Alertmanager sends every few seconds under load and keeps its connections for minutes.
KEEPALIVE_S = 75
GRACEFUL_TIMEOUT_S = 5
# gunicorn replaces a worker that has not updated its heartbeat file for this long.
TIMEOUT_S = 30
WSGI = Callable[..., Any]


def serve(
    load: Callable[[], tuple[Settings, Routing]],
    listener: socket.socket,
    workers: int,
    *,
    parent: int | None = None,
    build: Callable[[Settings, Routing], WSGI] | None = None,
) -> None:
    """Serve until SIGTERM, then leave by SystemExit; SIGHUP calls *load* again.

    It raises ConfigError for a faulty configuration: at the start that ends the process, later the old
    configuration stays in force. The process ends together with its parent process *parent*. *build* makes
    the application inside each worker. Raises MetricsDirError where no folder for metrics can be written.
    """
    provide_metrics_dir(os.environ)
    WebArbiter(WebServer(load, listener, workers, build), parent).run()


class WebServer(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """The settings and the application, as gunicorn's BaseApplication asks for them."""

    def __init__(
        self,
        load: Callable[[], tuple[Settings, Routing]],
        listener: socket.socket,
        workers: int,
        build: Callable[[Settings, Routing], WSGI] | None,
    ) -> None:
        self._load = load
        self._fd = listener.detach()
        self._workers = workers
        self._loaded = load()
        self._config = SharedConfigState(ConfigState(wall.now()))
        self._at_exit: list[Callable[[], None]] = []  # filled in each worker
        self._build = build or partial(_build_app, config=self._config, at_exit=self._at_exit)
        super().__init__()

    def load_config(self) -> None:
        options = {
            "bind": f"fd://{self._fd}",
            "workers": self._workers,
            "worker_class": WebWorker,
            "keepalive": KEEPALIVE_S,
            "graceful_timeout": GRACEFUL_TIMEOUT_S,
            "timeout": TIMEOUT_S,
            "limit_request_line": MAX_LINE,
            "limit_request_fields": MAX_HEADERS,
            "limit_request_field_size": MAX_HEADER,
            # No proxy may set SCRIPT_NAME or PATH_INFO by a header; X-Forwarded-Proto is accepted from a
            # proxy on this host.
            "forwarder_headers": "",
            "sendfile": False,
            "preload_app": False,
            "control_socket_disable": True,
            "logger_class": GunicornLogger,
            "post_fork": _prepare_worker,
            "worker_exit": self._finish_worker,
            "child_exit": _remove_worker_metrics,
            "on_exit": lambda _arbiter: remove_metrics_dir(os.environ),  # in the master only
            "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else os.environ[VARIABLE],  # noqa: S108  # gunicorn makes a file of its own
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> WSGI:
        """Return the application; runs in a worker, after gevent has patched the standard library."""
        return self._build(*self._loaded)

    def _finish_worker(self, _arbiter: WebArbiter, _worker: WebWorker) -> None:
        """Save what a worker that ends in order still has in memory, after its last request."""
        for finish in self._at_exit:
            finish()

    def reload(self) -> None:
        """Do nothing: gunicorn's own settings come from command-line flags, which do not change."""

    def reload_routing(self) -> bool:
        """Load the configuration again; False where it is faulty, and the old one stays in force."""
        try:
            self._loaded = self._load()
        except ConfigError as error:
            log_problems(error)
            self._config.set_state(self._config.get_state().with_refusal(error.problems, wall.now()))
            return False
        self._config.set_state(ConfigState(wall.now()))
        logger.info("configuration reloaded")
        return True


class WebArbiter(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's master, which replaces its workers only after a valid configuration was loaded."""

    def __init__(self, app: WebServer, parent: int | None) -> None:
        self._parent = parent
        super().__init__(app)

    def reload(self) -> None:
        if self.app.reload_routing():
            super().reload()

    def murder_workers(self) -> None:
        """Also end this process if its parent is gone; gunicorn calls this every second.

        On Linux the kernel does that (see `process.start_child`), on macOS it does not.
        """
        super().murder_workers()
        if self._parent is not None and is_orphan(self._parent):
            raise HaltServer("the parent process is gone")


class GunicornLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Sends gunicorn's own events to our logs; requests are counted by metrics, not logged."""

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self.error_log.setLevel(logging.INFO)
        self.error_log.propagate = True

    @property
    def access_log_enabled(self) -> bool:
        return False


# Enough for the longest error at four bytes per character, plus the other fields.
_BUFFER_SIZE = 4 * MAX_ERROR + 1024
_decoder = json.Decoder(ConfigState)


class SharedConfigState:
    """The configuration state of the master, in memory that it shares with the web workers forked from it.

    Only the master loads the configuration, and it must not open a connection to Redis, so its workers
    publish the state. The memory holds two buffers and one byte that counts the writes; its parity selects
    the valid buffer. The byte changes last, and a reader that finds it changed after reading reads again. So
    a reader gets either the old state or the new one, never a mixture.
    """

    def __init__(self, state: ConfigState) -> None:
        self._memory = mmap.mmap(-1, 1 + 2 * _BUFFER_SIZE)
        self.set_state(state)

    def set_state(self, state: ConfigState) -> None:
        """Publish *state*. Only one process may call this."""
        times = (self._memory[0] + 1) % 256
        self._memory[_buffer_of(times)] = json.encode(state).ljust(_BUFFER_SIZE)
        self._memory[0] = times

    def get_state(self) -> ConfigState:
        """Return the state that was set last."""
        while True:
            times = self._memory[0]
            encoded = self._memory[_buffer_of(times)]
            if self._memory[0] == times:
                return _decoder.decode(encoded)


def _buffer_of(times: int) -> slice:
    begin = 1 + times % 2 * _BUFFER_SIZE
    return slice(begin, begin + _BUFFER_SIZE)


def _build_app(
    settings: Settings, routing: Routing, config: SharedConfigState, at_exit: list[Callable[[], None]]
) -> WSGI:
    with pause_gc():
        from receiver.app.services import build_services
        from receiver.engine.jobs import Background
        from receiver.web.app import create_app
        from receiver.web.auth.guard import RateLimits

    process = f"web on {socket.gethostname()} (process {os.getppid()})"
    services = build_services(settings, routing, process=process, find_config_state=config.get_state)
    app: WSGI = create_app(services, RateLimits())
    Background([services.config.publish_state]).start()
    savers = Background([services.rejected_webhooks.save_notices, services.last_webhooks.save_times])
    savers.start()
    at_exit.append(savers.finish)
    # Everything loaded so far lives as long as the process. Without freeze() each full garbage collection
    # would walk it again, which blocks all requests for 30 ms.
    gc.collect()
    gc.freeze()
    return app


def _prepare_worker(arbiter: WebArbiter, _worker: WebWorker) -> None:
    # Until gunicorn installs the worker's handlers about a second later, the handler inherited from the
    # master only queues signals: a worker that gets SIGTERM while it starts would not end, and the master
    # would wait for it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent(arbiter.pid)()


def _remove_worker_metrics(_arbiter: WebArbiter, worker: WebWorker) -> None:
    """Remove the `gauge_live*` files of a dead worker, so that these gauges count living processes only.

    Does the same as prometheus_client.multiprocess.mark_process_dead, which the master must not import.
    """
    for path in Path(os.environ[VARIABLE]).glob(f"gauge_live*_{worker.pid}.db"):
        path.unlink(missing_ok=True)
