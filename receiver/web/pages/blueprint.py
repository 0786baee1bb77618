"""The blueprint of the pages, with the filters and variables that all templates share."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from importlib import resources
from pathlib import PurePath

from flask import Blueprint, Response, request

from receiver.clock import Clock
from receiver.text import is_web_link
from receiver.web.api.serializers import format_moment
from receiver.web.api.status import MaintenanceHandler
from receiver.web.urls import make_relative, url_for

LINKS = (
    ("pages.show_dashboard", "Now"),
    ("pages.history", "History"),
    ("pages.runbooks", "Runbooks"),
    ("pages.routing", "Routing"),
)


def build_pages(maintenance: MaintenanceHandler, clock: Clock) -> Blueprint:
    """Return the blueprint of the pages, still without pages."""
    pages = Blueprint("pages", __name__)
    file_hashes = _hash_static_files()

    @pages.after_request
    def add_time_header(response: Response) -> Response:
        response.headers["X-Receiver-Now"] = f"{clock():.3f}"
        return response

    @pages.app_template_filter("ago")
    def ago(moment: str | None) -> str:
        return moment[:19].replace("T", " ") + " UTC" if moment else ""

    @pages.app_template_filter("age")
    def age(moment: str) -> str:
        return format_age(clock() - datetime.fromisoformat(moment).timestamp())

    @pages.app_template_filter("basename")
    def basename(path: str) -> str:
        return PurePath(path).name

    @pages.app_template_filter("is_web")
    def is_web(address: str | None) -> bool:
        return bool(address) and is_web_link(str(address))

    @pages.app_context_processor
    def shared() -> dict[str, object]:
        return {
            "page_now": f"{clock():.3f}",
            "as_of": format_moment(clock()),
            "page_links": LINKS,
            "static": lambda name: url_for("static", filename=name, v=file_hashes.get(name)),
            "own_address": lambda: make_relative(request.full_path.rstrip("?")),
            "find_maintenance": maintenance.get_maintenance,
        }

    return pages


def format_age(seconds: float) -> str:
    """Return an age like `40 s ago`, in the format of page.js."""
    whole = max(0, int(seconds))
    for unit, length, beyond in (("s", 1, 60), ("min", 60, 3600), ("h", 3600, 48 * 3600)):
        if whole < beyond:
            return f"{whole // length} {unit} ago"
    return f"{whole // 86400} d ago"


def _hash_static_files() -> dict[str, str]:
    """Return a hash of each static file for its URL, so that browsers may cache the file until it changes."""
    folder = resources.files("receiver.web") / "static"
    return {
        file.name: sha256(file.read_bytes()).hexdigest()[:12] for file in folder.iterdir() if file.is_file()
    }
