"""`receiver run`: the web process, the worker and an embedded Valkey under a supervisor."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click

from receiver.cli.serve import RUN_ID, Options, require_tokens, running_options
from receiver.config.model import Routing
from receiver.config.settings import Settings, list_auth_methods
from receiver.errors import StoreError
from receiver.logs import setup_logs
from receiver.model.routing import PAGERDUTY
from receiver.process import Signals, start_child
from receiver.standalone.supervisor import Child, Start, Supervisor
from receiver.standalone.valkey import DataDir, EmbeddedValkey
from receiver.web.server.listen import ListenAddress, bound_address, open_listener


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
    simulated = list(_find_simulated(routing))
    lines += [f"  Simulated      {line}" for line in simulated]
    if simulated:
        lines.append("                 What they would have sent is logged and shown on the page.")
    lines.append("  Try            receiver fire TestAlert --severity critical")
    lines.append("Ctrl-C ends it; what it knows is kept.")
    return "\n".join(lines)


def _find_simulated(routing: Routing) -> Iterator[str]:
    if not routing.slack_token:
        yield "Slack: no token (SLACK_BOT_TOKEN)"
    pagers = {responder.name: responder.find_target(PAGERDUTY) for responder in routing.responders.values()}
    missing = [name for name, pager in pagers.items() if pager is not None and not pager.secret]
    if missing:
        yield f"PagerDuty: no routing key for {', '.join(missing)}"


logger = logging.getLogger(__name__)
# Seconds after the stop request by which each must have ended; ten are promised for all together.
VALKEY_ENDS_BY_S = 9.4
WORKER_ENDS_BY_S = 8.2
WEB_ENDS_BY_S = 2.5


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
        valkey = (
            None
            if settings.redis_url
            else EmbeddedValkey(data_dir.path, max_memory_mib=settings.embedded_max_memory)
        )
        address = bound_address(listener, options.listen)
        banner = render_banner(address, data_dir.path, settings, routing)
        environ = _build_child_environ(data_dir, valkey)
        children = [
            Child(
                "worker", _build_starter("worker", options, environ), ends_by_s=WORKER_ENDS_BY_S, reloads=True
            ),
            Child(
                "web",
                _build_starter("web", options, environ, listener),
                ends_by_s=WEB_ENDS_BY_S,
                reloads=True,
            ),
        ]
        guard = _build_reload_guard(signals)
        _supervise(children, valkey, listener, signals, is_reload_wanted=guard, banner=banner)
    data_dir.close()


def _supervise(
    children: list[Child],
    valkey: EmbeddedValkey | None,
    listener: socket.socket,
    signals: Signals,
    *,
    is_reload_wanted: Callable[[], bool],
    banner: str,
) -> None:
    """Start everything, keep it running until a stop signal, and leave no process."""
    store = _build_store_child(valkey, signals) if valkey is not None else None
    supervisor = Supervisor([store, *children] if store else children, signals, is_reload_wanted)
    try:
        if store is not None and valkey is not None:
            valkey.wait_ready(store.start(), lambda: signals.is_ending)
        for child in children:
            child.start()
        click.echo(banner)
        supervisor.run()
    except StoreError:
        if not signals.is_ending:  # asked to end while Valkey was still loading: not an error
            raise
    finally:
        listener.close()  # the web process has its own; with both closed, connections are refused at once
        supervisor.stop()
        if valkey is not None:
            valkey.remove_socket()
    logger.info("shutdown complete")


def _build_store_child(valkey: EmbeddedValkey, signals: Signals) -> Child:
    return Child("valkey", lambda: valkey.start(lambda: signals.is_ending), ends_by_s=VALKEY_ENDS_BY_S)


def _build_child_environ(data_dir: DataDir, valkey: EmbeddedValkey | None) -> Mapping[str, str]:
    environ = {
        **os.environ,
        RUN_ID: secrets.token_hex(8),
        "PROMETHEUS_MULTIPROC_DIR": str(data_dir.empty_metrics_dir()),
    }
    if valkey is not None:
        environ["REDIS_URL"] = valkey.url
    return environ


def _build_starter(
    command: str, options: Options, environ: Mapping[str, str], listener: socket.socket | None = None
) -> Start:
    """Return a function that starts `receiver COMMAND` with our flags; *listener* is inherited by it.

    The inherited socket keeps our address while the web process restarts: requests wait instead of being
    refused.
    """
    # -P: a file in the current folder (a redis.py) must not shadow a module.
    command_line = [sys.executable, "-P", "-m", "receiver", command, "--config", str(options.config)]
    command_line += ["--listen", str(options.listen), "--data-dir", str(options.data_dir)]
    command_line += ["--workers", str(options.workers), *(["--insecure"] if options.insecure else [])]
    fds = [listener.fileno()] if listener is not None else []
    command_line += [f"--fd={fd}" for fd in fds]
    return lambda: start_child(command_line, environ, pass_fds=fds)


def _build_reload_guard(signals: Signals) -> Callable[[], bool]:
    """Return a check at SIGHUP whether to reload: False after our terminal was closed.

    Each child validates the configuration itself; a refusal appears in the status, on the page and in
    the metrics.
    """
    had_terminal = sys.stderr.isatty()

    def is_reload_wanted() -> bool:
        if had_terminal and not sys.stderr.isatty():
            signals.request_end()  # a closed terminal window sends SIGHUP, too
            return False
        return True

    return is_reload_wanted
