"""The blueprint of the pages, and what they share: filters, conditional responses, pagination and the actor.

Pages poll every few seconds. Without an ETag each poll would transfer the whole page, and replacing it would
collapse what the user has expanded and lose their text selection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from importlib import resources
from pathlib import PurePath
from typing import Annotated, Any, cast

from flask import Blueprint, Response, current_app, request
from msgspec import Meta, Struct
from msgspec.structs import asdict

from receiver.clock import Clock
from receiver.links import is_web_link
from receiver.web.api.requests import ActorFields
from receiver.web.api.serializers import format_timestamp
from receiver.web.api.status import MaintenanceHandler
from receiver.web.auth.principal import current_principal
from receiver.web.pages.passages import render_annotation, render_label, render_text
from receiver.web.server.connection import yield_to_others
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

    filters: dict[str, Callable[..., object]] = {
        "ago": lambda timestamp: timestamp[:19].replace("T", " ") + " UTC" if timestamp else "",
        "age": lambda timestamp: format_age(clock() - datetime.fromisoformat(timestamp).timestamp()),
        "basename": lambda path: PurePath(path).name,
        "annotation": render_annotation,
        "label": render_label,
        "prose": render_text,
        "is_web": lambda address: bool(address) and is_web_link(str(address)),
    }
    for name, render in filters.items():
        pages.add_app_template_filter(render, name)

    @pages.app_context_processor
    def shared() -> dict[str, object]:
        return {
            "page_now": f"{clock():.3f}",
            "as_of": format_timestamp(clock()),
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


_HEADER = "X-Receiver-Stamp"
# So many take about a millisecond; webhooks are answered in between.
_PIECES_AT_ONCE = 50


def digest_of(*content: object) -> str:
    """Return a digest of data by its `repr`, the same in every process."""
    return sha256(repr(content).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def conditional_response(template: str, shown: dict[str, object], **context: object) -> Response:
    """Return the page, or 204 if the request carries the ETag of *shown* in X-Receiver-Stamp.

    *shown* are the variables of the template that change while the page is open; none may be the current
    time. *context* are the others.
    """
    # The CSRF token is part of it: a page with forms for another token must be loaded again.
    render_token = cast("Callable[[], str]", current_app.jinja_env.globals["csrf_field"])
    etag = digest_of(list(shown.values()), render_token())
    if request.headers.get(_HEADER) == etag:
        return Response(status=204)
    pieces, variables = [], {"etag": etag, **shown, **context}
    current_app.update_template_context(variables)
    # Not by Flask's stream_template, in which each piece passes through two more generators.
    for number, piece in enumerate(current_app.jinja_env.get_template(template).generate(variables)):
        pieces.append(piece)
        if number % _PIECES_AT_ONCE == 0:
            yield_to_others()
    return Response("".join(pieces), content_type="text/html; charset=utf-8")


PAGE_SIZE = 100


class PageQuery(Struct, frozen=True):
    """The page of a list, as a query parameter."""

    page: Annotated[int, Meta(ge=1, le=1_000_000)] = 1

    def list_fields(self, page: int = 0) -> dict[str, Any]:
        """Return the query parameters without defaults, for *page* if it is given."""
        fields = asdict(self) | {"page": page or self.page}
        return {name: value for name, value in fields.items() if value and (name, value) != ("page", 1)}


@dataclass(frozen=True)
class PageSlice:
    """The rows of one page, the number of rows on all pages, the page's number and the number of pages."""

    rows: Sequence[Any]
    total: int
    page: int
    pages: int


def paginate(rows: Sequence[Any], page: int) -> PageSlice:
    """Return the rows on page *page*, or on the last page if there are fewer."""
    pages = max(1, -(-len(rows) // PAGE_SIZE))
    page = min(page, pages)
    return PageSlice(rows[(page - 1) * PAGE_SIZE : page * PAGE_SIZE], len(rows), page, pages)


def current_actor() -> ActorFields:
    """Return the current principal, or a placeholder, as the actor of a transition."""
    principal = current_principal()
    return ActorFields(by=(principal.name if principal else "") or "somebody on the page", via="page")
