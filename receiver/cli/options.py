"""Options that several commands have."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

MAX_NAME = 200
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default="routing.yaml",
    show_default=True,
    help="Routes, escalations, responders.",
)
json_option = click.option("--json", "is_json", is_flag=True, help="The API's own JSON.")


def by_option(text: str) -> Callable[[Any], Any]:
    """Return the option `--by NAME` with *text* as its help."""
    return click.option(
        "--by",
        metavar="NAME",
        default=lambda: os.environ.get("USER") or "cli",
        show_default="$USER",
        help=text,
    )
