"""PUBLIC_URL in its parts: where browsers reach us, maybe below a prefix that a proxy takes off."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

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
