"""The runbooks of routing.yaml: where they lie, and which hosts they may be read from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from receiver.config.nodes import MappingNode, describe_node
from receiver.config.report import Diagnostics
from receiver.config.urls import find_host
from receiver.config.values import read_texts


@dataclass(frozen=True)
class RunbookLocations:
    paths: tuple[Path, ...]
    hosts: tuple[str, ...]


def read_runbooks(root: MappingNode, diagnostics: Diagnostics, folder: Path) -> RunbookLocations:
    """Return the files and folders, from *folder* where relative, and the hosts of `https://host/`.

    A path that isn't there is a warning: a folder may be mounted later.
    """
    paths: list[Path] = []
    hosts: list[str] = []
    for text, node in read_texts(root.find_node("runbooks"), diagnostics):
        if "://" in text:
            # Words that come in the clear could be anybody's, and they stand in our messages.
            host = find_host(text) if text.lower().startswith("https://") else ""
            if not host:
                diagnostics.error(node.line, f"{describe_node(node)} is no usable address", "https://host/")
            hosts.append(host)
        elif "\0" in text:
            diagnostics.error(node.line, f"{describe_node(node)} is no path", "a file or folder")
        else:
            path = folder / text
            if not _exists(path):
                diagnostics.warning(
                    node.line, f"{describe_node(node)} is not there", "a Markdown file or a folder of them"
                )
            paths.append(path)
    return RunbookLocations(tuple(dict.fromkeys(paths)), tuple(dict.fromkeys(hosts)))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, or a folder that we may not enter
        return False
