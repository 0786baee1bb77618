"""Serves a small application as `receiver web` serves the real one; started by test_gunicorn.py.

Prints its port. The configuration is the text of the file `routing`; the text `faulty` is an invalid
configuration.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from receiver.errors import ConfigError, Problem
from receiver.logs import setup_logs
from receiver.web.gunicorn import serve
from receiver.web.server.listen import ListenAddress, open_listener

LARGE = b"x" * 20 * 1024 * 1024


def load() -> tuple[None, str]:
    text = Path("routing").read_text()
    if text == "faulty":
        raise ConfigError([Problem("routing", 1, "faulty")])
    return None, text


def build(settings, routing):
    def app(environ, start_response):
        if environ["PATH_INFO"] == "/slow":
            Path("asked").touch()
            time.sleep(1.5)
        if environ["PATH_INFO"] == "/large":
            start_response("200 OK", [("Content-Length", str(len(LARGE)))])
            return [LARGE]
        if environ["PATH_INFO"] == "/fault":
            raise RuntimeError("for nobody to hear")
        if environ["PATH_INFO"] == "/refused":
            start_response("401 Unauthorized", [("Content-Type", "text/plain"), ("Content-Length", "2")])
            return [b"no"]
        environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{routing} {os.getpid()}".encode()]

    return app


if __name__ == "__main__":
    setup_logs()
    listener = open_listener(ListenAddress("127.0.0.1", 0))
    Path("port.new").write_text(str(listener.getsockname()[1]))
    Path("port.new").rename("port")
    serve(load, listener, int(os.environ.get("WORKERS", "2")), build=build)
