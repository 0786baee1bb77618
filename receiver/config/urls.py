"""What we take for an address: http or https, with a host, and a port that can be."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from receiver.text import is_web_link


def is_url(text: str) -> bool:
    """Tell whether *text* is an http(s) address with a host."""
    return _split(text) is not None


def is_base_url(text: str) -> bool:
    """Tell whether paths can be put behind *text*: an http(s) address without query or fragment."""
    parts = _split(text)
    return parts is not None and not parts.query and not parts.fragment


def is_store_url(text: str) -> bool:
    """Tell whether *text* is an address of a store: its scheme, host and port, or several of them."""
    try:
        parts = urlsplit(text)
        scheme, path = parts.scheme, parts.path.strip("/")
        if scheme == "unix":
            return bool(path)
        if scheme in ("redis", "rediss"):
            return bool(parts.hostname) and parts.port != 0
        hosts = [urlsplit(f"//{host}") for host in parts.netloc.rpartition("@")[2].split(",") if host.strip()]
        is_usable = bool(hosts) and all(host.hostname and host.port != 0 for host in hosts)
    except ValueError:
        return False
    if scheme == "redis+sentinel":
        return is_usable and bool(path)
    return is_usable and scheme == "redis+cluster" and path in ("", "0")


def find_host(text: str) -> str:
    """Return `host` or `host:port` of an address, in lower case; empty where it is none."""
    parts = _split(text)
    return parts.netloc.rpartition("@")[2].lower() if parts else ""


def _split(text: str) -> SplitResult | None:
    if not is_web_link(text):
        return None
    try:
        parts = urlsplit(text)
        is_usable = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port beyond 65535, or an IPv6 address that is none
        return None
    return parts if is_usable else None
