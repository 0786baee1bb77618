"""A mock Alertmanager on loopback: the part of API v2 that the receiver uses, with a clock that the test
sets.

    with MockAlertmanager(clock=rig.clock) as alertmanager:
        client = AlertmanagerClient([alertmanager.url])
        alertmanager.fires(alertname="DiskFull")
        ...
        assert alertmanager.in_force() == [...]
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from receiver.model.alert import fingerprint

MAX_READ = 1024 * 1024
MAX_HANG_S = 30.0

Answer = tuple[int, object]


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class MockAlert:
    labels: dict[str, str]
    inhibited_by: list[str] = field(default_factory=list)
    muted_by: list[str] = field(default_factory=list)
    receivers: list[str] = field(default_factory=lambda: ["receiver"])


@dataclass(frozen=True)
class _Fault:
    status: int = 0  # respond with this status, without effect
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_dropped: bool = False  # process the request, then close the connection without a response
    is_hanging: bool = False  # process the request and never respond


class MockAlertmanager:
    """One Alertmanager replica. *prefix* is its path prefix; *login* (`user:password`) is required if given.

    After `stop()` it refuses connections. `start()` brings it back on the same port with its whole state,
    `restart()` only with its silences, as Alertmanager does not store alerts.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time, prefix: str = "", login: str = "") -> None:
        self.clock = clock
        self.alerts: dict[str, MockAlert] = {}
        self.silences: dict[str, dict[str, Any]] = {}
        self.requests: list[Request] = []
        self.up_since = clock()
        self.is_silent = False  # accepts connections and never responds
        self.dates_answers = True
        self._prefix = prefix
        self.login = login
        self._port = 0
        self._faults: deque[tuple[str, _Fault]] = deque()
        self._lock = threading.RLock()
        self._stopped = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    # --- start and stop

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._stopped.clear()
        self._server = _Server(("127.0.0.1", self._port), _Handler)
        self._server.owner = self
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.005,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections from now on and close those that wait for a response."""
        if self._server is None or self._thread is None:
            return
        server, self._server = self._server, None
        self._stopped.set()
        server.shutdown()
        server.server_close()
        self._thread.join(5)

    def restart(self) -> None:
        """Drop all alerts and begin a new uptime."""
        with self._lock:
            self.alerts.clear()
            self.up_since = self.clock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}{self._prefix}"

    # --- alerts and silences

    def fires(self, **labels: str) -> str:
        """Add a firing alert with *labels*; return its fingerprint."""
        with self._lock:
            key = fingerprint(labels)
            self.alerts.setdefault(key, MockAlert(labels))
            return key

    def resolves(self, **labels: str) -> None:
        """Remove the alert with *labels*."""
        with self._lock:
            self.alerts.pop(fingerprint(labels), None)

    def state_of(self, silence: Mapping[str, Any]) -> str:
        now = self.clock()
        if _seconds(silence["endsAt"]) <= now:
            return "expired"
        return "pending" if _seconds(silence["startsAt"]) > now else "active"

    def in_force(self) -> list[dict[str, Any]]:
        """Return the silences that are active, oldest first."""
        with self._lock:
            return [silence for silence in self.silences.values() if self.state_of(silence) == "active"]

    # --- faults

    def answer_next(
        self, method: str, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """Respond to the next request of *method* with *status* and *body*, without effect."""
        self._faults.append((method, _Fault(status, body, headers or {})))

    def drop_answer(self, method: str) -> None:
        """Process the next request of *method*, then close the connection without a response."""
        self._faults.append((method, _Fault(is_dropped=True)))

    def hang_next(self, method: str) -> None:
        """Process the next request of *method* and never respond."""
        self._faults.append((method, _Fault(is_dropped=True, is_hanging=True)))

    # --- one request

    def handle(self, request: Request) -> tuple[int, bytes, Mapping[str, str]] | None:
        """Return status, body and headers of the response; None to close the connection without a response."""
        with self._lock:
            self.requests.append(request)
            is_silent = self.is_silent
        if is_silent:
            self._stopped.wait(MAX_HANG_S)
            return None
        with self._lock:
            fault = self._take_fault(request.method)
            if fault.status:
                return fault.status, fault.body, fault.headers
            status, answer = self._answer(request)
        if fault.is_hanging:
            self._stopped.wait(MAX_HANG_S)
        if fault.is_dropped:
            return None
        return status, b"" if answer is None else json.dumps(answer).encode(), {}

    def _take_fault(self, method: str) -> _Fault:
        for entry in self._faults:
            if entry[0] == method:
                self._faults.remove(entry)
                return entry[1]
        return _Fault()

    def _answer(self, request: Request) -> Answer:
        parts = urlsplit(request.path)
        base = f"{self._prefix}/api/v2"
        if not parts.path.startswith(base):
            return 404, "page not found"
        match request.method, parts.path.removeprefix(base).split("/")[1:]:
            case "GET", ["status"]:
                return 200, {"uptime": _text(self.up_since), "cluster": {"status": "ready"}, "config": {}}
            case "GET", ["alerts"]:
                return 200, [self._render_alert(key, alert) for key, alert in self.alerts.items()]
            case "GET", ["silences"]:
                return 200, [self._render(silence_id) for silence_id in self.silences]
            case "POST", ["silences"]:
                return self._set_silence(request.body)
            case "GET", ["silence", silence_id]:
                known = unquote(silence_id) in self.silences
                return (200, self._render(silence_id)) if known else (404, None)
            case "DELETE", ["silence", silence_id]:
                return self._delete(silence_id)
        return 404, "page not found"

    def _render_alert(self, key: str, alert: MockAlert) -> dict[str, Any]:
        silenced_by = [
            silence["id"]
            for silence in self.in_force()
            if all(alert.labels.get(one["name"], "") == one["value"] for one in silence["matchers"])
        ]
        status = {"silencedBy": silenced_by, "inhibitedBy": alert.inhibited_by, "mutedBy": alert.muted_by}
        return {
            "fingerprint": key,
            "labels": alert.labels,
            "annotations": {},
            "startsAt": _text(self.clock() - 60),
            "updatedAt": _text(self.clock()),
            "endsAt": _text(self.clock() + 240),
            "status": {"state": "suppressed" if any(status.values()) else "active", **status},
            "receivers": [{"name": name} for name in alert.receivers],
        }

    def _render(self, silence_id: str) -> dict[str, Any]:
        silence = self.silences[silence_id]
        return {**silence, "status": {"state": self.state_of(silence)}}

    def _set_silence(self, request: dict[str, Any]) -> Answer:
        """Store a silence as Alertmanager does: update it if only its end differs, otherwise replace it."""
        if not request["matchers"] or _seconds(request["endsAt"]) <= max(
            self.clock(), _seconds(request["startsAt"])
        ):
            return 400, "silence invalid: end time can't be in the past"
        former = self.silences.get(request.get("id", ""))
        if request.get("id") and former is None:
            return 404, "silence not found"
        is_alike = former is not None and all(
            former[name] == request[name] for name in ("matchers", "startsAt")
        )
        if former is not None and is_alike and self.state_of(former) == "active":
            former.update(request)
            return 200, {"silenceID": former["id"]}
        if former is not None and self.state_of(former) != "expired":
            former["endsAt"] = _text(self.clock())
        silence_id = str(uuid.uuid4())
        starts_at = _text(max(_seconds(request["startsAt"]), self.clock()))
        self.silences[silence_id] = {**request, "id": silence_id, "startsAt": starts_at}
        return 200, {"silenceID": silence_id}

    def _delete(self, silence_id: str) -> Answer:
        silence = self.silences.get(unquote(silence_id))
        if silence is None:
            return 500, "silence not found"  # as Alertmanager 0.25 does; later versions respond with 404
        if self.state_of(silence) == "expired":
            return 500, f"silence {silence_id} already expired"
        silence["endsAt"] = _text(self.clock())
        return 200, None


def _text(at: float) -> str:
    """Return *at* in the format of Alertmanager."""
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _seconds(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: MockAlertmanager


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    wbufsize = 65536
    server: _Server

    def do_GET(self) -> None:
        owner = self.server.owner
        raw = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), MAX_READ))
        if owner.login and self.headers.get("Authorization", "") != _basic(owner.login):
            self._send(401, b"Unauthorized", {})
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = owner.handle(Request(self.command, self.path, headers, json.loads(raw) if raw else None))
        if answer is None:
            self._cut()
        else:
            self._send(*answer)

    do_POST = do_DELETE = do_GET  # noqa: N815

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        owner = self.server.owner
        if owner.dates_answers:
            self.send_header("Date", formatdate(owner.clock(), usegmt=True))
        for name, value in {"Content-Length": str(len(body)), "Connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):  # the client has closed the connection
            self.wfile.write(body)
            self.wfile.flush()

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def _basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()
