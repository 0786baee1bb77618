"""Which places in the runbooks an alert's name or the address in its annotation leads to, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from receiver.runbooks.document import NO_TEXT, Document, Place, fold_path
from receiver.runbooks.names import (
    ANCHOR_COST,
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
    asked: str
    matches: tuple[Match, ...] = ()

    @property
    def chosen(self) -> Match | None:
        """The match that is used."""
        return next((match for match in self.matches if not match.problem), None)


@dataclass
class Index:
    """Finds places in *documents*; of several that match, the first has the lowest cost, see `_rank`."""

    documents: Sequence[Document] = ()
    _by_key: dict[str, list[tuple[int, Place, Name]]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for number, document in enumerate(self.documents):
            for place in document.places:
                for name in place.names:
                    self._by_key.setdefault(drop_accents(name.key), []).append((number, place, name))

    def list_matches(self, asked: str) -> list[Match]:
        """Return the places called *asked*, the one to use first; those with a problem last.

        Where there is none, decoration is left out of *asked*, too: `[prod] DiskFull`.
        """
        if len(asked) > MAX_TEXT_CHARS:
            return []
        found = self._list_called(asked)
        if all(match.problem for match in found):
            for name in list_names(asked, is_alert=True)[1:]:
                left_out = f"; of the alert's name, {name.text!r} {' and '.join(name.steps)}"
                found += self._list_called(name.text, left_out)
        return sorted(found, key=lambda match: match.order)

    def list_near(self, asked: str, count: int) -> list[str]:
        """Return names that resemble *asked*, as they are written, the nearest first."""
        written = {
            key: found[0][2].text
            for key, found in self._by_key.items()
            if not all(place.problem for _, place, _ in found)
        }
        near = get_close_matches(drop_accents(fold_name(asked)), written, n=count)
        return [written[key] for key in near]

    def _list_called(self, called: str, left_out: str = "") -> list[Match]:
        found = []
        for number, place, name in self._by_key.get(drop_accents(fold_name(called)), ()):
            if left_out and name.cost >= SEVERAL_COST:
                continue
            document, closeness = self.documents[number], _measure_closeness(name.text, called)
            reason = ", ".join((f"its {place.kind} has {_SAME[closeness]}", *name.steps)) + left_out
            problem = "" if place.is_listed else place.problem
            if contradicts(name.text, called):
                problem = "it compares in the opposite direction"
            # A heading that looks like an alert is used even without text, but only if there is nothing else.
            usability = 2 if problem else int(bool(place.problem))
            order = (usability, name.cost, closeness, *_rank(place, document), number, place.line)
            found.append(Match(document, place, name.text, reason, problem, order))
        return found

    def list_addressed(self, address: str) -> list[Match]:
        """Return the places that a path or web address of a runbook leads to, by its file and its anchor."""
        parts = _split_address(address)
        anchor = _find_anchor(parts)
        path = fold_path(parts.path)
        found = []
        for number, document in enumerate(self.documents):
            common = _count_common(path, document.path)
            if path and (common > 1 or (common == 1 and path[0] not in _GENERIC)):
                found += _list_in_file(document, anchor, (0, -common, number))
            elif anchor and common:
                found += _list_anchored(document, anchor, (1, -common, number))
            elif anchor:
                found += _list_anchored(document, anchor, (2, 0, number))
        return sorted(found, key=lambda match: match.order)


def _measure_closeness(text: str, asked: str) -> int:
    if text == asked:
        return 0
    if text.casefold() == asked.casefold():
        return 1
    return 2 if fold_name(text) == fold_name(asked) else 3


def _rank(place: Place, document: Document) -> tuple[int, int]:
    """Return what decides between places with an equal name: what looks like an alert, then its own file."""
    is_whole = place.kind not in ("heading", "anchor")
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


def list_in_document(document: Document, address: str) -> list[Match]:
    """Return the heading that the anchor of *address* names in *document*, or else the whole of it."""
    return _list_in_file(document, _find_anchor(_split_address(address)), ())


def _list_in_file(document: Document, anchor: str, order: tuple[int, ...]) -> list[Match]:
    found = _list_anchored(document, anchor, order, is_named=True) if anchor else []
    listed = [place for place in document.places if place.is_listed]
    whole = [place for place in document.places if place.kind in ("file", "folder")]
    for place in listed[:1] if len(document.runbooks) == 1 else whole:
        problem = place.problem or (
            "it holds the runbooks of several alerts" if document.is_collection else ""
        )
        title = document.runbooks[0].name if len(document.runbooks) == 1 else place.names[0].text
        usability = 3 if problem else 1
        found.append(
            Match(document, place, title, "the address names its file", problem, (usability, *order))
        )
    return found


def _list_anchored(
    document: Document, anchor: str, order: tuple[int, ...], *, is_named: bool = False
) -> list[Match]:
    found = []
    for place in document.places:
        is_meant = place.slug == anchor.lower() or any(
            name.cost <= ANCHOR_COST and name.key == fold_name(anchor) for name in place.names
        )
        if is_meant and place.kind in ("heading", "anchor"):
            # An address may name a section of its file, but not one of any file.
            problem = place.problem if not is_named or place.problem == NO_TEXT else ""
            usability = 2 if problem else 0
            reason = "the address has its anchor"
            found.append(
                Match(document, place, place.title, reason, problem, (usability, *order, place.line))
            )
    return found
