"""`receiver runbook ALERTNAME`: the words that would be posted with an alert."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import click

from receiver.cli.config import config_option, load_config
from receiver.cli.examples import show_examples
from receiver.cli.terminal import print_text
from receiver.model.alert import Alert
from receiver.runbooks.catalogue import RunbookCatalogue
from receiver.runbooks.model import render_markdown
from receiver.text import one_line

MAX_SUGGESTIONS = 3


@click.command(epilog=show_examples("receiver runbook HighCPUUsage", "receiver runbook highcpuusage | less"))
@click.argument("alertname")
@config_option
def runbook(alertname: str, config: Path) -> None:
    """Print a runbook's excerpt as it would be posted with the alert, in Markdown.

    Reads the files that the configuration names; needs no running receiver. Ends with 1 when there
    is no runbook for that alert.
    """
    catalogue = load_config(config).catalogue
    excerpt = catalogue.find_excerpt(Alert("", {"alertname": alertname}, {}, 0.0))
    if excerpt is None:
        raise click.ClickException(describe_missing(alertname, catalogue))
    print_text(f"**{one_line(excerpt.name, 200)}**\n\n{render_markdown(excerpt)}")


def describe_missing(alertname: str, catalogue: RunbookCatalogue) -> str:
    """Return the sentence for an alert without runbook, with the names that come near."""
    said = f"no runbook for {one_line(alertname, 100)!r}"
    known = {name.casefold(): name for name in catalogue.list_names()}
    near = get_close_matches(alertname[:200].casefold(), known, n=MAX_SUGGESTIONS)
    if near:
        return f"{said}: did you mean {' or '.join(known[name] for name in near)}?"
    if not known:
        return f"{said}: there are no runbooks at all, see `runbooks:` in the configuration"
    return f"{said} among the {len(known)} there are"
