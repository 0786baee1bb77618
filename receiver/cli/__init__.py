"""The command line: one module for each group of commands, imported only when one of its commands is used."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import version
from typing import Any

import click

from receiver.errors import ConfigError, ReceiverError
from receiver.process import pause_gc

# Command → module, in the order of `receiver --help`.
COMMANDS: dict[str, str] = {
    "run": "run",
    "web": "serve",
    "worker": "serve",
    "check": "check",
    "schema": "check",
    "route": "route",
    "runbook": "runbook",
    "fire": "fire",
    "incidents": "incidents",
    "show": "incidents",
    "ack": "incident_actions",
    "unack": "incident_actions",
    "resolve": "incident_actions",
    "snooze": "incident_actions",
    "silence": "incident_actions",
    "maintenance": "maintenance",
    "history": "incidents",
    "failed": "incidents",
    "retry": "incidents",
}


class CommandGroup(click.Group):
    """Imports commands on demand, and prints errors as sentences instead of tracebacks."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        with pause_gc():
            module = importlib.import_module(f"{__name__}.{COMMANDS[cmd_name]}")
        found: click.Command = getattr(module, cmd_name)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            for problem in error.problems:
                click.echo(str(problem), err=True)
        except ReceiverError as error:
            click.echo(f"Error: {error}", err=True)
        sys.exit(1)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("receiver"), prog_name="receiver")
def main() -> None:
    """Alertmanager in, Slack messages and PagerDuty pages out, and none lost."""
