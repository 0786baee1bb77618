"""`receiver schema`: print the JSON Schema of routing.yaml."""

from __future__ import annotations

import click

from receiver.cli.terminal import print_json, show_examples
from receiver.config.reference import build_schema


@click.command(epilog=show_examples("receiver schema > routing.schema.json"))
def schema() -> None:
    """Print the JSON Schema of routing.yaml, for editors that complete and check YAML by it."""
    print_json(build_schema())
