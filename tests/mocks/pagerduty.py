"""A mock PagerDuty on loopback: Events API v2, the reading part of the REST API, and webhooks.

It is as strict as the real one and fails when the test wants it to. Actions of people are methods
(`acknowledges`, `resolves`, …); webhooks wait in `webhooks` until the test delivers them.

    with MockPagerDuty() as pagerduty:
        channel = PagerDutyChannel(pagerduty.url)
        pagerduty.fail_next(503)
        ...
        assert [incident.state for incident in pagerduty.opened(ROUTING_KEY)] == ["triggered"]

`python -m tests.mocks.pagerduty --port 4511` runs it alone and prints every event it accepts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.mocks.limits import WindowLimit
from tests.mocks.pagerduty_account import Account
from tests.mocks.pagerduty_rest import Answer, Query, Rest
from tests.mocks.pagerduty_rules import MAX_EVENT, find_errors
from tests.mocks.pagerduty_webhooks import Webhooks

MAX_READ = 8 * 1024 * 1024
MAX_HANG_S = 60.0


@dataclass(frozen=True)
class Request:
    """One request as received; *status* is the status of the response, 0 if there was none."""

    at: float
    body: dict[str, Any]
    size: int
    status: int


@dataclass(frozen=True)
class _Fault:
    """How one request fails."""

    status: int = 0  # respond with this status, without effect
    retry_after: float | str | None = None
    hangs_for: float = 0.0  # process the event, respond after so many seconds
    is_dropped: bool = False  # process the event, never respond
    words: str = ""


class MockPagerDuty(Account):
    """The Events API v2 on 127.0.0.1, and the incidents that PagerDuty would have.

    Every key of 32 letters and digits is valid unless *routing_keys* lists the valid ones. *clock* gives the
    recorded times. After `stop()` it refuses connections; `start()` brings it back on the same port with its
    whole state.
    """

    def __init__(
        self,
        routing_keys: Collection[str] | None = None,
        *,
        clock: Callable[[], float] = time.time,
        port: int = 0,
    ) -> None:
        super().__init__(clock)
        self.rest = Rest(self)
        self.webhooks = Webhooks(clock)
        self.on_change = self.webhooks.add
        self.requests: list[Request] = []
        self.refuses_details = False  # a 400 for every event with custom details
        self.routing_keys = routing_keys
        self._port = port
        self._limit: WindowLimit | None = None
        self._faults: deque[_Fault] = deque()
        self._is_silent = False
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    # --- start and stop

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
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
        with self._changed:
            self._changed.notify_all()
        server.shutdown()
        server.server_close()
        self._thread.join(5)

    def now(self) -> float:
        """Return the time of PagerDuty's clock."""
        return self._clock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    # --- faults

    def fail_next(
        self, status: int = 503, *, retry_after: float | str | None = None, times: int = 1, words: str = ""
    ) -> None:
        """Respond to the next *times* requests with *status*, without effect."""
        self._faults.extend([_Fault(status, retry_after, words=words)] * times)

    def hang(self, seconds: float, times: int = 1) -> None:
        """Process the next events, but respond only after *seconds* (or when stopped)."""
        self._faults.extend([_Fault(hangs_for=min(seconds, MAX_HANG_S))] * times)

    def drop_answer(self, times: int = 1) -> None:
        """Process the next events, then close the connection without a response."""
        self._faults.extend([_Fault(is_dropped=True)] * times)

    def enforce_limits(self, count: int = 120) -> None:
        """Accept at most *count* events in any 60 s for each routing key; the real PagerDuty accepts 120."""
        with self._changed:
            self._limit = WindowLimit(count, 60.0)

    @property
    def limited(self) -> list[Request]:
        """Return the requests that were refused with 429."""
        return [request for request in self.requests if request.status == 429]

    @property
    def is_silent(self) -> bool:
        """While true, connections are accepted but no event is processed and no response sent."""
        return self._is_silent

    @is_silent.setter
    def is_silent(self, value: bool) -> None:
        with self._changed:
            self._is_silent = value
            self._changed.notify_all()

    # --- results

    def wait_until(self, claim: Callable[[MockPagerDuty], object], timeout_s: float = 10.0) -> None:
        """Return as soon as *claim* is true; AssertionError after *timeout_s*."""
        with self._changed:
            if self._changed.wait_for(lambda: claim(self), timeout_s):
                return
        events = [(event.action, event.dedup_key) for event in self.events]
        raise AssertionError(f"not so within {timeout_s} s; requests {len(self.requests)}, events {events}")

    # --- one request

    def handle(self, raw: bytes) -> tuple[int, dict[str, str], dict[str, Any]] | None:
        """Return status, headers and body of the response to *raw*; None to close the connection without one."""
        server = self._server
        with self._changed:
            if self._is_silent:
                self._record_request(raw, 0)
                self._changed.wait_for(lambda: not self._is_silent or self._server is not server, MAX_HANG_S)
                return None
            fault = self._faults.popleft() if self._faults else _Fault()
            status, headers, answer = self._answer(raw, fault)
            self._record_request(raw, 0 if fault.is_dropped else status)
            if fault.hangs_for:
                self._changed.wait_for(lambda: self._server is not server, fault.hangs_for)
        return None if fault.is_dropped or self._server is not server else (status, headers, answer)

    def handle_get(self, path: str, query: Query, headers: Mapping[str, str]) -> Answer | None:
        """Return the response to a GET of the REST API; the same faults apply to it."""
        server = self._server
        with self._changed:
            if self._is_silent:
                self._changed.wait_for(lambda: not self._is_silent or self._server is not server, MAX_HANG_S)
                return None
            fault = self._faults.popleft() if self._faults else _Fault()
            answer = _refuse(fault) if fault.status else self.rest.answer(path, query, headers)
            self._changed.notify_all()
            if fault.hangs_for:
                self._changed.wait_for(lambda: self._server is not server, fault.hangs_for)
        return None if fault.is_dropped or self._server is not server else answer

    def _answer(self, raw: bytes, fault: _Fault) -> tuple[int, dict[str, str], dict[str, Any]]:
        if fault.status:
            return _refuse(fault)
        errors = self._find_errors(raw)
        if errors:
            return (
                400,
                {},
                {"status": "invalid event", "message": "Event object is invalid", "errors": errors},
            )
        event = json.loads(raw)
        if self._limit is not None and (wait := self._limit.acquire(event["routing_key"], self._clock())):
            return _refuse(_Fault(429, wait, words="Requests throttled"))
        dedup_key = self.process_event(event)
        return 202, {}, {"status": "success", "message": "Event processed", "dedup_key": dedup_key}

    def _find_errors(self, raw: bytes) -> list[str]:
        if len(raw) > MAX_EVENT:
            return [f"Event is {len(raw)} bytes, at most {MAX_EVENT} are allowed"]
        event = _parse(raw)
        if event is None:
            return ["JSON parse error"]
        errors = find_errors(event)
        if not errors and self.routing_keys is not None and event["routing_key"] not in self.routing_keys:
            errors.append("Invalid routing key")
        if self.refuses_details and event.get("payload", {}).get("custom_details"):
            errors.append("'custom_details' is refused today")
        return errors

    def _record_request(self, raw: bytes, status: int) -> None:
        self.requests.append(Request(self._clock(), _parse(raw) or {}, len(raw), status))
        self._changed.notify_all()


def _refuse(fault: _Fault) -> Answer:
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return fault.status, headers, {"status": "error", "message": fault.words or f"asked for {fault.status}"}


def _parse(raw: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    owner: MockPagerDuty


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30  # closes a connection without requests
    wbufsize = 65536  # headers and body in one packet, so that Nagle's algorithm adds no wait
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(min(length, MAX_READ))
        if self.path != "/v2/enqueue":
            self._send(404, {}, {"status": "error", "message": "Not Found"})
            return
        answer = self.server.owner.handle(raw)
        if answer is None:
            self._cut()
        else:
            self._send(*answer)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        answer = self.server.owner.handle_get(parts.path, parse_qs(parts.query), self.headers)
        if answer is None:
            self._cut()
        else:
            self._send(*answer)

    def _send(self, status: int, headers: dict[str, str], answer: dict[str, Any] | bytes) -> None:
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body)
            self.wfile.flush()
        except OSError:  # the client has closed the connection
            self.close_connection = True

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the Date header by PagerDuty's own clock."""
        return super().date_time_string(self.server.owner.now() if timestamp is None else timestamp)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=4511)
    mock = MockPagerDuty(port=parser.parse_args().port)
    with mock:
        print(f"PAGERDUTY_EVENTS_URL={mock.url}", flush=True)
        seen = 0
        try:
            while True:
                time.sleep(0.2)
                for event in mock.events[seen:]:
                    seen += 1
                    print(json.dumps(event.body), flush=True)
        except KeyboardInterrupt:
            sys.exit(0)


if __name__ == "__main__":
    main()
