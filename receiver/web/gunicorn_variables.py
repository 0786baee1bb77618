"""The environment variables that gunicorn reads by itself, put right before it is imported.

An empty one is an unset one, as with our own. gunicorn reads WEB_CONCURRENCY while it is imported, and fails
on anything that is no number. Nothing here may import gunicorn.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from ipaddress import ip_network

from receiver.errors import ConfigError, Problem

# systemd and gunicorn's own re-execution set the last three; --workers says how many workers there are.
_NUMBERS = ("WEB_CONCURRENCY", "GUNICORN_PID", "LISTEN_PID", "LISTEN_FDS")
_PROXIES = "FORWARDED_ALLOW_IPS"


def correct_gunicorn_variables(environ: MutableMapping[str, str]) -> None:
    """Remove from *environ* what would end gunicorn; raises ConfigError where a choice can't be read."""
    for name in _NUMBERS:
        value = environ.get(name, "").strip()
        if not (value.isascii() and value.isdigit() and int(value)):
            environ.pop(name, None)
    proxies = environ.get(_PROXIES, "").strip()
    if not proxies:
        environ.pop(_PROXIES, None)
        return
    try:
        for proxy in proxies.split(","):
            if proxy.strip() != "*":
                ip_network(proxy.strip())
    except ValueError:
        what = f"{_PROXIES} holds something that is no address and no network"
        expected = "those of your proxies, separated by commas, like 10.0.0.5,10.1.0.0/16"
        raise ConfigError([Problem("environment", 1, what, expected)]) from None
