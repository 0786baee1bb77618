"""The pages of the runbook catalogue: each runbook with its use, and what is missing or inconsistent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flask import Blueprint, render_template, request
from markupsafe import Markup

from receiver.app.services import Services
from receiver.config.model import Routing
from receiver.config.runbook_checks import find_disagreements
from receiver.errors import NotFound, Problem
from receiver.integrations.prometheus import AlertRule, AlertRules, PrometheusRules
from receiver.model.alert import LABEL, SeverityWords
from receiver.runbooks.catalogue import RunbookCatalogue
from receiver.runbooks.html import render_page
from receiver.runbooks.model import Runbook
from receiver.web.api.requests import read_query
from receiver.web.pages.rendering import PAGE_SIZE, PageQuery, paginate
from receiver.web.urls import url_for

_MAX_INCIDENTS = 5000


@dataclass(frozen=True)
class RunbookUsage:
    """A runbook, the number of its incidents, and whether Prometheus has an alerting rule of its name."""

    runbook: Runbook
    incident_count: int
    has_alert_rule: bool


@dataclass(frozen=True)
class RunbookReport:
    """All runbooks, and the problems found in them."""

    usages: list[RunbookUsage]
    alerts_without_runbook: list[tuple[str, int]]
    rules_without_runbook: list[str]
    disagreements: list[str]
    problems: Sequence[Problem]
    error: str
    asks_prometheus: bool


def build_runbook_report(
    catalogue: RunbookCatalogue, routing: Routing, seen: Mapping[str, int], rules: AlertRules | None
) -> RunbookReport:
    """Return the catalogue; *seen* counts the incidents of the kept history by alert name."""
    runbooks = catalogue.list_runbooks()
    rules_by_name = {rule.name: rule for rule in rules.rules} if rules else {}
    used: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    for name, count in seen.items():
        runbook = catalogue.find_runbook(name)
        if runbook is None:
            missing[name] += count
        else:
            used[runbook.name] += count
    return RunbookReport(
        usages=[
            RunbookUsage(runbook, used[runbook.name], runbook.name in rules_by_name)
            for runbook in sorted(runbooks, key=lambda runbook: runbook.name)
        ],
        alerts_without_runbook=missing.most_common(),
        rules_without_runbook=sorted(
            name
            for name, rule in rules_by_name.items()
            if catalogue.find_runbook(name) is None and not rule.runbook_url
        ),
        disagreements=list(_find_disagreements(runbooks, rules_by_name, routing.severities)),
        problems=(
            *catalogue.problems,
            *catalogue.warnings,
            *find_disagreements(routing, runbooks, catalogue.list_matrix_rows()),
        ),
        error=rules.trouble if rules else "",
        asks_prometheus=rules is not None,
    )


def _find_disagreements(
    runbooks: Iterable[Runbook], rules_by_name: dict[str, AlertRule], severities: SeverityWords
) -> Iterator[str]:
    for runbook in runbooks:
        rule = rules_by_name.get(runbook.name)
        if rule is None or not (rule.severity and runbook.severity):
            continue
        said, is_so = (severities.read_severity({LABEL: each.severity}) for each in (runbook, rule))
        if said is not is_so:
            yield f"{runbook.name}: the runbook says {said}, its rule in Prometheus {is_so}"


def add_runbooks(pages: Blueprint, services: Services) -> None:
    """Add the pages to the blueprint."""
    routing, catalogue = services.routing, services.runbooks
    rules = PrometheusRules(routing.prometheus_url, services.clock) if routing.prometheus_url else None

    @pages.get("/runbooks")
    def runbooks() -> str:
        """List the runbooks, and what is missing or inconsistent."""
        query = read_query(PageQuery, request.args)
        newest = services.incidents.list_newest(limit=_MAX_INCIDENTS, is_brief=True).incidents
        seen = Counter(incident.alertname for incident in newest)
        report = build_runbook_report(catalogue, routing, seen, rules.get_rules() if rules else None)
        return render_template(
            "runbooks.html",
            report=report,
            usages=paginate(report.usages, query.page),
            page_size=PAGE_SIZE,
            page_url=lambda page: url_for("pages.runbooks", **query.list_fields(page)),
        )

    @pages.get("/runbooks/<name>")
    def runbook(name: str) -> str:
        """Show a whole runbook."""
        found = catalogue.find_runbook(name)
        if found is None:
            raise NotFound("runbook", name)
        body = Markup(render_page(found.source, top=2))  # noqa: S704
        return render_template("runbook.html", name=found.name, severity=found.severity, body=body)
