"""The parts of PUBLIC_URL, and relative links, which also work below a path prefix that a proxy strips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import flask
from flask import current_app, request
from werkzeug.routing import Map

from receiver.text import cache_short

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True)
class PublicUrl:
    """PUBLIC_URL without a trailing `/`; all parts are empty where it is not set.

    *host* and *origin* are written as browsers send them: lower case, no default port, no user info.
    """

    url: str = ""
    host: str = ""
    origin: str = ""
    path: str = ""

    @property
    def is_secure(self) -> bool:
        return self.origin.startswith("https:")


def parse_public_url(url: str) -> PublicUrl:
    """Return the parts of PUBLIC_URL, which was validated with the settings."""
    if not url:
        return PublicUrl()
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    host = parts.netloc.rpartition("@")[2].lower().removesuffix(_DEFAULT_PORTS.get(scheme, ""))
    return PublicUrl(url.rstrip("/"), host, f"{scheme}://{host}", parts.path.rstrip("/"))


def url_for(endpoint: str, **values: Any) -> str:
    """Return the URL of a route relative to the requested page; takes the arguments of Flask's url_for."""
    return make_relative(_build_path(current_app.url_map, request.script_root, endpoint, **values))


@cache_short(1000, 300)
def _build_path(_map: Map, _script_root: str, endpoint: str, /, **values: Any) -> str:
    """Return the path of a route. The first two arguments only tell applications and prefixes apart."""
    return flask.url_for(endpoint, **values)


def make_relative(path: str) -> str:
    """Return *path*, which begins with one `/`, relative to the requested page."""
    return ("../" * _count_folders() or "./") + path.removeprefix("/")


def _count_folders() -> int:
    """Return the depth of the requested path as the browser sent it; an encoded `%2F` is no separator."""
    raw_uri = str(request.environ.get("RAW_URI") or "")
    path = raw_uri.partition("?")[0] if raw_uri.startswith("/") else urlsplit(request.url).path
    return max(0, path.count("/") - 1)
