"""`receiver web`: answers HTTP; needs a Redis, and a `receiver worker` somewhere to act on what it takes."""

from __future__ import annotations

import os
import socket

import click

from receiver.cli.options import (
    Options,
    find_supervisor,
    require_redis,
    require_tokens,
    running_options,
)
from receiver.logs import setup_logs
from receiver.web.environment import correct_gunicorn_variables
from receiver.web.server.listen import open_listener


@click.command()
@running_options
@click.option("--fd", type=int, hidden=True, help="A listening socket that `run` hands down.")
def web(options: Options, fd: int | None) -> None:
    """Answer HTTP; several of these and of `worker` may share one Redis (REDIS_URL)."""
    setup_logs()
    settings = options.load_settings()
    require_redis(settings)
    require_tokens(options, settings)
    options.load_routing()  # a fault is told before anything else is tried
    correct_gunicorn_variables(os.environ)
    # It imports gunicorn, which reads those variables while it is imported.
    from receiver.web.gunicorn import serve

    listener = socket.socket(fileno=fd) if fd is not None else open_listener(options.listen)
    serve(
        settings,
        options.load_routing,
        listener,
        options.workers,
        parent=find_supervisor(),
        load_settings=options.load_settings,
    )
