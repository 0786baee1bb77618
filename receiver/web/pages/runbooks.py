"""The pages of the runbooks."""

from __future__ import annotations

from flask import Blueprint, render_template
from markupsafe import Markup

from receiver.errors import NotFound
from receiver.lookups.prometheus import PrometheusRules
from receiver.runbooks.page import render_page
from receiver.web.library import build_library
from receiver.wiring import Parts


def add_runbooks(pages: Blueprint, parts: Parts) -> None:
    """Add the pages to the blueprint."""
    url = parts.routing.prometheus_url
    rules = PrometheusRules(url, parts.clock) if url else None

    @pages.get("/runbooks")
    def runbooks() -> str:
        """List the runbooks, and what is missing or disagrees."""
        library = build_library(parts, rules.find() if rules else None)
        return render_template("runbooks.html", library=library)

    @pages.get("/runbooks/<name>")
    def runbook(name: str) -> str:
        """Show a runbook whole."""
        found = parts.runbooks.find(name)
        if found is None:
            raise NotFound("runbook", name)
        body = Markup(render_page(found.source, top=2))  # noqa: S704
        return render_template("runbook.html", name=found.name, severity=found.severity, body=body)
