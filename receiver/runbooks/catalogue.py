"""The runbook catalogue: lists, reads and reloads runbook files, and finds the runbook of an alert."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from receiver.errors import Problem
from receiver.model.alert import Alert
from receiver.runbooks.escalation_matrix import MatrixRow, find_matrix
from receiver.runbooks.excerpt import EXCERPT_LIMIT, cut_excerpt
from receiver.runbooks.model import Excerpt, Runbook
from receiver.runbooks.parser import parse_runbooks
from receiver.runbooks.remote import RunbookFetcher
from receiver.text import is_web_link

MAX_FILE_BYTES = 1024 * 1024
MAX_FILES = 5000
# Limits the walk through a folder with many other files.
MAX_ENTRIES = 200_000
SUFFIXES = (".md", ".markdown")
# Changes with a file's content: mtime and ctime in ns (a copy can set the mtime), size, inode.
Stamp = tuple[int, int, int, int]


@dataclass
class Listing:
    """The runbook files with their stamps, in the order of reading, and the problems found."""

    files: dict[Path, Stamp] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def list_files(paths: Sequence[Path]) -> Listing:
    """Return the Markdown files of *paths* (files, or folders with all their subfolders).

    Skips hidden files and folders, and symbolic links that point outside their folder. Never raises.
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
    """Return the file's text, with invalid UTF-8 replaced; raises OSError."""
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
    """Add *path* unless the same file was added under another name; raises OSError when it is missing."""
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
    """Return the problem to report for a path that cannot be read."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Problem(str(path), 1, f"can't be read: {reason}", "a Markdown file or a folder of them")


# Interval between checks for changed files, and the longest delay until an edit takes effect.
CHECK_EVERY_S = 2.0
MAX_LINK_CHARS = 2000
ANNOTATIONS = ("runbook_url", "runbook")


@dataclass(frozen=True)
class _File:
    """The parsed contents of one file."""

    stamp: Stamp
    runbooks: tuple[Runbook, ...]
    rows: tuple[MatrixRow, ...]


@dataclass(frozen=True)
class _Contents:
    """The contents of the catalogue; replaced as a whole, so readers need no lock."""

    files: dict[Path, _File] = field(default_factory=dict)
    by_name: dict[str, Runbook] = field(default_factory=dict)
    by_folded: dict[str, Runbook] = field(default_factory=dict)
    excerpts: dict[str, Excerpt] = field(default_factory=dict)  # filled on demand
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


class RunbookCatalogue:
    """Finds runbooks by alert name, exactly or else ignoring case; of two runbooks for one alert the first
    is used. Thread-safe.

    *paths* are files and folders; *public_url* is our own base URL, for links to the rest of a runbook;
    *limit* is the maximum length of an excerpt in characters; *fetcher* fetches a `runbook_url`.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        public_url: str = "",
        limit: int = EXCERPT_LIMIT,
        *,
        fetcher: RunbookFetcher,
        clock: Callable[[], float],
    ) -> None:
        self._paths = tuple(Path(path) for path in paths)
        self._public_url = public_url.rstrip("/")
        self._limit = limit
        self._clock = clock
        self._fetcher = fetcher
        self._reload_lock = threading.Lock()
        self._checked_at = clock()
        self._loaded = _read_contents(list_files(self._paths), _Contents())

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Missing paths and unreadable files."""
        return self._get_contents().problems

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Second runbooks for an alert, which are never used."""
        return self._get_contents().warnings

    def list_runbooks(self) -> tuple[Runbook, ...]:
        """Return every runbook, in the order of their names."""
        by_name = self._get_contents().by_name
        return tuple(by_name[name] for name in sorted(by_name))

    def list_names(self) -> list[str]:
        return sorted(self._get_contents().by_name)

    def list_matrix_rows(self) -> tuple[MatrixRow, ...]:
        """Return the rows of every Escalation Matrix, in the order of the files."""
        return tuple(row for file in self._get_contents().files.values() for row in file.rows)

    def find_runbook(self, name: str) -> Runbook | None:
        contents = self._get_contents()
        return contents.by_name.get(name) or contents.by_folded.get(name.casefold())

    def find_excerpt(self, alert: Alert) -> Excerpt | None:
        """Return the excerpt for *alert*: from the catalogue, from its runbook link, or the link alone.

        A `runbook` annotation may also name a runbook of the catalogue. Never waits for a link: the first
        call starts fetching it in the background, and later calls return the text.
        """
        link = _find_link(alert)
        runbook = self._find_named(alert) or self.find_runbook(alert.name)
        if runbook is not None:
            return self._build_excerpt(runbook, link)
        if not link:
            return None
        fetched = _choose_runbook(self._fetcher.find_runbooks(link), alert.name)
        if fetched is not None:
            return cut_excerpt(fetched, self._limit, link)
        return Excerpt(alert.name, url=link)

    def _find_named(self, alert: Alert) -> Runbook | None:
        """Return the runbook named in an annotation: `DiskFull`, or a path like `runbooks/DiskFull.md`."""
        for key in ANNOTATIONS:
            text = alert.annotations.get(key, "").strip()
            if text and len(text) <= MAX_LINK_CHARS and not is_web_link(text):
                runbook = self.find_runbook(text) or self.find_runbook(PurePosixPath(text).stem)
                if runbook is not None:
                    return runbook
        return None

    def _build_excerpt(self, runbook: Runbook, link: str) -> Excerpt:
        """Return the runbook's excerpt. Its URL is our page if it is cut or *link* is empty, else *link*."""
        excerpts = self._get_contents().excerpts
        excerpt = excerpts.get(runbook.name)
        if excerpt is None:
            excerpt = excerpts[runbook.name] = cut_excerpt(runbook, self._limit)
        page = f"{self._public_url}/runbooks/{quote(runbook.name)}" if self._public_url else ""
        return replace(excerpt, url=page if page and (excerpt.is_cut or not link) else link)

    def _get_contents(self) -> _Contents:
        """Return the contents, after reloading changed files if the last check is `CHECK_EVERY_S` ago.

        One thread reloads; the others use the previous contents meanwhile.
        """
        # abs: a clock that was set back must not stop the checks.
        if abs(self._clock() - self._checked_at) >= CHECK_EVERY_S and self._reload_lock.acquire(
            blocking=False
        ):
            try:
                self._reload_if_changed()
            finally:
                self._reload_lock.release()
        return self._loaded

    def _reload_if_changed(self) -> None:
        self._checked_at = self._clock()
        listing = list_files(self._paths)
        if not _is_same(listing, self._loaded):
            self._loaded = _read_contents(listing, self._loaded)


def _is_same(listing: Listing, contents: _Contents) -> bool:
    """Return whether the files are unchanged; false after a read error, so that the file is read again."""
    stamps = [(path, file.stamp) for path, file in contents.files.items()]
    return stamps == list(listing.files.items()) and tuple(listing.problems) == contents.problems


def _read_contents(listing: Listing, before: _Contents) -> _Contents:
    """Return the contents of the listed files; unchanged files are taken from *before*."""
    files: dict[Path, _File] = {}
    problems = list(listing.problems)
    for path, stamp in listing.files.items():
        known = before.files.get(path)
        if known is not None and known.stamp == stamp:
            files[path] = known
            continue
        try:
            files[path] = _read_file(path, stamp)
        except OSError as error:
            problems.append(describe_problem(path, error))
    return _index_files(files, problems)


def _read_file(path: Path, stamp: Stamp) -> _File:
    text = read_file(path)
    return _File(stamp, parse_runbooks(text, str(path)), find_matrix(text, str(path)))


def _index_files(files: dict[Path, _File], problems: Sequence[Problem]) -> _Contents:
    by_name: dict[str, Runbook] = {}
    by_folded: dict[str, Runbook] = {}
    warnings: list[Problem] = []
    for runbook in (runbook for file in files.values() for runbook in file.runbooks):
        first = by_name.setdefault(runbook.name, runbook)
        by_folded.setdefault(runbook.name.casefold(), runbook)
        if first is not runbook:
            what = f"a second runbook for {runbook.name}; {first.file}:{first.line} is used"
            warnings.append(Problem(runbook.file, runbook.line, what, "one runbook an alert"))
    return _Contents(files, by_name, by_folded, {}, tuple(problems), tuple(warnings))


def _find_link(alert: Alert) -> str:
    """Return the web link of the alert's runbook annotations, or an empty string."""
    for key in ANNOTATIONS:
        text = alert.annotations.get(key, "").strip()
        if len(text) <= MAX_LINK_CHARS and is_web_link(text):
            return text
    return ""


def _choose_runbook(runbooks: Sequence[Runbook], name: str) -> Runbook | None:
    """Return the runbook called *name*; if there is only one, return it whatever its name."""
    named = (runbook for runbook in runbooks if runbook.name.casefold() == name.casefold())
    return next(named, runbooks[0] if len(runbooks) == 1 else None)
