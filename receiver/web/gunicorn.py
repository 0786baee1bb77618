"""Serves the web side with gunicorn: a master that holds the configuration, and its workers.

Only gevent's workers import the application: they patch the standard library first, and what had been
imported in the master before the fork (redis, requests, ssl) would keep its blocking sockets. So nothing
here may import them.
"""

from __future__ import annotations

import gc
import logging
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

from receiver import clock as wall
from receiver.config_state import ConfigState
from receiver.errors import ConfigError
from receiver.logs import log_problems
from receiver.process import end_with_parent, is_orphan
from receiver.web.environment import VARIABLE, provide_metrics_dir, remove_metrics_dir
from receiver.web.server.malformed import MAX_HEADER, MAX_HEADERS, MAX_LINE
from receiver.web.server.worker import WebWorker
from receiver.web.shared_state import SharedConfigState

if TYPE_CHECKING:
    from receiver.config.model import Routing
    from receiver.config.settings import Settings


logger = logging.getLogger(__name__)
# Alertmanager comes every few seconds at the busiest and keeps its connections for minutes.
KEEPALIVE_S = 75
GRACEFUL_TIMEOUT_S = 5
# A worker that can't even say that it lives for this long is replaced.
TIMEOUT_S = 30
WSGI = Callable[..., Any]


def serve(
    settings: Settings,
    load: Callable[[], Routing],
    listener: socket.socket,
    workers: int,
    *,
    parent: int | None = None,
    build: Callable[[Settings, Routing], WSGI] | None = None,
    load_settings: Callable[[], Settings] | None = None,
) -> None:
    """Serve until SIGTERM, then leave by SystemExit; SIGHUP calls *load* and *load_settings* again.

    Both raise ConfigError for a faulty configuration: at the start that ends us, later the old one
    is kept. Process *parent* is ours and we end with it; *build* makes the application inside each worker.
    Raises MetricsDirError where no folder can be written.
    """
    provide_metrics_dir(os.environ)
    server = WebServer(settings, load, listener, workers, build, load_settings=load_settings)
    WebArbiter(server, parent).run()


class WebServer(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """What gunicorn asks for its settings and its application."""

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Routing],
        listener: socket.socket,
        workers: int,
        build: Callable[[Settings, Routing], WSGI] | None,
        *,
        load_settings: Callable[[], Settings] | None = None,
        clock: Callable[[], float] = wall.now,
    ) -> None:
        self._settings = settings
        self._load_settings = load_settings or (lambda: settings)
        self._load = load
        self._fd = listener.detach()
        self._workers = workers
        self._routing = load()
        self._clock = clock
        self._config = SharedConfigState(ConfigState(clock()))
        self._build = build or partial(_build_app, config=self._config)
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
            # Nobody in front of us may say under which path we are; X-Forwarded-Proto of a proxy on this
            # machine is believed.
            "forwarder_headers": "",
            "sendfile": False,
            "preload_app": False,
            "control_socket_disable": True,
            "logger_class": GunicornLogger,
            "post_fork": _prepare_worker,
            "child_exit": _remove_worker_metrics,
            "on_exit": _remove_metrics,
            "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else os.environ[VARIABLE],  # noqa: S108  # gunicorn makes a file of its own
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> WSGI:
        """Return the application; runs in a worker, after gevent has patched the standard library."""
        return self._build(self._settings, self._routing)

    def reload(self) -> None:
        """Change none of gunicorn's own settings: the flags were given once."""

    def reload_routing(self) -> bool:
        """Read the configuration again; False when it is faulty, and the old one stays."""
        try:
            self._settings, self._routing = self._load_settings(), self._load()
        except ConfigError as error:
            log_problems(error)
            self._config.set_state(self._config.get_state().with_refusal(error.problems, self._clock()))
            return False
        self._config.set_state(ConfigState(self._clock()))
        logger.info("configuration reloaded")
        return True


class WebArbiter(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's master, which replaces its workers only for a configuration that is right."""

    def __init__(self, app: WebServer, parent: int | None) -> None:
        self._parent = parent
        super().__init__(app)

    def reload(self) -> None:
        if self.app.reload_routing():
            super().reload()

    def murder_workers(self) -> None:
        """Called every second. Linux ends us with our parent (see `process.start_child`), macOS doesn't."""
        super().murder_workers()
        if self._parent is not None and is_orphan(self._parent):
            raise HaltServer("the parent process is gone")


class GunicornLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Sends gunicorn's own events to our logs; requests are not logged, they are counted."""

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self.error_log.setLevel(logging.INFO)
        self.error_log.propagate = True

    @property
    def access_log_enabled(self) -> bool:
        return False


def _build_app(settings: Settings, routing: Routing, config: SharedConfigState) -> WSGI:
    from receiver.app.services import build_services
    from receiver.engine.jobs import Background
    from receiver.web.app import create_app
    from receiver.web.auth.guard import RateLimits

    process = f"web on {socket.gethostname()} (process {os.getppid()})"
    services = build_services(settings, routing, process=process, find_config_state=config.get_state)
    app: WSGI = create_app(services, settings, routing, RateLimits())
    Background([services.last_webhooks.save, services.config.save]).start()
    # What is loaded by now stays for good. Without this the garbage collector walks all of it again and
    # again, 30 ms each time, in which nobody is answered.
    gc.collect()
    gc.freeze()
    return app


def _prepare_worker(arbiter: WebArbiter, _worker: WebWorker) -> None:
    # Until gunicorn sets its own a second later, the master's handler is still in place here, which only
    # notes the signal: a worker told to end while it starts would not, and be waited for.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent(arbiter.pid)()


def _remove_worker_metrics(_arbiter: WebArbiter, worker: WebWorker) -> None:
    """Remove a dead worker's gauges of the living, so that they count only who lives.

    As prometheus_client.multiprocess.mark_process_dead, which the master must not import.
    """
    for path in Path(os.environ[VARIABLE]).glob(f"gauge_live*_{worker.pid}.db"):
        path.unlink(missing_ok=True)


def _remove_metrics(_arbiter: WebArbiter) -> None:
    """Remove the folder of numbers if `serve` made it; called in the master only."""
    remove_metrics_dir(os.environ)
