"""The forms on the page that begin and end maintenance."""

from __future__ import annotations

from flask import Blueprint, redirect, request
from werkzeug.wrappers import Response

from receiver.clock import parse_time
from receiver.text import one_line
from receiver.web.maintenance import end_maintenance, start_maintenance
from receiver.web.questions import EndMaintenanceRequest, StartMaintenanceRequest
from receiver.web.relative import url_for
from receiver.web.rows import format_moment
from receiver.wiring.parts import Services

_MAX_FIELD = 300


def add_maintenance_forms(pages: Blueprint, services: Services) -> None:
    """Give *pages* the routes that the forms post to; both lead back to the first page."""

    @pages.post("/maintenance")
    def post_maintenance() -> Response:
        """Begin maintenance; a time that makes no sense is refused with a sentence."""
        for_, until = _read_end(_field("for") or "")
        body = StartMaintenanceRequest(
            by=_field("by"), via="page", for_=for_, until=until, comment=_field("comment")
        )
        start_maintenance(services, "", body)
        return redirect(url_for("pages.show_dashboard"), 303)

    @pages.post("/maintenance/end")
    def post_maintenance_end() -> Response:
        """End maintenance."""
        end_maintenance(services, "", EndMaintenanceRequest(by=_field("by") or "", via="page"))
        return redirect(url_for("pages.show_dashboard"), 303)

    def _read_end(text: str) -> tuple[str | None, str | None]:
        """Return a duration like `2h`, or the moment of a time of day in the team's zone, in RFC 3339."""
        text = text.lower().removeprefix("until").strip()
        if ":" not in text:
            return text or None, None
        try:
            return None, format_moment(parse_time(text, services.clock(), services.routing.zone))
        except (ValueError, OverflowError):
            return None, text  # refused with a sentence


def _field(name: str) -> str | None:
    return one_line(request.form.get(name, ""), _MAX_FIELD) or None
