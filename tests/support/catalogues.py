"""A runbook catalogue of files alone: no link is ever fetched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from receiver import clock as wall
from receiver.runbooks.catalogue import RunbookCatalogue
from receiver.runbooks.remote import PinnedConnection, RunbookFetcher, resolve_host

NO_LINKS = RunbookFetcher((), wall.now, PinnedConnection, resolve_host)


def a_catalogue(
    paths: Sequence[Path],
    public_url: str = "",
    *,
    fetcher: RunbookFetcher = NO_LINKS,
    clock: Callable[[], float] = wall.now,
) -> RunbookCatalogue:
    return RunbookCatalogue(paths, public_url, fetcher, clock)
