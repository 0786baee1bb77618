"""Our own addresses as a page holds them: relative, so that it works below any prefix.

A proxy that takes a prefix off what it hands on tells us nothing of it: the same page is at `/history` here
and at `/receiver/history` for a browser there. What is relative to the page leads to the same in both.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import flask
from flask import request


def url_for(endpoint: str, **values: Any) -> str:
    """Return the address of a route, relative to the page that is asked for; takes what Flask's does."""
    return make_relative(flask.url_for(endpoint, **values))


def make_relative(path: str) -> str:
    """Return *path*, which begins with one `/`, relative to what is asked for."""
    return ("../" * _count_folders() or "./") + path.removeprefix("/")


def _count_folders() -> int:
    """Return how deep the page lies, by its path as the browser wrote it: a `%2F` in it divides nothing."""
    asked = str(request.environ.get("RAW_URI") or "")
    path = asked.partition("?")[0] if asked.startswith("/") else urlsplit(request.url).path
    return max(0, path.count("/") - 1)
