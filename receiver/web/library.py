"""The library: every runbook with how often it was used, and what is missing or disagrees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from receiver.config.coverage import find_disagreements
from receiver.domain.runbook import Runbook
from receiver.domain.severity import LABEL, SeverityWords
from receiver.errors import Problem
from receiver.lookups.prometheus import AlertRule, AlertRules
from receiver.wiring import Parts

_LOOKED_AT = 5000


@dataclass(frozen=True)
class Volume:
    """One runbook: how many incidents it was for, and whether Prometheus has a rule of its name."""

    runbook: Runbook
    used: int
    is_ruled: bool


@dataclass(frozen=True)
class Library:
    """All runbooks, and what is wrong with them."""

    volumes: tuple[Volume, ...]
    seen_without: tuple[tuple[str, int], ...]
    ruled_without: tuple[str, ...]
    disagreements: tuple[str, ...]
    problems: tuple[Problem, ...]
    trouble: str = ""
    asks_prometheus: bool = False


def build_library(parts: Parts, rules: AlertRules | None) -> Library:
    """Return the library as the kept history shows it. Raises StoreError."""
    shelf = parts.runbooks
    found = parts.incidents.list_newest(limit=_LOOKED_AT).incidents
    seen = Counter(incident.alertname for incident in found)
    known = {runbook.name: runbook for runbook in shelf.all()}
    ruled = {rule.name: rule for rule in rules.rules} if rules else {}
    used = Counter(dict.fromkeys(known, 0))
    missing: Counter[str] = Counter()
    for name, count in seen.items():
        runbook = shelf.find(name)
        if runbook is None:
            missing[name] += count
        else:
            used[runbook.name] += count
    return Library(
        volumes=tuple(Volume(known[name], used[name], name in ruled) for name in sorted(known)),
        seen_without=tuple(missing.most_common()),
        ruled_without=tuple(
            sorted(name for name, rule in ruled.items() if shelf.find(name) is None and not rule.runbook_url)
        ),
        disagreements=tuple(_disagreements(known.values(), ruled, parts.routing.severities)),
        problems=(
            *shelf.problems,
            *shelf.warnings,
            *find_disagreements(parts.routing, shelf.all(), shelf.matrix_rows()),
        ),
        trouble=rules.trouble if rules else "",
        asks_prometheus=rules is not None,
    )


def _disagreements(
    runbooks: Iterable[Runbook], ruled: dict[str, AlertRule], severities: SeverityWords
) -> Iterable[str]:
    for runbook in runbooks:
        rule = ruled.get(runbook.name)
        if rule is None or not (rule.severity and runbook.severity):
            continue
        said, is_so = (severities.read_severity({LABEL: each.severity}) for each in (runbook, rule))
        if said is not is_so:
            yield f"{runbook.name}: the runbook says {said}, its rule in Prometheus {is_so}"
