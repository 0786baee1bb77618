"""A small HTTP server on loopback that sends the responses set by the test and records its requests."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

_MAX_BODY = 1024 * 1024


@dataclass(frozen=True)
class StubRequest:
    method: str
    path: str
    query: dict[str, str]
    headers: Message
    body: Any


@dataclass(frozen=True)
class StubResponse:
    status: int = 200
    body: Any = None  # bytes are sent unchanged, everything else as JSON
    headers: dict[str, str] = field(default_factory=dict)


class Stub:
    """Responds to `METHOD /path` with the responses given to `set_response`, in turn; with 404 otherwise."""

    def __init__(self) -> None:
        self.requests: list[StubRequest] = []
        self._responses: dict[str, list[StubResponse]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._build_handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def set_response(self, what: str, *bodies: Any, status: int = 200, **headers: str) -> None:
        """Respond to *what* (`GET /path`) with *bodies* in turn, and with the last one from then on."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._responses[what] = [StubResponse(status, body, named) for body in (bodies or (None,))]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: StubRequest) -> StubResponse:
        self.requests.append(request)
        responses = self._responses.get(f"{request.method} {request.path}")
        if responses is None:
            return StubResponse(404, {"error": {"type": "not_found", "message": "no such thing"}})
        return responses.pop(0) if len(responses) > 1 else responses[0]

    def _build_handler(self) -> type[BaseHTTPRequestHandler]:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:  # the name is that of the base class
                self._serve()

            def do_POST(self) -> None:
                self._serve()

            def do_DELETE(self) -> None:
                self._serve()

            def _serve(self) -> None:
                size = min(int(self.headers.get("Content-Length") or 0), _MAX_BODY)
                raw = self.rfile.read(size)
                parts = urlsplit(self.path)
                query = dict(parse_qsl(parts.query))
                body = json.loads(raw) if raw else None
                responses = stub._answer(StubRequest(self.command, parts.path, query, self.headers, body))
                data = (
                    responses.body
                    if isinstance(responses.body, bytes)
                    else json.dumps(responses.body).encode()
                )
                self.send_response(responses.status)
                for name, value in responses.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                del format, args

        return Handler
