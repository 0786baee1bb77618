"""The runbook catalogue: lists, reads and reloads runbook files, and finds the runbook of an alert."""

from __future__ import annotations

import codecs
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from receiver.errors import Problem
from receiver.links import parse_link
from receiver.model.alert import Alert
from receiver.model.alert_links import find_runbook_link, find_unusable_runbook, list_runbook_values
from receiver.runbooks.document import Document, fold_path, parse_document
from receiver.runbooks.escalation_matrix import MatrixRow, find_matrix
from receiver.runbooks.matching import Index, Match, Step
from receiver.runbooks.model import Excerpt, Runbook
from receiver.runbooks.names import fold_name
from receiver.runbooks.parser import is_camel
from receiver.runbooks.relative_links import list_anchors, resolve_excerpt, resolve_link
from receiver.runbooks.remote import RunbookFetcher
from receiver.runbooks.section_titles import BUILT_IN_TITLES, SectionTitles

MAX_FILE_BYTES = 1024 * 1024
MAX_FILES = 5000
# Limits the walk through a folder with many other files.
MAX_ENTRIES = 200_000
SUFFIXES = (".md", ".markdown", ".mdx", ".html", ".htm")
# Changes with a file's content: mtime and ctime in ns (a copy can set the mtime), size, inode.
FileVersion = tuple[int, int, int, int]


@dataclass
class _FileListing:
    """The runbook files with their versions, in the order of reading, and the problems found."""

    files: dict[Path, FileVersion] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    seen: set[tuple[int, int]] = field(default_factory=set)

    def add_problem(self, path: Path, what: str, expected: str) -> None:
        self.problems.append(Problem(str(path), 1, what, expected))

    def add_paths(self, paths: Iterable[Path]) -> None:
        """Add the files *paths*, and of folders the Markdown files in them and in their subfolders.

        Skips hidden files and folders, and symbolic links that point outside their folder. Never raises.
        """
        for path in paths:
            try:
                if path.is_dir():
                    self._add_folder(path)
                else:
                    self._add_file(path)
            except (OSError, ValueError) as error:
                self.problems.append(_describe_error(path, error))

    def _add_folder(self, folder: Path) -> None:
        top = Path(os.path.realpath(folder))
        for path in self._walk_folder(folder):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(top):
                continue
            if len(self.files) >= MAX_FILES:
                what = f"more than {MAX_FILES} runbook files"
                self.add_problem(folder, what, "fewer; the rest is not read")
                return
            try:
                self._add_file(path)
            except OSError as error:
                self.problems.append(_describe_error(path, error))

    def _walk_folder(self, folder: Path) -> Iterator[Path]:
        """Yield the Markdown files below *folder* in the order of their names."""
        left = MAX_ENTRIES
        errors: list[OSError] = []
        for place, folders, names in os.walk(folder, onerror=errors.append):
            # Kubernetes mounts a volume twice, once under a hidden name.
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            left -= len(names)
            if left < 0:
                self.add_problem(folder, "too many files to look through", "a smaller folder")
                return
            for name in sorted(names):
                if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                    yield Path(place) / name
        self.problems += [_describe_error(Path(str(error.filename)), error) for error in errors]

    def _add_file(self, path: Path) -> None:
        """Add *path* unless the same file was added under another name; raises OSError when it is missing."""
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or (found.st_dev, found.st_ino) in self.seen:
            return
        if found.st_size > MAX_FILE_BYTES:
            what = f"{found.st_size} bytes are too many for a runbook"
            self.add_problem(path, what, f"at most {MAX_FILE_BYTES}")
            return
        self.seen.add((found.st_dev, found.st_ino))
        self.files[path] = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def _describe_error(path: Path, error: Exception) -> Problem:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Problem(str(path), 1, f"can't be read: {reason}", "a Markdown file or a folder of them")


# Interval between checks for changed files, and the longest delay until an edit takes effect.
CHECK_EVERY_S = 2.0
_MAX_NAME = 2000  # of a runbook, in an annotation
_NAMED = "the runbook that an annotation names"
MAX_NEAR = 3


@dataclass(frozen=True)
class _File:
    """The parsed contents of one file."""

    version: FileVersion
    document: Document
    rows: tuple[MatrixRow, ...]
    is_unicode: bool


@dataclass(frozen=True)
class _Contents:
    """The contents of the catalogue; replaced as a whole, so readers need no lock."""

    files: dict[Path, _File] = field(default_factory=dict)
    by_name: dict[str, Runbook] = field(default_factory=dict)  # those that look like runbooks of alerts
    index: Index = field(default_factory=Index)
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


@dataclass(eq=False)
class RunbookCatalogue:
    """Finds the runbook of an alert: by what its annotation names, by the alert's name, by the address of its
    runbook. Names are compared with all headings and names of files. Thread-safe.

    *paths* are files and folders; *public_url* is our own base URL, for links to the rest of a runbook;
    *fetcher* fetches a `runbook_url`.
    """

    paths: Sequence[Path]
    public_url: str
    fetcher: RunbookFetcher
    clock: Callable[[], float]
    section_titles: SectionTitles = BUILT_IN_TITLES
    _reload_lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _loaded: _Contents = field(default_factory=_Contents, init=False)
    _checked_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._reload_if_changed()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Missing paths and unreadable files."""
        return self._get_contents().problems

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Second runbooks for an alert, which are never used, and files that are not UTF-8."""
        return self._get_contents().warnings

    def list_names(self) -> list[str]:
        return sorted(self._get_contents().by_name)

    def list_runbooks(self) -> tuple[Runbook, ...]:
        """Return every runbook, in the order of their names."""
        return tuple(runbook for _, runbook in sorted(self._get_contents().by_name.items()))

    def list_matrix_rows(self) -> tuple[MatrixRow, ...]:
        """Return the rows of every Escalation Matrix, in the order of the files."""
        return tuple(row for file in self._get_contents().files.values() for row in file.rows)

    def find_runbook(self, name: str) -> Runbook | None:
        """Return the runbook of the alert called *name*."""
        return _find_named(self._get_contents().index, name)

    def find_linked_runbook(self, name: str, file: str) -> Runbook | None:
        """Return the runbook called *name* that a link in *file* means: of an alert, of a file, or in *file*.

        A heading of another file that merely has the name is not meant: `[logs](logs.md)`.
        """
        found = self.find_runbook(name)
        if found is None or found.file == file or fold_path(found.file)[:1] == (fold_name(name),):
            return found
        is_alert = is_camel(found.name) or self._get_contents().by_name.get(found.name) is found
        return found if is_alert else None

    def find_excerpt(self, alert: Alert) -> Excerpt | None:
        """Return the excerpt for *alert*: from the catalogue, from its runbook link, or the link alone.

        Never waits for a link: the first call starts fetching it in the background, and later calls return
        the text.
        """
        index, link = self._get_contents().index, find_runbook_link(alert)
        step = next((step for step in self._search(alert, index) if step.chosen), None)
        is_named = step is not None and step.question == _NAMED
        words = "" if is_named else find_unusable_runbook(alert)
        if step is None or step.chosen is None:
            return Excerpt(alert.name, url=link, words=words) if link or words else None
        return replace(self._build_excerpt(step.chosen, index, link), words=words)

    def find_quoted_runbook(self, alert: Alert) -> Runbook | None:
        """Return the whole runbook that `find_excerpt` quotes, which another one's name may hide."""
        found = (step.chosen for step in self._search(alert, self._get_contents().index) if step.chosen)
        match = next(found, None)
        return match.document.read_runbook(match.place, match.name) if match else None

    def explain(self, alert: Alert, wait_s: float = 0.0) -> list[Step]:
        """Return how the runbook of *alert* is searched, up to the first step that finds one.

        Waits *wait_s* for a link, and adds similar names where there is no match.
        """
        steps, index = [], self._get_contents().index
        for step in self._search(alert, index, wait_s):
            is_name = not step.matches and not parse_link(step.asked, is_address=True)
            near = index.list_near(step.asked, MAX_NEAR) if is_name else ()
            steps.append(replace(step, near=tuple(near)))
            if step.chosen:
                break
        return steps

    def count_names(self) -> tuple[int, int]:
        """Return how many headings and how many files an alert's name is compared with."""
        return self._get_contents().index.size

    def list_near_names(self, name: str) -> list[str]:
        """Return at most `MAX_NEAR` names of headings and files that resemble *name*, the nearest first."""
        return self._get_contents().index.list_near(name, MAX_NEAR)

    def _search(self, alert: Alert, index: Index, wait_s: float = 0.0) -> Iterator[Step]:
        """Yield the ways to the alert's runbook in their order; each is tried only when it is asked for."""
        texts = (text for text in list_runbook_values(alert) if len(text) <= _MAX_NAME)
        for text in [text for text in texts if not parse_link(text, is_address=True)] or [""]:
            stem = PurePosixPath(text.partition("#")[0]).stem
            found = [*index.list_matches(text), *index.list_addressed(text), *index.list_matches(stem)]
            yield Step(_NAMED, text, tuple(found))
        names, link = list(_list_names(alert)), find_runbook_link(alert)
        for question, name in names:
            yield Step(question, name, tuple(index.list_matches(name, link)))
        yield Step("the address in an annotation", link, tuple(index.list_addressed(link)))
        if link:
            linked = self.fetcher.find_index(link, wait_s)
            if linked is None:
                is_allowed = self.fetcher.is_allowed(link)
                note = "it could not be read" if is_allowed else "`runbooks:` does not list its host"
                yield Step("the text at the address", link, note=note)
            else:
                found = [match for _, name in names for match in linked.list_matches(name)]
                yield Step("the text at the address", link, (*found, *linked.list_linked(link)))

    def _build_excerpt(self, match: Match, index: Index, link: str) -> Excerpt:
        """Return the runbook's excerpt. Its URL is our page if it is cut or *link* is empty, else *link*."""
        runbook = match.document.read_runbook(match.place, match.name)
        excerpt = match.document.read_excerpt(match.place, match.name)
        is_ours = bool(self.public_url) and (excerpt.is_cut or not link)
        base_url = link or (runbook.file if parse_link(runbook.file, is_address=True) else "")
        is_found = _find_named(index, runbook.name) is runbook
        own_page = self._build_page_url(runbook) if is_found else ""

        def find_page(name: str) -> str:
            return self._build_page_url(self.find_linked_runbook(name, runbook.file)) if name else own_page

        def resolve(href: str) -> str:
            anchors = list_anchors(runbook.source) if href.startswith("#") else ()
            return resolve_link(href, base_url, find_page, anchors)

        resolved = resolve_excerpt(excerpt, resolve)
        return replace(resolved, url=own_page if is_ours and own_page else link)

    def _build_page_url(self, found: Runbook | None) -> str:
        """Return the address of our page of a runbook; empty without one, or without our own address."""
        if found is None or not self.public_url:
            return ""
        return f"{self.public_url.rstrip('/')}/runbooks/{quote(found.name, safe='')}"

    def _get_contents(self) -> _Contents:
        """Return the contents, after reloading changed files if the last check is `CHECK_EVERY_S` ago.

        One thread reloads; the others use the previous contents meanwhile.
        """
        # abs: a clock that was set back must not stop the checks.
        is_due = abs(self.clock() - self._checked_at) >= CHECK_EVERY_S
        if is_due and self._reload_lock.acquire(blocking=False):
            try:
                self._reload_if_changed()
            finally:
                self._reload_lock.release()
        return self._loaded

    def _reload_if_changed(self) -> None:
        self._checked_at = self.clock()
        listing, before = _FileListing(), self._loaded
        listing.add_paths(self.paths)
        versions = [(path, file.version) for path, file in before.files.items()]
        # After an error on reading a file the two differ, so that it is read again.
        if versions != list(listing.files.items()) or tuple(listing.problems) != before.problems:
            self._loaded = _read_contents(listing, before, self.section_titles)


def _read_contents(listing: _FileListing, before: _Contents, section_titles: SectionTitles) -> _Contents:
    """Return the contents of the listed files; unchanged files are taken from *before*."""
    files: dict[Path, _File] = {}
    problems = list(listing.problems)
    for path, version in listing.files.items():
        known = before.files.get(path)
        try:
            is_known = known is not None and known.version == version
            files[path] = known if known and is_known else _read_file(path, version, section_titles)
        except OSError as error:
            problems.append(_describe_error(path, error))
    documents = [file.document for file in files.values()]
    contents = _Contents(files, index=Index(documents), problems=tuple(problems))
    warnings = [
        Problem(str(path), 1, "it is not UTF-8; some letters may be wrong", "a file in UTF-8")
        for path, file in files.items()
        if not file.is_unicode
    ]
    for runbook in (runbook for document in documents for runbook in document.runbooks):
        first = contents.by_name.setdefault(runbook.name, runbook)
        if first is not runbook:
            what = f"a second runbook for {runbook.name}; {first.file}:{first.line} is used"
            warnings.append(Problem(runbook.file, runbook.line, what, "one runbook an alert"))
    return replace(contents, warnings=tuple(warnings))


def _read_file(path: Path, version: FileVersion, section_titles: SectionTitles) -> _File:
    """Return the parsed file; raises OSError."""
    with path.open("rb") as file:
        text, is_unicode = _decode_text(file.read(MAX_FILE_BYTES))
    document = parse_document(text, str(path), section_titles)
    return _File(version, document, find_matrix(text, str(path)), is_unicode)


def _decode_text(data: bytes) -> tuple[str, bool]:
    """Return *data* as text, and whether it is UTF-8, or UTF-16 with its mark.

    Text whose bytes beyond ASCII are nowhere UTF-8 is read as Windows-1252; else invalid bytes are replaced.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace"), True
    text = data.decode("utf-8-sig", "replace")
    if "\ufffd" not in text:
        return text, True
    is_single_byte = text.replace("\ufffd", "").isascii()
    return (data.decode("cp1252", "replace") if is_single_byte else text), False


def _list_names(alert: Alert) -> Iterator[tuple[str, str]]:
    """Yield what the runbook may be called: the alert's name; Grafana has the rule's in another label."""
    if alert.name:
        yield "the alert's name", alert.name
    rule = alert.labels.get("rulename", "")
    if rule and alert.name in ("DatasourceNoData", "DatasourceError"):
        yield "the name of Grafana's rule", rule


def _find_named(index: Index, name: str) -> Runbook | None:
    match = Step("", name, tuple(index.list_matches(name))).chosen
    return match.document.read_runbook(match.place, match.name) if match else None
