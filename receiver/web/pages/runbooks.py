"""The pages of the runbook catalogue: each runbook with its use, and what is missing or inconsistent."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from flask import Blueprint, render_template, request
from markupsafe import Markup

from receiver.clock import Clock
from receiver.config.model import Routing
from receiver.config.runbook_checks import find_disagreements
from receiver.errors import NotFound
from receiver.incidents.store import RedisIncidents
from receiver.integrations.prometheus import AlertRule, PrometheusRules
from receiver.model.alert import LABEL, SeverityWords
from receiver.runbooks.catalogue import RunbookCatalogue
from receiver.runbooks.html import render_page
from receiver.runbooks.model import Runbook
from receiver.runbooks.relative_links import list_anchors, list_relative_links, resolve_link
from receiver.web.api.requests import read_query
from receiver.web.pages.blueprint import PAGE_SIZE, PageQuery, paginate
from receiver.web.urls import url_for

_MAX_INCIDENTS = 5000


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


def render_runbook(catalogue: RunbookCatalogue, runbook: Runbook, top: int) -> Markup:
    """Return the HTML of *runbook*; its links to files of other runbooks lead to our pages of them."""

    def find_page(name: str) -> str:
        found = catalogue.find_linked_runbook(name, runbook.file) if name else None
        return url_for("pages.runbook", name=found.name) if found else ""

    anchors = list_anchors(runbook.source)
    hrefs = list_relative_links(runbook.source)
    links = [(href, resolve_link(href, "", find_page, anchors)) for href in hrefs if href[1:] not in anchors]
    known = tuple((href, address) for href, address in links if address)
    return Markup(render_page(runbook.source, top, known))  # noqa: S704 - it is escaped there


def add_runbooks(
    pages: Blueprint, routing: Routing, catalogue: RunbookCatalogue, incidents: RedisIncidents, clock: Clock
) -> None:
    """Add the pages to the blueprint."""
    url = routing.prometheus_url
    prometheus = PrometheusRules(url, clock) if url else None

    @pages.get("/runbooks")
    def runbooks() -> str:
        """List the runbooks with their use, and what is missing or inconsistent."""
        query = read_query(PageQuery, request.args)
        newest = incidents.list_newest(limit=_MAX_INCIDENTS, is_brief=True).incidents
        used: Counter[str] = Counter()
        missing: Counter[str] = Counter()
        for name, count in Counter(incident.alertname for incident in newest).items():
            found = catalogue.find_runbook(name)
            if found is None:
                missing[name] += count
            else:
                used[found.name] += count
        known = sorted(catalogue.list_runbooks(), key=lambda runbook: runbook.name)
        rules = prometheus.get_rules() if prometheus else None
        rules_by_name = {rule.name: rule for rule in rules.rules} if rules else {}
        return render_template(
            "runbooks.html",
            runbooks=paginate(known, query.page),
            incident_counts=used,
            rules_by_name=rules_by_name,
            alerts_without_runbook=missing.most_common(),
            rules_without_runbook=sorted(
                name
                for name, rule in rules_by_name.items()
                if catalogue.find_runbook(name) is None and not rule.runbook_url
            ),
            disagreements=list(_find_disagreements(known, rules_by_name, routing.severities)),
            problems=(
                *catalogue.problems,
                *catalogue.warnings,
                *find_disagreements(routing, known, catalogue.list_matrix_rows()),
            ),
            error=rules.error if rules else "",
            asks_prometheus=rules is not None,
            page_size=PAGE_SIZE,
            page_url=lambda page: url_for("pages.runbooks", **query.list_fields(page)),
        )

    @pages.get("/runbooks/<path:name>")
    def runbook(name: str) -> str:
        """Show a whole runbook."""
        found = catalogue.find_runbook(name)
        if found is None:
            raise NotFound("runbook", name)
        # The page's own heading is the name already.
        source = re.sub(rf"\A#+[ \t]+{re.escape(found.name)}[ \t]*\n", "", found.source)
        body = render_runbook(catalogue, replace(found, source=source), top=2)
        return render_template("runbook.html", name=found.name, severity=found.severity, body=body)
