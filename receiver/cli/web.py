"""`receiver web`: answers HTTP; needs a Redis, and a `receiver worker` somewhere to act on what it takes."""

from __future__ import annotations

import socket

import click

from receiver.cli.options import (
    Options,
    find_supervisor,
    refuse_no_redis,
    refuse_open_door,
    running_options,
)
from receiver.logs import setup_logs
from receiver.web.address import open_listener
from receiver.web.serve import serve


@click.command()
@running_options
@click.option("--fd", type=int, hidden=True, help="A listening socket that `run` hands down.")
def web(options: Options, fd: int | None) -> None:
    """Answer HTTP; several of these and of `worker` may share one Redis (REDIS_URL)."""
    setup_logs()
    settings = options.load_settings()
    refuse_no_redis(settings)
    refuse_open_door(options, settings)
    options.load_routing()  # a fault is told before anything else is tried
    listener = socket.socket(fileno=fd) if fd is not None else open_listener(options.listen)
    serve(
        settings,
        options.load_routing,
        listener,
        options.workers,
        parent=find_supervisor(),
        load_settings=options.load_settings,
    )
