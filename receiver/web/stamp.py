"""The stamp of what a page shows, so that a browser leaves alone what is still so.

A page that is asked for every few seconds would else close what a reader has unfolded and lose what they
have marked, for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import cast

from flask import current_app


def stamp_of(*shown: object) -> str:
    """Return a word that stays the same as long as *shown* does, so no moment of now belongs in it."""
    # Forms that were shown with another token than the browser now has don't work.
    render_token = cast("Callable[[], str]", current_app.jinja_env.globals["csrf_field"])
    return sha256(repr((shown, render_token())).encode("utf-8", "backslashreplace")).hexdigest()[:16]
