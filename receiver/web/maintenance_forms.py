"""The forms on the page that begin and end maintenance."""

from __future__ import annotations

from flask import Blueprint, redirect, request, url_for
from werkzeug.wrappers import Response

from receiver.text import one_line
from receiver.web.maintenance import begin_maintenance, end_maintenance
from receiver.web.questions import MaintenanceWish, WhoEnds
from receiver.wiring import Parts

_MAX_FIELD = 300


def add_maintenance_forms(pages: Blueprint, parts: Parts) -> None:
    """Give *pages* the routes that the forms post to; both lead back to the first page."""

    @pages.post("/maintenance")
    def begin() -> Response:
        """Begin maintenance; a time that makes no sense is refused with a sentence."""
        wish = MaintenanceWish(by=_field("by"), via="page", for_=_field("for"), comment=_field("comment"))
        begin_maintenance(parts, "", wish)
        return redirect(url_for("pages.now"), 303)

    @pages.post("/maintenance/end")
    def end() -> Response:
        """End maintenance."""
        end_maintenance(parts, "", WhoEnds(by=_field("by") or "", via="page"))
        return redirect(url_for("pages.now"), 303)


def _field(name: str) -> str | None:
    return one_line(request.form.get(name, ""), _MAX_FIELD) or None
