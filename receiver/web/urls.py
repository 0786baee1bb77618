"""PUBLIC_URL in its parts: where browsers reach us, maybe below a prefix that a proxy takes off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import flask
from flask import request

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True)
class PublicUrl:
    """The address without a `/` at its end; every part is empty where none is set.

    *host* and *origin* are written as browsers do: small letters, no default port, no login.
    """

    url: str = ""
    host: str = ""
    origin: str = ""
    path: str = ""

    @property
    def is_secure(self) -> bool:
        return self.origin.startswith("https:")


def parse_public_url(url: str) -> PublicUrl:
    """Return the parts of PUBLIC_URL, which was checked when it was read."""
    if not url:
        return PublicUrl()
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    host = parts.netloc.rpartition("@")[2].lower().removesuffix(_DEFAULT_PORTS.get(scheme, ""))
    return PublicUrl(url.rstrip("/"), host, f"{scheme}://{host}", parts.path.rstrip("/"))


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
