"""The links of an alert: its source, its runbook, and the annotations that are web addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from receiver.links import is_address_key, name_link, parse_link
from receiver.model.alert import Alert

MAX_LINKS = 20  # of one alert
RUNBOOK = "Runbook"
# In the order of preference; compared without case, blanks and `-_.`: runbookURL is runbook_url.
_RUNBOOK_KEYS = ("runbookurl", "runbook", "runbooklink", "playbook", "playbookurl")
_SEPARATORS = re.compile(r"[\s._-]+")
# Prose, even where it is a single address: it is shown, with the address in it as a link.
_PROSE = frozenset({"summary", "description", "message", "title"})
# Prometheus, Thanos and Mimir link their page of an expression:
# https://github.com/prometheus/prometheus/blob/main/util/strutil/strconv.go
_QUERY = re.compile(r"[?&]g0\.expr=")


@dataclass(frozen=True, slots=True)
class NamedLink:
    """A link and what it is called; the name comes from a key, never from a value of the sender."""

    name: str
    url: str


def name_source(generator_url: str) -> str:
    """Return what the link to an alert's source is called: `Query` for Prometheus, else `Source`."""
    return "Query" if _QUERY.search(generator_url) else "Source"


def list_alert_links(alert: Alert) -> tuple[NamedLink, ...]:
    """Return the links of *alert*, its source first, then its runbook, each address once."""
    found: dict[str, str] = {}
    for name, url in _find_links(alert):
        if url and len(found) < MAX_LINKS:
            found.setdefault(url, name)
    return tuple(NamedLink(name, url) for url, name in found.items())


def _find_links(alert: Alert) -> Iterator[tuple[str, str]]:
    yield name_source(alert.generator_url), parse_link(alert.generator_url, is_address=True)
    yield RUNBOOK, find_runbook_link(alert)
    for key in sorted(alert.annotations):
        if key.lower() not in _PROSE and not key.startswith("__"):
            yield name_link(key), find_annotation_link(key, alert.annotations[key])


def find_annotation_link(key: str, value: str) -> str:
    """Return the link that the annotation *key* is as a whole; empty where it is none."""
    return parse_link(value, is_address=is_address_key(key) or _find_runbook_rank(key) is not None)


def find_label_link(key: str, value: str) -> str:
    """Return the link that the label *key* is: only of a runbook, as labels are for routing."""
    return parse_link(value, is_address=True) if _find_runbook_rank(key) is not None else ""


def list_runbook_values(alert: Alert) -> list[str]:
    """Return what *alert* says of its runbook, best first: links, names of runbooks, or words.

    Annotations come before labels.
    """
    return [*_list_by_rank(alert.annotations), *_list_by_rank(alert.labels)]


def find_runbook_link(alert: Alert) -> str:
    """Return the link to the runbook of *alert*; empty where it has none that is usable."""
    return next(filter(None, (parse_link(text, is_address=True) for text in list_runbook_values(alert))), "")


def find_unusable_runbook(alert: Alert) -> str:
    """Return what *alert* says of its runbook where no link can be made of it; empty where one can."""
    return "" if find_runbook_link(alert) else next(iter(list_runbook_values(alert)), "")


def _list_by_rank(values: Mapping[str, str]) -> list[str]:
    ranked = [
        (rank, key) for key in values if len(key) < 40 and (rank := _find_runbook_rank(key)) is not None
    ]
    return [text for _, key in sorted(ranked) if (text := values[key].strip())]


def _find_runbook_rank(key: str) -> int | None:
    folded = _SEPARATORS.sub("", key).lower()
    return _RUNBOOK_KEYS.index(folded) if folded in _RUNBOOK_KEYS else None
