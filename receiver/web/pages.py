"""The pages for people: what is open, one incident, a runbook."""

from __future__ import annotations

from flask import Blueprint, render_template
from markupsafe import Markup

from receiver.clock import format_duration
from receiver.errors import NotFound
from receiver.runbooks.page import render_page
from receiver.web.incident_json import delivery_keys, describe
from receiver.web.rows import render_row
from receiver.wiring import Parts

_ROWS = 100
_SIMULATED = 50


def build_pages(parts: Parts) -> Blueprint:
    """Return the pages' routes."""
    pages = Blueprint("pages", __name__)

    @pages.app_template_filter("ago")
    def ago(moment: str | None) -> str:
        return moment[:19].replace("T", " ") + " UTC" if moment else ""

    @pages.get("/")
    def now() -> str:
        """Show the open incidents and what simulated channels would have sent."""
        moment = parts.clock()
        page = parts.incidents.find_newest(
            states=frozenset({"open", "acknowledged"}), limit=_ROWS, deliveries=delivery_keys(parts)
        )
        rows = [render_row(one, parts.routing.get_policy(one.policy), moment) for one in page.incidents]
        ages = {one.id: format_duration(moment - one.opened_at) for one in page.incidents}
        return render_template(
            "now.html",
            incidents=rows,
            ages=ages,
            is_cut=page.next_cursor is not None,
            simulated=parts.simulated.newest(_SIMULATED),
        )

    @pages.get("/incidents/<incident_id>")
    def incident(incident_id: str) -> str:
        """Show one incident: alerts, escalation, timeline, deliveries."""
        return render_template("incident.html", incident=describe(parts, incident_id))

    @pages.get("/runbooks/<name>")
    def runbook(name: str) -> str:
        """Show a runbook whole."""
        found = parts.runbooks.find(name)
        if found is None:
            raise NotFound("runbook", name)
        body = Markup(render_page(found.source))  # noqa: S704  # it lets no HTML of the source through
        return render_template("runbook.html", name=found.name, body=body)

    return pages
