"""The pages of the runbooks."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from markupsafe import Markup

from receiver.errors import NotFound
from receiver.integrations.prometheus import PrometheusRules
from receiver.runbooks.html import render_page
from receiver.web.library import build_runbook_report
from receiver.web.part import PAGE_SIZE, PageQuery, paginate
from receiver.web.questions import read_query
from receiver.web.relative import url_for
from receiver.wiring.parts import Services


def add_runbooks(pages: Blueprint, services: Services) -> None:
    """Add the pages to the blueprint."""
    url = services.routing.prometheus_url
    rules = PrometheusRules(url, services.clock) if url else None

    @pages.get("/runbooks")
    def runbooks() -> str:
        """List the runbooks, and what is missing or disagrees."""
        asked = read_query(PageQuery, request.args)
        report = build_runbook_report(services, rules.get_rules() if rules else None)
        page_slice = paginate(report.usages, asked.page)
        return render_template(
            "runbooks.html",
            report=report,
            usages=page_slice.rows,
            page=page_slice.page,
            pages=page_slice.pages,
            page_size=PAGE_SIZE,
            page_url=lambda page: url_for("pages.runbooks", **asked.list_fields(page)),
        )

    @pages.get("/runbooks/<name>")
    def runbook(name: str) -> str:
        """Show a runbook whole."""
        found = services.runbooks.find_runbook(name)
        if found is None:
            raise NotFound("runbook", name)
        body = Markup(render_page(found.source, top=2))  # noqa: S704
        return render_template("runbook.html", name=found.name, severity=found.severity, body=body)
