"""`receiver runbook`: the excerpt that would be posted with an alert, and how it is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from receiver.cli.configuration import load_config, show_path
from receiver.cli.fire import collect_pairs, read_pair
from receiver.cli.terminal import config_option, print_json, print_text, show_examples
from receiver.model.alert import Alert
from receiver.runbooks.catalogue import RunbookCatalogue
from receiver.runbooks.matching import Match, Step
from receiver.runbooks.model import Excerpt, render_markdown
from receiver.runbooks.names import fold_name
from receiver.runbooks.remote import TIMEOUT_S
from receiver.text import format_count, one_line

# Matches shown for each step.
MAX_MATCHES = 10


@click.command(
    epilog=show_examples(
        "receiver runbook HighCPUUsage",
        "receiver runbook highcpuusage | less",
        "receiver runbook DiskFull --explain",
        "receiver runbook DiskFull --explain --annotation runbook_url=https://wiki.example.org/disks#full",
    )
)
@click.argument("alertname")
@config_option
@click.option(
    "--explain", "is_explained", is_flag=True, help="Say what was looked at, and what matched or not."
)
@click.option(
    "--annotation",
    "annotations",
    multiple=True,
    type=read_pair,
    metavar="K=V",
    help="An annotation of the alert, such as runbook_url; may be repeated.",
)
@click.option("--json", "is_json", is_flag=True, help="Print JSON.")
def runbook(
    alertname: str,
    config: Path,
    annotations: tuple[tuple[str, str], ...],
    *,
    is_explained: bool,
    is_json: bool,
) -> None:
    """Print a runbook's excerpt as it would be posted with the alert, in Markdown.

    Reads the files that the configuration names; needs no running receiver. Ends with 1 when there
    is no runbook for that alert.
    """
    catalogue = load_config(config).catalogue
    alert = Alert("", {"alertname": alertname}, collect_pairs(annotations), 0.0)
    steps = catalogue.explain(alert, TIMEOUT_S)  # and waits for a link
    excerpt = catalogue.find_excerpt(alert)
    if is_json:
        print_json(_render_json(alertname, excerpt, steps if is_explained else []))
    elif is_explained:
        print_text("\n".join(_render_steps(steps, excerpt, catalogue.count_names())))
    elif excerpt is not None:
        print_text(f"**{one_line(excerpt.name, 200)}**\n\n{render_markdown(excerpt)}")
    if excerpt is None:
        raise click.ClickException(_describe_missing(alertname, catalogue))


def _describe_missing(alertname: str, catalogue: RunbookCatalogue) -> str:
    sentence = f"no runbook for {one_line(alertname, 100)!r}"
    known = catalogue.list_names()
    if near := catalogue.list_near_names(alertname):
        return f"{sentence}: did you mean {' or '.join(one_line(name, 100) for name in near)}?"
    if not catalogue.count_names()[1]:
        return f"{sentence}: there are no runbooks at all, see `runbooks:` in the configuration"
    return f"{sentence} among the {len(known)} there are, nor a heading or file of that name"


def _render_json(alertname: str, excerpt: Excerpt | None, steps: list[Step]) -> dict[str, Any]:
    looked_at = [
        {
            "for": step.question,
            "asked": step.asked or None,
            "compared_as": fold_name(step.asked) if step.asked else None,
            "matches": [
                {
                    "file": show_path(match.place.file),
                    "line": match.place.line,
                    "title": match.place.title,
                    "used": match is step.chosen,
                    "reason": match.problem or match.reason,
                }
                for match in step.matches[:MAX_MATCHES]
            ],
            "similar": list(step.near),
            "note": step.note or None,
        }
        for step in steps
    ]
    shown = {
        "alertname": alertname,
        "runbook": excerpt.name if excerpt else None,
        "url": (excerpt.url or None) if excerpt else None,
        "markdown": render_markdown(excerpt) if excerpt else None,
    }
    return shown | ({"looked_at": looked_at} if steps else {})


def _render_steps(steps: list[Step], excerpt: Excerpt | None, counts: tuple[int, int]) -> Iterator[str]:
    chosen = steps[-1].chosen if steps else None
    if chosen is not None:
        yield f"Found in {_show_place(chosen)}: {one_line(chosen.place.title, 200)}"
    elif excerpt is not None:
        yield f"No words were found; only the address is shown: {one_line(excerpt.url, 500)}"
    headings, files = (
        format_count(count, noun) for count, noun in zip(counts, ("heading", "file"), strict=True)
    )
    yield f"Compared with {headings} in {files}, and with the names of the files, by letters and digits only."
    for number, step in enumerate(steps, start=1):
        asked = one_line(step.asked, 200) or "there is none"
        key = fold_name(step.asked)
        compared = f", compared as {one_line(key, 200)}" if step.asked and "/" not in asked else ""
        yield f"\n{number}. {step.question[:1].upper()}{step.question[1:]}: {asked}{compared}"
        yield from _render_matches(step)


def _render_matches(step: Step) -> Iterator[str]:
    if step.note:
        yield f"   not read: {step.note}"
    elif step.asked and not step.matches:
        yield "   no match"
    if step.near:
        yield f"   similar, but not the same: {', '.join(one_line(name, 100) for name in step.near)}"
    for match in step.matches[:MAX_MATCHES]:
        title = one_line(match.place.title, 100)
        if match is step.chosen:
            yield f"   used: {_show_place(match)} {title}: {match.reason}"
        elif match.problem:
            yield f"   not usable: {_show_place(match)} {title}: {match.reason}, but {match.problem}"
        else:
            yield f"   comes later: {_show_place(match)} {title}: {match.reason}"
    if len(step.matches) > MAX_MATCHES:
        yield f"   and {len(step.matches) - MAX_MATCHES} more"


def _show_place(match: Match) -> str:
    return f"{one_line(show_path(match.place.file), 500)}:{match.place.line}"
