"""The pages for people: what is open, one incident, a runbook."""

from __future__ import annotations

from flask import Blueprint, render_template
from markupsafe import Markup

from receiver.clock import format_duration
from receiver.errors import NotFound
from receiver.runbooks.page import render_page
from receiver.web.incident_json import delivery_keys, describe
from receiver.web.maintenance import render_maintenance
from receiver.web.maintenance_forms import add_maintenance_forms
from receiver.web.policies import policy_finder
from receiver.web.rows import render_row
from receiver.web.status import show_status
from receiver.wiring import Parts

_ROWS = 100
_SIMULATED = 50


def build_pages(parts: Parts) -> Blueprint:
    """Return the pages' routes."""
    pages = Blueprint("pages", __name__)

    @pages.app_template_filter("ago")
    def ago(moment: str | None) -> str:
        return moment[:19].replace("T", " ") + " UTC" if moment else ""

    @pages.context_processor
    def show_on_every_page() -> dict[str, object]:
        return {"maintenance": render_maintenance(parts.maintenance.find(parts.clock()))}

    @pages.get("/")
    def now() -> str:
        """Show the open incidents and what simulated channels would have sent."""
        moment = parts.clock()
        page = parts.incidents.find_newest(
            states=frozenset({"open", "acknowledged"}), limit=_ROWS, deliveries=delivery_keys(parts)
        )
        find_policy = policy_finder(parts, moment)
        rows = [render_row(one, find_policy(one), moment) for one in page.incidents]
        ages = {one.id: format_duration(moment - one.opened_at) for one in page.incidents}
        return render_template(
            "now.html",
            incidents=rows,
            ages=ages,
            is_cut=page.next_cursor is not None,
            failed=parts.incidents.count_failed(),
            simulated=parts.simulated.newest(_SIMULATED),
            status=show_status(parts),
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

    add_maintenance_forms(pages, parts)
    return pages
