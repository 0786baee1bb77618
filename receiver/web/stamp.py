"""The stamp of what a page shows, so that a browser that still has it is told so and no more.

A page that is asked for every few seconds would else cost a phone megabytes, close what its reader has
unfolded and lose what they have marked, for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import cast

from flask import Response, current_app, render_template, request

_HEADER = "X-Receiver-Stamp"


def etag_of(*shown: object) -> str:
    """Return a word that stays the same as long as *shown* does, so no moment of now belongs in it."""
    # Forms that were shown with another token than the browser now has don't work.
    render_token = cast("Callable[[], str]", current_app.jinja_env.globals["csrf_field"])
    return sha256(repr((shown, render_token())).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def conditional_response(template: str, shown: tuple[object, ...], **context: object) -> Response:
    """Return the page, or nothing (204) to a script that has it with the stamp of what is *shown*."""
    etag = etag_of(*shown)
    if request.headers.get(_HEADER) == etag:
        return Response(status=204)
    return Response(render_template(template, etag=etag, **context), content_type="text/html; charset=utf-8")
