"""The least an intake must do: decode, write each alert in one round trip, answer. Served as the receiver is.

`python -m bench.floor FD` serves on the listening socket FD, with the store at REDIS_URL.
"""

from __future__ import annotations

import os
import socket
import sys
from datetime import datetime
from typing import Any

from msgspec import Struct, json, msgpack

from receiver.config.model import Routing
from receiver.config.settings import Settings, load_settings
from receiver.web.gunicorn import WSGI, serve

WORKERS = 2


class _Alert(Struct, rename="camel"):
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: datetime
    ends_at: datetime
    fingerprint: str


class _Body(Struct, rename="camel"):
    group_key: str
    alerts: list[_Alert]


def build_floor(settings: Settings, _routing: Routing) -> WSGI:
    """Return the application; runs in a worker, where flask and redis may be imported."""
    import redis
    from flask import Flask, jsonify, request

    store = redis.Redis.from_url(settings.redis_url.reveal())
    decode, encode = json.Decoder(_Body).decode, msgpack.Encoder().encode
    app = Flask("floor")

    @app.post("/webhooks/alertmanager")
    def take() -> Any:
        body = decode(request.get_data())
        store.hset(f"group:{body.group_key}", mapping={one.fingerprint: encode(one) for one in body.alerts})
        return jsonify({"alerts": len(body.alerts)})

    return app


def main() -> None:
    listener = socket.socket(fileno=int(sys.argv[1]))
    serve(lambda: (load_settings(os.environ), Routing(routes=())), listener, WORKERS, build=build_floor)


if __name__ == "__main__":
    main()
