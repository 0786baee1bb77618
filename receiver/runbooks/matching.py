"""Which places in the runbooks an alert's name or the address in its annotation leads to, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from receiver.runbooks.document import NO_TEXT, Document, Place, fold_path
from receiver.runbooks.names import (
    MAX_TEXT_CHARS,
    SEVERAL_COST,
    Name,
    contradicts,
    drop_accents,
    fold_name,
    list_names,
)

# How close a name is to the one that was asked for: the better first.
_SAME = (
    "the same text",
    "the same text but for upper and lower case",
    "the same letters and digits",
    "the same letters and digits but for accents",
)
# Files with such names hold many runbooks; their name alone says nothing.
_GENERIC = frozenset(
    map(
        fold_name,
        ("runbook", "runbooks", "playbook", "playbooks", "alert", "alerts", "docs", "troubleshooting"),
    )
)
# Put before an anchor by GitHub and Bitbucket.
_ANCHOR_PREFIXES = ("user-content-", "markdown-header-")


@dataclass(frozen=True)
class Match:
    """A place that has the name or address that was asked for. With a *problem*, it is not used."""

    document: Document
    place: Place
    name: str
    reason: str
    problem: str = ""
    order: tuple[int, ...] = ()


@dataclass(frozen=True)
class Step:
    """One way of finding a runbook: what was *asked* for, and the places that have it, the best first."""

    question: str  # `the alert's name`
    asked: str  # empty where the alert has nothing of the kind
    matches: tuple[Match, ...] = ()
    near: tuple[str, ...] = ()  # names that resemble it
    note: str = ""

    @property
    def chosen(self) -> Match | None:
        """The match that is used."""
        return next((match for match in self.matches if not match.problem), None)


class Index:
    """Finds places in *documents* by their names, and by the anchors and files of addresses."""

    def __init__(self, documents: Sequence[Document] = ()) -> None:
        self._documents = documents
        self._names: defaultdict[str, list[tuple[int, Place, Name]]] = defaultdict(list)
        self._anchors: defaultdict[str, list[tuple[int, Place]]] = defaultdict(list)
        self._stems: defaultdict[str, list[int]] = defaultdict(list)
        for number, document in enumerate(documents):
            self._stems[next(iter(document.path), "")].append(number)
            for place in document.places:
                for name in place.names:
                    self._names[drop_accents(name.key)].append((number, place, name))
                for anchor in _list_anchors(place):
                    self._anchors[anchor].append((number, place))

    @property
    def size(self) -> tuple[int, int]:
        """The numbers of headings and of files in it."""
        headings = (
            place for document in self._documents for place in document.places if place.kind == "heading"
        )
        return sum(1 for _ in headings), len(self._documents)

    def list_matches(self, asked: str, address: str = "") -> list[Match]:
        """Return the places called *asked*, the one to use first; those with a problem last.

        Those in the file that *address* names come before others.
        Where there is none, decoration is left out of *asked*, too: `[prod] DiskFull`.
        """
        if len(asked) > MAX_TEXT_CHARS:
            return []
        found = self._list_called(asked)
        if all(match.problem for match in found):
            for name in list_names(asked, is_alert=True)[1:]:
                left_out = f"; of the alert's name, {name.text!r} {' and '.join(name.steps)}"
                found += self._list_called(name.text, left_out)
        common = self._find_files(_split_address(address)) if len(found) > 1 else {}
        named = {self._documents[number].file: count for number, count in common.items()}

        def order(match: Match) -> tuple[int, ...]:
            usability, *rest = match.order
            return (usability, -named.get(match.place.file, 0), *rest)

        return sorted(found, key=order)

    def list_near(self, asked: str, count: int) -> list[str]:
        """Return names that resemble *asked*, as they are written, the nearest first."""
        usable = {
            key: found[0]
            for key, found in self._names.items()
            if not all(place.problem for _, place, _ in found)
        }
        key = drop_accents(fold_name(asked))
        near = get_close_matches(key, usable, n=count, cutoff=0.7)
        near += (known for known in usable if len(key) > 2 and key in known)
        names: dict[tuple[int, int], str] = {}  # one for each heading
        for number, place, name in map(usable.__getitem__, near):
            known = names.setdefault((number, place.heading_line), name.text)
            names[number, place.heading_line] = min(known, name.text, key=len)
        return [*names.values()][:count]

    def _list_called(self, called: str, left_out: str = "") -> list[Match]:
        found = []
        for number, place, name in self._names.get(drop_accents(fold_name(called)), ()):
            if left_out and name.cost >= SEVERAL_COST:
                continue
            document, closeness = self._documents[number], _measure_closeness(name.text, called)
            reason = ", ".join((f"its {place.kind} has {_SAME[closeness]}", *name.steps)) + left_out
            problem = "" if place.is_listed else place.problem
            if contradicts(name.text, called):
                problem = "it compares in the opposite direction"
            # A heading that looks like an alert is used even without text, but only if there is nothing else.
            usability = 2 if problem else int(bool(place.problem))
            order = (usability, name.cost, closeness, *_rank(place, document), number, place.line)
            title = place.title if place.kind == "anchor" else name.text
            found.append(Match(document, place, title, reason, problem, order))
        return found

    def list_addressed(self, address: str) -> list[Match]:
        """Return the places that a path or web address of a runbook leads to, by its file and its anchor."""
        parts = _split_address(address)
        return self._list_anchored(parts, self._find_files(parts))

    def _find_files(self, parts: SplitResult) -> dict[int, int]:
        """Return the documents that an address names, with the count of names at the end of both paths."""
        path = fold_path(parts.path)
        numbers = self._stems.get(path[0], ()) if path else ()
        common = {number: _count_common(path, self._documents[number].path) for number in numbers}
        return {number: count for number, count in common.items() if count > 1 or path[0] not in _GENERIC}

    def list_linked(self, address: str) -> list[Match]:
        """Return the places in the only document, which was fetched from *address*."""
        return self._list_anchored(_split_address(address), {0: 0})

    def _list_anchored(self, parts: SplitResult, files: Mapping[int, int]) -> list[Match]:
        """Return the headings with the anchor of an address, and the whole *files* that it names."""
        found = []
        anchor = _find_anchor(parts)
        keys = dict.fromkeys((anchor.lower(), fold_name(anchor))) if anchor else ()
        for number, place in dict.fromkeys(one for key in keys for one in self._anchors.get(key, ())):
            # An address may name a section of its file, but not one of any file.
            is_usable = not place.problem or (number in files and place.problem != NO_TEXT)
            order = (0 if is_usable else 3, number not in files, -files.get(number, 0), number, place.line)
            problem = "" if is_usable else place.problem
            document = self._documents[number]
            found.append(Match(document, place, place.title, "the address has its anchor", problem, order))
        for number in files:
            document = self._documents[number]
            if (whole := _find_only(document)) is not None:
                place, title, problem = whole
                order = (3 if problem else 1, False, -files.get(number, 0), number, place.line)
                found.append(Match(document, place, title, "the address names its file", problem, order))
        return sorted(found, key=lambda match: match.order)


def _list_anchors(place: Place) -> set[str]:
    """Return the anchors by which an address may name *place*."""
    if place.kind not in ("heading", "anchor"):
        return set()
    return {
        place.slug,
        place.slug.lower(),
        *(name.key for name in place.names if place.kind == "anchor" or name.cost < SEVERAL_COST),
    }


def _find_only(document: Document) -> tuple[Place, str, str] | None:
    """Return the place of the only runbook in *document*, its name, and why it is not to be used."""
    listed = [place for place in document.places if place.is_listed]
    if len(document.runbooks) == 1 and listed:
        return listed[0], document.runbooks[0].name, ""
    for place in document.places:
        if place.kind in ("file", "folder"):
            problem = "it holds the runbooks of several alerts" if document.is_collection else place.problem
            return place, place.names[0].text, problem
    return None


def _measure_closeness(text: str, asked: str) -> int:
    if text == asked:
        return 0
    if text.casefold() == asked.casefold():
        return 1
    return 2 if fold_name(text) == fold_name(asked) else 3


def _rank(place: Place, document: Document) -> tuple[int, int]:
    """Return what decides between places with an equal name: what looks like an alert, then its own file."""
    is_whole = place.kind not in ("heading", "anchor", "label")
    return (not place.is_listed, (3 if document.is_collection else 0) if is_whole else 1)


def _split_address(address: str) -> SplitResult:
    try:
        return urlsplit(address.strip())
    except ValueError:
        return SplitResult("", "", "", "", "")


def _find_anchor(parts: SplitResult) -> str:
    """Return the anchor of an address; Azure DevOps has it in the query."""
    anchor = unquote(parts.fragment) or next(iter(parse_qs(parts.query).get("anchor", ())), "")
    for prefix in _ANCHOR_PREFIXES:
        anchor = anchor.removeprefix(prefix)
    return anchor


def _count_common(path: Sequence[str], other: Sequence[str]) -> int:
    common = 0
    for one, two in zip(path, other, strict=False):
        if one != two:
            break
        common += 1
    return common
