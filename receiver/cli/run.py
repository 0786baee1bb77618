"""`receiver run`: the web process, the worker and an embedded Valkey under a supervisor."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import click

from receiver.cli.serve import RUN_ID, Options, require_tokens, running_options
from receiver.config.model import Routing
from receiver.config.settings import Settings, list_auth_methods
from receiver.errors import StoreError
from receiver.logs import setup_logs
from receiver.process import Signals, start_child
from receiver.standalone.supervisor import Child, Supervisor
from receiver.standalone.valkey import DataDir, EmbeddedValkey
from receiver.web.server.listen import ListenAddress, bound_address, open_listener

logger = logging.getLogger(__name__)
# Seconds after the stop request by which each must have ended; ten are promised for all together.
VALKEY_ENDS_BY_S = 9.4
WORKER_ENDS_BY_S = 8.2
WEB_ENDS_BY_S = 2.5


def render_banner(address: ListenAddress, data_dir: Path, settings: Settings, routing: Routing) -> str:
    """Return the start message: addresses, data folder, and what is simulated."""
    kept = "in the Redis of REDIS_URL" if settings.redis_url else f"in {data_dir}"
    hook = f"url: '{settings.public_url or address.url}/webhooks/alertmanager'"
    if settings.webhook_tokens:
        hook += ", http_config: {authorization: {credentials: RECEIVER_WEBHOOK_TOKEN's value}}"
    lines = [
        "The receiver runs.",
        f"  Page           {address.url}/",
        f"  Alertmanager   webhook_configs: [{{{hook}}}]",
        f"  Data           {kept}",
    ]
    lines += [f"  Let in         {method}" for method in list_auth_methods(settings)]
    unpaged = routing.list_unpaged_responders()
    if not routing.slack_token:
        lines.append("  Simulated      Slack: no token (SLACK_BOT_TOKEN)")
    if unpaged:
        lines.append(f"  Simulated      PagerDuty: no routing key for {', '.join(unpaged)}")
    if unpaged or not routing.slack_token:
        lines.append("                 What they would have sent is logged and shown on the page.")
    lines += [
        "  Try            receiver fire TestAlert --severity critical",
        "Ctrl-C ends it; what it knows is kept.",
    ]
    return "\n".join(lines)


@click.command()
@running_options
def run(options: Options) -> None:
    """Run all of it here: web, worker and, unless REDIS_URL is set, an embedded Valkey."""
    os.umask(0o077)  # files that we and our children write are readable by our user only
    setup_logs()
    settings = options.load_settings()
    routing = options.load_routing()
    require_tokens(options, settings)
    signals = Signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
    data_dir = DataDir(options.data_dir)
    with open_listener(options.listen) as listener:
        memory = settings.embedded_max_memory
        valkey = None if settings.redis_url else EmbeddedValkey(data_dir.path, max_memory_mib=memory)
        address = bound_address(listener, options.listen)
        banner = render_banner(address, data_dir.path, settings, routing)
        environ = {**os.environ, RUN_ID: secrets.token_hex(8)}
        environ["PROMETHEUS_MULTIPROC_DIR"] = str(data_dir.empty_metrics_dir())
        if valkey is not None:
            environ["REDIS_URL"] = valkey.url
        children = [
            _build_child("worker", options, environ, WORKER_ENDS_BY_S),
            _build_child("web", options, environ, WEB_ENDS_BY_S, [listener.fileno()]),
        ]
        _supervise_children(children, valkey, listener, signals, banner)
    data_dir.close()


def _supervise_children(
    children: list[Child],
    valkey: EmbeddedValkey | None,
    listener: socket.socket,
    signals: Signals,
    banner: str,
) -> None:
    """Start everything, keep it running until a stop signal, and leave no process."""
    stores = []
    if valkey is not None:
        start = partial(valkey.start, lambda: signals.is_ending)
        stores.append(Child("valkey", start, ends_by_s=VALKEY_ENDS_BY_S))
    supervisor = Supervisor([*stores, *children], signals, _build_reload_guard(signals))
    try:
        if valkey is not None:
            valkey.wait_ready(stores[0].start(), lambda: signals.is_ending)
        for child in children:
            child.start()
        click.echo(banner)
        supervisor.run_forever()
    except StoreError:
        if not signals.is_ending:  # asked to end while Valkey was still loading: not an error
            raise
    finally:
        listener.close()  # the web process has its own; with both closed, connections are refused at once
        supervisor.stop()
        if valkey is not None:
            valkey.remove_socket()
    logger.info("shutdown complete")


def _build_child(
    command: str, options: Options, environ: Mapping[str, str], ends_by_s: float, fds: Sequence[int] = ()
) -> Child:
    """Return the child `receiver COMMAND` with our flags; it inherits the listening sockets *fds*.

    An inherited socket keeps our address while the web process restarts: requests wait instead of being
    refused.
    """
    # -P: a file in the current folder (a redis.py) must not shadow a module.
    command_line = [sys.executable, "-P", "-m", "receiver", command, "--config", str(options.config)]
    command_line += ["--listen", str(options.listen), "--data-dir", str(options.data_dir)]
    command_line += ["--workers", str(options.workers), *(["--insecure"] if options.insecure else [])]
    command_line += [f"--fd={fd}" for fd in fds]
    start = partial(start_child, command_line, environ, pass_fds=fds)
    return Child(command, start, ends_by_s=ends_by_s, reloads=True)


def _build_reload_guard(signals: Signals) -> Callable[[], bool]:
    """Return a check at SIGHUP whether to reload: False after our terminal was closed."""
    had_terminal = sys.stderr.isatty()

    def is_reload_wanted() -> bool:
        if had_terminal and not sys.stderr.isatty():
            signals.request_end()  # a closed terminal window sends SIGHUP, too
            return False
        return True

    return is_reload_wanted
