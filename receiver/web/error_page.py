"""Errors for people: a page in words, where programs get JSON."""

from __future__ import annotations

from flask import Response, render_template, request

_JSON_PATHS = ("/api/", "/webhooks/", "/static/", "/metrics", "/healthz", "/readyz")
_TITLES = {
    401: "Who are you?",
    403: "Not from there",
    404: "There is no such page",
    429: "Too many at once",
    500: "That went wrong",
    502: "That went wrong",
    503: "The receiver can't answer now",
}


def wants_html() -> bool:
    """Tell whether a person waits before a browser: it asks for HTML, as no program does by itself."""
    return not request.path.startswith(_JSON_PATHS) and "text/html" in request.headers.get("Accept", "")


def render_error_page(status: int, message: str, title: str = "") -> Response:
    """Return the error as a page, below *title* or what is usual. It asks the store for nothing, since that
    may be what is away.
    """
    heading = title or _TITLES.get(status, "That can't be done")
    sentence = f"{message[:1].upper()}{message[1:].rstrip('.')}."
    page = render_template("error.html", status=status, heading=heading, message=sentence)
    return Response(page, status, content_type="text/html; charset=utf-8")
