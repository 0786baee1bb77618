"""Check http(s) URLs and the URL of Redis: scheme, host, port, database and options."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from receiver.config.mistakes import Mistake
from receiver.config.yaml_tree import suggest_choice
from receiver.links import is_web_link

_NO_DATABASE = ("ends in a database that is no number", "a number, like the 0 of redis://localhost:6379/0")
_MAX_WAIT_S = 60.0
_NO_OPTION = ("has an unknown option behind its ?", "none")


def find_url_mistake(text: str, *, is_base: bool = False) -> Mistake | None:
    """Return what is wrong with an http(s) URL, and what was expected; None if it is usable.

    Paths are appended to one that *is_base*, so it may have no query and no fragment.
    """
    parts = _split_url(text)
    if parts is not None:
        # `http://user:12/34@host` parses as a URL of the host `user`; such a path is never meant.
        is_cut = "@" in parts.path and ":" in parts.netloc and "@" not in parts.netloc
        if not (is_base and (is_cut or parts.query or parts.fragment)):
            return None
    what = "is no usable address"
    if text.lower().startswith(("http://", "https://")) and (encoded := _describe_encoded_login(text)):
        return what, encoded
    return what, "one without ? and #" if is_base and parts is not None else "http://… or https://…"


def find_store_mistake(text: str) -> Mistake | None:
    """Return what is wrong with a Redis URL, and what was expected; None if it is usable.

    Only the text is checked; nothing is connected to.
    """
    scheme = text.partition("://")[0]
    if scheme not in _STORES:
        return _NO_STORE
    mistake = _find_place_mistake(text) or _find_option_mistake(text, scheme)
    if mistake in (_NO_STORE, _NO_DATABASE, _NO_OPTION) and (encoded := _describe_encoded_login(text)):
        return _NO_STORE[0], encoded
    return mistake


def _describe_encoded_login(address: str) -> str:
    """Return how to percent-encode the login of an unusable *address*; empty if there is nothing to encode.

    A URL's login ends at the first `/`, `?` or `#`, so a password with one of them yields another URL.
    """
    login = address.partition("://")[2].rpartition("@")[0]
    signs = dict.fromkeys(sign for sign in login if sign in "/?#[]@\\^`{|}<>\"' ")
    encoded = (f"%{ord(sign):02X} for {'a blank' if sign == ' ' else sign}" for sign in signs)
    return f"what stands before its last @ with {' and '.join(encoded)}" if signs else ""


def _find_place_mistake(text: str) -> Mistake | None:
    """Return what is wrong before the `?`: the host and port (or several of them) and the database."""
    if _is_store_place(text):
        return None
    head, slash, _ = text.partition("?")[0].rpartition("/")
    return _NO_DATABASE if slash and _is_store_place(head) else _NO_STORE


def _is_store_place(text: str) -> bool:
    """Return whether *text* has a valid scheme, host and port (or several of them), and database."""
    try:
        parts = urlsplit(text)
        scheme, path = parts.scheme, parts.path.strip("/")
        if parts.fragment:
            return False
        if scheme == "unix":
            return bool(path)
        if scheme in ("redis", "rediss"):
            return bool(parts.hostname) and parts.port != 0 and _is_database(path)
        hosts = [urlsplit(f"//{host}") for host in parts.netloc.rpartition("@")[2].split(",") if host.strip()]
        is_usable = bool(hosts) and all(host.hostname and host.port != 0 for host in hosts)
    except ValueError:
        return False
    if scheme == "redis+sentinel":
        service, _, database = path.partition("/")
        return is_usable and bool(service) and _is_database(database)
    return is_usable and scheme == "redis+cluster" and path in ("", "0")


def _is_database(text: str) -> bool:
    return not text or re.fullmatch(r"\d{1,9}", unquote(text), re.ASCII) is not None


def _find_option_mistake(text: str, scheme: str) -> Mistake | None:
    """Return what is wrong after the `?`: redis-py would fail on it only when it connects."""
    known = _STORES[scheme]
    for name, value in parse_qsl(urlsplit(text).query, keep_blank_values=True):
        if name not in known:
            if name in _TLS_OPTIONS:
                return "has options of TLS, and does not use it", "rediss:// in place of redis://"
            return _NO_OPTION if "@" in name else (_NO_OPTION[0], suggest_choice(name, known))
        is_usable, expected = known[name]
        if not is_usable(value):
            return f"has no usable {name} behind its ?", expected
    return None


def _is_wait(text: str) -> bool:
    try:
        return 0 < float(text) <= _MAX_WAIT_S
    except ValueError:
        return False


# Whether a value is usable, and what is expected in place of one that is not.
_Option = tuple[Callable[[str], object], str]
_TEXT: _Option = (bool, "a text")
_WHOLE: _Option = (re.compile(r"\d{1,6}", re.ASCII).fullmatch, "a whole number")
_POSITIVE: _Option = (re.compile(r"(?=0*[1-9])\d{1,6}", re.ASCII).fullmatch, "a whole number from 1 on")
_SWITCH: _Option = (re.compile("1|0|true|false|yes|no", re.IGNORECASE).fullmatch, "true or false")
_VERIFICATION: _Option = (re.compile("none|optional|required").fullmatch, "none, optional or required")
_WAIT: _Option = (_is_wait, f"seconds, more than 0 and {_MAX_WAIT_S:.0f} at most")
_OPTIONS = {
    "username": _TEXT,
    "password": _TEXT,
    "client_name": _TEXT,
    "socket_timeout": _WAIT,
    "health_check_interval": _WHOLE,
    "max_connections": _POSITIVE,
}
_TCP_OPTIONS = {"socket_connect_timeout": _WAIT, "socket_keepalive": _SWITCH}
_TLS_OPTIONS = {
    **dict.fromkeys(("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password"), _TEXT),
    "ssl_cert_reqs": _VERIFICATION,
    "ssl_check_hostname": _SWITCH,
    "ssl_ciphers": _TEXT,
}
_DATABASE = {"db": _WHOLE}  # a cluster has only database 0
_SENTINEL = {"sentinel_username": _TEXT, "sentinel_password": _TEXT}
_STORES = {
    "redis": _DATABASE | _OPTIONS | _TCP_OPTIONS,
    "rediss": _DATABASE | _OPTIONS | _TCP_OPTIONS | _TLS_OPTIONS,
    "unix": _DATABASE | _OPTIONS,
    "redis+sentinel": _DATABASE | _OPTIONS | _TCP_OPTIONS | _TLS_OPTIONS | {"ssl": _SWITCH} | _SENTINEL,
    "redis+cluster": _OPTIONS | _TCP_OPTIONS | _TLS_OPTIONS | {"ssl": _SWITCH},
}
_NO_STORE = (
    "is no address of a store",
    f"one that begins with {', '.join(f'{scheme}://' for scheme in _STORES)}",
)


def find_host(text: str) -> str:
    """Return `host` or `host:port` of a URL, in lower case; empty if it isn't one."""
    parts = _split_url(text)
    return parts.netloc.rpartition("@")[2].lower() if parts else ""


def _split_url(text: str) -> SplitResult | None:
    if not is_web_link(text):
        return None
    try:
        parts = urlsplit(text)
        is_usable = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port beyond 65535, or an invalid IPv6 address
        return None
    return parts if is_usable else None
