"""Parsing of REDIS_URL into the servers and the options of a connection.

    redis://, rediss://, unix://                          one server, as redis-py reads it
    redis+sentinel://[user:password@]host:port,…/service[/db]
    redis+cluster://[user:password@]host:port,…

The last two accept `?ssl=true` and the `ssl_…` parameters of rediss://. The credentials of the sentinels are
separate: `?sentinel_username=…&sentinel_password=…`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import redis
from redis.connection import parse_url

from receiver.storage.pool import NodeAddress

SENTINEL, CLUSTER = "redis+sentinel", "redis+cluster"
_DEFAULT_PORT = {SENTINEL: 26379, CLUSTER: 6379}


@dataclass(frozen=True)
class StoreAddress:
    """The parsed REDIS_URL. Fields that may hold a secret are not in its repr."""

    kind: str
    nodes: tuple[NodeAddress, ...] = ()
    service: str = ""
    connection_class: type = redis.Connection
    # Options of a connection to Redis, and those of a connection to a sentinel.
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    sentinel_options: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_encrypted(self) -> bool:
        return self.connection_class is redis.SSLConnection


def parse_store_url(url: str) -> StoreAddress:
    """Parse *url*. Raises ValueError if it is invalid; the message contains no password."""
    scheme = url.partition("://")[0]
    if scheme not in (SENTINEL, CLUSTER):
        options, connection_class = _parse_options(url)
        return StoreAddress(scheme, connection_class=connection_class, options=options)
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    nodes = tuple(_parse_node(host, _DEFAULT_PORT[scheme]) for host in hosts.split(",") if host.strip())
    if not nodes:
        raise ValueError("REDIS_URL names no host")
    service, _, db = parts.path.strip("/").partition("/")
    if scheme == SENTINEL and not service:
        raise ValueError("REDIS_URL with redis+sentinel:// ends in /SERVICE, the master's name")
    if scheme == CLUSTER and parts.path.strip("/") not in ("", "0"):
        raise ValueError("a Redis Cluster has only database 0")
    query = dict(parse_qsl(parts.query))
    extra = {name: query.pop(name, "") for name in ("ssl", "sentinel_username", "sentinel_password")}
    is_encrypted = extra["ssl"].lower() in ("1", "true", "yes") or any(
        one.startswith("ssl_") for one in query
    )
    single_scheme = "rediss" if is_encrypted else "redis"
    single_url = f"{single_scheme}://{login + '@' if login else ''}unused/{db}?{urlencode(query)}"
    options, connection_class = _parse_options(single_url)
    options.pop("host")
    sentinel_options = {name: value for name, value in options.items() if name.startswith("ssl_")}
    sentinel_options |= {
        name: extra[f"sentinel_{name}"] for name in ("username", "password") if extra[f"sentinel_{name}"]
    }
    return StoreAddress(scheme, nodes, unquote(service), connection_class, options, sentinel_options)


def _parse_options(url: str) -> tuple[dict[str, Any], type]:
    options = dict(parse_url(url))  # type: ignore[no-untyped-call]
    return options, options.pop("connection_class", redis.Connection)


def _parse_node(text: str, default_port: int) -> NodeAddress:
    try:
        parts = urlsplit(f"redis://{text.strip()}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port == 0:
        raise ValueError("REDIS_URL has a host:port that is none")
    return host, port or default_port
