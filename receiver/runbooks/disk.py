"""Runbook files on disk: which there are, whether they changed, and their text."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from receiver.errors import Problem

MAX_FILE_BYTES = 1024 * 1024
MAX_FILES = 5000
# Folders full of other things must not keep us walking for ever.
MAX_ENTRIES = 200_000
SUFFIXES = (".md", ".markdown")

# What changes with a file's content: time of change twice, since a copy can set the first.
Stamp = tuple[int, int, int, int]


@dataclass
class Listing:
    """The runbook files found, each with its stamp, in reading order, and what was wrong."""

    files: dict[Path, Stamp] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def list_files(paths: Sequence[Path]) -> Listing:
    """Return the Markdown files that *paths* (files, or folders with all below them) hold.

    Hidden files and folders are left out, and links that lead out of their folder. Never raises.
    """
    listing = Listing()
    seen: set[tuple[int, int]] = set()
    for path in paths:
        try:
            if path.is_dir():
                _list_folder(path, listing, seen)
            else:
                _list_file(path, listing, seen)
        except (OSError, ValueError) as error:
            listing.problems.append(describe_problem(path, error))
    return listing


def read_file(path: Path) -> str:
    """Return the file's text, bytes that are no UTF-8 replaced; raises OSError."""
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES).decode("utf-8-sig", "replace")


def _list_folder(folder: Path, listing: Listing, seen: set[tuple[int, int]]) -> None:
    root = Path(os.path.realpath(folder))
    for path in _walk_folder(folder, listing):
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
            continue
        if len(listing.files) >= MAX_FILES:
            listing.problems.append(
                Problem(str(folder), 1, f"more than {MAX_FILES} runbook files", "fewer; the rest is not read")
            )
            return
        try:
            _list_file(path, listing, seen)
        except OSError as error:
            listing.problems.append(describe_problem(path, error))


def _walk_folder(folder: Path, listing: Listing) -> Iterator[Path]:
    """Yield the Markdown files below *folder* in the order of their names."""
    left = MAX_ENTRIES
    errors: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=errors.append):
        # Kubernetes mounts a volume twice, once under a hidden name.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        left -= len(names)
        if left < 0:
            listing.problems.append(
                Problem(str(folder), 1, "too many files to look through", "a smaller folder")
            )
            return
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield Path(place) / name
    listing.problems += [describe_problem(Path(str(error.filename)), error) for error in errors]


def _list_file(path: Path, listing: Listing, seen: set[tuple[int, int]]) -> None:
    """Note *path* unless it was noted under another name; raises OSError when it isn't there."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        return
    if (found.st_dev, found.st_ino) in seen:
        return
    if found.st_size > MAX_FILE_BYTES:
        listing.problems.append(
            Problem(
                str(path), 1, f"{found.st_size} bytes are too many for a runbook", f"at most {MAX_FILE_BYTES}"
            )
        )
        return
    seen.add((found.st_dev, found.st_ino))
    listing.files[path] = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def describe_problem(path: Path, error: Exception) -> Problem:
    """Return what to tell about a path that can't be read."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Problem(str(path), 1, f"can't be read: {reason}", "a Markdown file or a folder of them")
