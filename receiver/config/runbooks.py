"""The runbooks of routing.yaml: where they lie, and which hosts they may be read from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from receiver.config.nodes import Table, describe
from receiver.config.report import Report
from receiver.config.urls import find_host
from receiver.config.values import read_texts


@dataclass(frozen=True)
class RunbookPlaces:
    paths: tuple[Path, ...]
    hosts: tuple[str, ...]


def read_runbooks(root: Table, report: Report, folder: Path) -> RunbookPlaces:
    """Return the files and folders, from *folder* where relative, and the hosts of `https://host/`.

    A path that isn't there is a warning: a folder may be mounted later.
    """
    paths: list[Path] = []
    hosts: list[str] = []
    for text, item in read_texts(root.find("runbooks"), report):
        if "://" in text:
            # Words that come in the clear could be anybody's, and they stand in our messages.
            host = find_host(text) if text.lower().startswith("https://") else ""
            if not host:
                report.fault(item.line, f"{describe(item)} is no usable address", "https://host/")
            hosts.append(host)
        elif "\0" in text:
            report.fault(item.line, f"{describe(item)} is no path", "a file or folder")
        else:
            path = folder / text
            if not _is_there(path):
                report.warn(
                    item.line, f"{describe(item)} is not there", "a Markdown file or a folder of them"
                )
            paths.append(path)
    return RunbookPlaces(tuple(dict.fromkeys(paths)), tuple(dict.fromkeys(hosts)))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, or a folder that we may not enter
        return False
