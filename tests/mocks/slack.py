"""A mock Slack on loopback that refuses what the real one refuses, and fails when the test wants it to.

    with MockSlack() as slack:
        ...  # point SLACK_API_URL at slack.url, with any token that starts with xoxb-
        assert slack.parents[0].channel == "#alerts-critical"

    slack.fail_next("chat.postMessage", status=429, retry_after=3)
    slack.drop_answer("chat.postMessage")   # takes effect, then closes the connection
    slack.enforce_limits()                  # 429 above Slack's rate limits

Socket Mode's connections are in `slack.connections`; messages posted to `slack.response_url` in
`slack.followups`.

Alone, printing each message and edit as a line of JSON: `python -m tests.mocks.slack --port 9090`.
"""

from __future__ import annotations

import argparse
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from tests.mocks.limits import BurstLimit, WindowLimit
from tests.mocks.slack_connections import MockSocketMode, new_ticket
from tests.mocks.slack_workspace import (
    CHANNELS,
    Answer,
    Arguments,
    Refused,
    SlackMessage,
    Workspace,
    a_user,
)

ANY = "*"
_MAX_BODY = 4 * 1024 * 1024
_TURN_S = 0.005


@dataclass
class Fault:
    """How the next calls of a method fail."""

    kind: str  # fail, hang, drop
    times: int = 1
    status: int = 200
    error: str = ""
    retry_after: float | None = None
    messages: tuple[str, ...] = ()
    body: bytes | None = None
    content_type: str = "application/json; charset=utf-8"
    seconds: float = 0.0


@dataclass(frozen=True)
class Call:
    """A request as received, whether it succeeded or not."""

    method: str
    arguments: Arguments
    at: float


class MockSlack:
    """The server. Its methods may be called from any thread, before and after it runs."""

    def __init__(
        self,
        channels: tuple[str, ...] = CHANNELS,
        *,
        token: str = "",
        port: int = 0,
        clock: Callable[[], float] = time.time,
        on_message: Callable[[str, SlackMessage], None] | None = None,
    ) -> None:
        """*token* is the only valid one (default: any bot token); *clock* gives the messages' ts."""
        self.workspace = Workspace(channels, clock)
        self.token = token
        self.is_silent = False  # accepts connections and never responds
        self.calls: list[Call] = []
        self.connections = MockSocketMode()
        self.followups: list[dict[str, Any]] = []  # posted to a response_url
        self.limited: list[Call] = []  # calls that were refused with 429
        self.opened = 0  # connections
        self._open: set[socket.socket] = set()
        self._limits: tuple[BurstLimit, WindowLimit] | None = None
        self._faults: dict[str, deque[Fault]] = {}
        self._on_message = on_message
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_TURN_S,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopped.set()
        self.connections.cut()
        self._server.shutdown()
        self._server.server_close()
        self.cut_connections()
        self._thread.join(5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/api/"

    @property
    def is_connected(self) -> bool:
        """Whether a client has a connection to it."""
        return bool(self._open)

    @property
    def response_url(self) -> str:
        """Return the URL for messages to the person who clicked a button or typed a command."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/words/1"

    # --- state -----------------------------------------------------------------------------

    @property
    def messages(self) -> list[SlackMessage]:
        """Return all messages with replies, oldest first, in their current version."""
        with self._changed:
            return list(self.workspace.messages)

    @property
    def parents(self) -> list[SlackMessage]:
        return [message for message in self.messages if not message.is_reply]

    def replies(self, parent: SlackMessage | None = None) -> list[SlackMessage]:
        """Return the replies to *parent*, or all replies."""
        replies = [message for message in self.messages if message.is_reply]
        return [
            m for m in replies if parent is None or (m.channel, m.thread_ts) == (parent.channel, parent.ts)
        ]

    def calls_of(self, method: str) -> list[Call]:
        with self._changed:
            return [call for call in self.calls if call.method == method]

    def wait_for(self, is_so: Callable[[], object], timeout_s: float = 10.0) -> bool:
        """Wait until *is_so* returns true after a call; return whether it did."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not is_so():
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return False
                self._changed.wait(remaining)
        return True

    def add_user(self, user_id: str, name: str, email: str = "", **fields: Any) -> None:
        """Add a user to the workspace: a full member unless *fields* say otherwise."""
        self.workspace.users = [one for one in self.workspace.users if one["id"] != user_id]
        self.workspace.users.append(a_user(user_id, name, email, **fields))

    def add_usergroup(self, group_id: str, handle: str, *members: str) -> None:
        self.workspace.usergroups.append({"id": group_id, "handle": handle, "name": handle})
        self.workspace.members[group_id] = list(members)

    def add_members(self, channel: str, *members: str) -> None:
        self.workspace.members[self.workspace.channels[channel.lstrip("#")]] = list(members)

    def archive(self, channel: str) -> None:
        self.workspace.archived.add(channel.lstrip("#"))

    def refuse_replies(self, place: SlackMessage | str, error: str) -> None:
        """Refuse replies to one message, or to every message of a channel, from now on."""
        ids = self.workspace.channels
        name = ids[place.lstrip("#")] if isinstance(place, str) else place.reference
        self.workspace.threads_refused[name] = error

    def delete_message(self, message: SlackMessage) -> None:
        """Delete the message, as a person would."""
        with self._changed:
            self.workspace.messages.remove(message)

    # --- faults ----------------------------------------------------------------------------

    def fail_next(
        self,
        method: str = ANY,
        *,
        status: int = 200,
        error: str = "",
        retry_after: float | None = None,
        times: int = 1,
        messages: tuple[str, ...] = (),
        body: bytes | None = None,
        content_type: str = "application/json; charset=utf-8",
    ) -> None:
        """Refuse the next calls without effect: with `ok: false` and *error*, or with a bare *body*."""
        self._plan(method, Fault("fail", times, status, error, retry_after, messages, body, content_type))

    def hang(self, method: str = ANY, seconds: float = 60.0, times: int = 1) -> None:
        """Delay the next calls; then they take effect and get the usual response."""
        self._plan(method, Fault("hang", times, seconds=seconds))

    def drop_answer(self, method: str = ANY, times: int = 1) -> None:
        """Let the next calls take effect, then close the connection without a response."""
        self._plan(method, Fault("drop", times))

    def enforce_limits(self, burst: int = 3) -> None:
        """Accept one message a second in a channel, *burst* at once, and 50 edits a minute from now on."""
        with self._changed:
            self._limits = BurstLimit(1.0, burst), WindowLimit(50, 60.0)

    def cut_connections(self) -> None:
        """Close the connections of all clients, as a server does that were idle for long."""
        with self._changed:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def heal(self) -> None:
        """Remove all faults."""
        self.is_silent = False
        with self._changed:
            self._faults.clear()

    def _plan(self, method: str, fault: Fault) -> None:
        with self._changed:
            self._faults.setdefault(method, deque()).append(fault)

    def _take_fault(self, method: str) -> Fault | None:
        for name in (method, ANY):
            waiting = self._faults.get(name)
            if waiting:
                fault = waiting[0]
                fault.times -= 1
                if fault.times <= 0:
                    waiting.popleft()
                return fault
        return None

    # --- calls -----------------------------------------------------------------------------

    def answer(self, method: str, headers: Message, body: bytes) -> tuple[int, dict[str, str], bytes] | None:
        """Return status, headers and body for one request; None to close the connection without a response."""
        arguments = _arguments(headers, body)
        with self._changed:
            self.calls.append(Call(method, arguments or {}, self.workspace.clock()))
            fault = self._take_fault(method)
            self._changed.notify_all()
        while self.is_silent:
            if self._stopped.wait(_TURN_S):
                return None
        if fault is not None and fault.kind == "hang" and self._stopped.wait(fault.seconds):
            return None
        if fault is not None and fault.kind == "fail":
            return _failure(fault)
        if wait := self._is_too_fast(method, arguments or {}):
            return _failure(Fault("fail", status=429, retry_after=wait))
        answer = self._perform(method, headers, arguments)
        if fault is not None and fault.kind == "drop":
            return None
        return _json(200, answer)

    def _is_too_fast(self, method: str, arguments: Arguments) -> int:
        """Return the seconds for Retry-After, 0 if the call is accepted."""
        if self._limits is None:
            return 0
        posts, edits = self._limits
        with self._changed:
            now, wait = self.workspace.clock(), 0
            if method == "chat.postMessage":
                wait = posts.acquire(self.workspace.name_channel(str(arguments.get("channel"))), now)
            elif method == "chat.update":
                wait = edits.acquire("", now)
            if wait:
                self.limited.append(self.calls[-1])
            return wait

    def record_followup(self, body: bytes) -> bytes:
        with self._changed:
            self.followups.append(json.loads(body))
            self._changed.notify_all()
        return b"ok"

    def _open_connection(self, headers: Message, arguments: Arguments | None) -> Answer:
        token = str(headers.get("Authorization", "")).removeprefix("Bearer ").strip()
        if not (token or str((arguments or {}).get("token"))).startswith("xapp-"):
            return {"ok": False, "error": "not_allowed_token_type"}
        port = self._server.server_address[1]
        return {"ok": True, "url": f"ws://127.0.0.1:{port}/link/?ticket={new_ticket()}&app_id=A1"}

    def _perform(self, method: str, headers: Message, arguments: Arguments | None) -> Answer:
        if method == "apps.connections.open":
            return self._open_connection(headers, arguments)
        with self._changed:
            try:
                answer = self.workspace.call(method, self._check_token(headers, arguments))
            except Refused as refused:
                return refused.answer
            finally:
                self._changed.notify_all()
            self._notify(method, answer)
            return answer

    def _check_token(self, headers: Message, arguments: Arguments | None) -> Arguments:
        if arguments is None:
            raise Refused("invalid_json")
        token = str(headers.get("Authorization", "")).removeprefix("Bearer ").strip()
        token = token or str(arguments.get("token") or "")
        if not token:
            raise Refused("not_authed")
        if token != self.token if self.token else not token.startswith("xoxb-"):
            raise Refused("invalid_auth")
        return arguments

    def _notify(self, method: str, answer: Answer) -> None:
        if self._on_message is not None and method.startswith("chat."):
            message = self.workspace.find(answer["channel"], answer["ts"])
            if message is not None:
                self._on_message(method, message)


def _arguments(headers: Message, body: bytes) -> Arguments | None:
    """Return the arguments, sent as JSON or as a form; None for malformed JSON."""
    text = body.decode("utf-8", "replace")
    if headers.get_content_type() != "application/json":
        return dict(parse_qsl(text, keep_blank_values=True))
    try:
        arguments = json.loads(text or "{}")
    except ValueError:
        return None
    return arguments if isinstance(arguments, dict) else None


def _failure(fault: Fault) -> tuple[int, dict[str, str], bytes]:
    headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
    if fault.body is not None:
        return fault.status, {**headers, "Content-Type": fault.content_type}, fault.body
    error = fault.error or ("ratelimited" if fault.status == 429 else "internal_error")
    answer: Answer = {"ok": False, "error": error}
    if fault.messages:
        answer["response_metadata"] = {"messages": list(fault.messages)}
    status, usual, body = _json(fault.status, answer)
    return status, {**usual, **headers}, body


def _json(status: int, answer: Answer) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/json; charset=utf-8"}, json.dumps(answer).encode()


def _handler(slack: MockSlack) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        timeout = 60  # a client that sends nothing must not occupy its thread for ever

        def setup(self) -> None:
            super().setup()
            with slack._changed:
                slack.opened += 1
                slack._open.add(self.connection)

        def finish(self) -> None:
            with slack._changed:
                slack._open.discard(self.connection)
                slack._changed.notify_all()
            with suppress(OSError):
                super().finish()

        def do_POST(self) -> None:
            length = min(int(self.headers.get("Content-Length") or 0), _MAX_BODY)
            body = self.rfile.read(length)
            if self.path.startswith("/words/"):
                self._send(200, {"Content-Type": "text/plain"}, slack.record_followup(body))
            else:
                self._answer(body)

        def do_GET(self) -> None:
            if self.path.startswith("/link/"):
                slack.connections.serve(self)
                return
            del self.headers["Content-Type"]
            self._answer(urlsplit(self.path).query.encode())

        def _answer(self, body: bytes) -> None:
            method = urlsplit(self.path).path.removeprefix("/api").strip("/")
            answer = slack.answer(method, self.headers, body)
            if answer is None:
                self.close_connection = True
            else:
                self._send(*answer)

        def _send(self, status: int, headers: dict[str, str], payload: bytes) -> None:
            try:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(payload))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(payload)
            except OSError:  # the client has closed the connection, for example after its timeout
                self.close_connection = True

        def log_message(self, *_arguments: Any) -> None:
            pass

    return Handler


def _print(method: str, message: SlackMessage) -> None:
    record = {"method": method, **asdict(message)}
    record.pop("versions")
    print(json.dumps(record, ensure_ascii=False), flush=True)


def main() -> None:
    """Serve until interrupted and print what arrives."""
    parser = argparse.ArgumentParser(description="A mock Slack on loopback")
    parser.add_argument("--port", type=int, default=9090)
    parser.add_argument("--channel", action="append", default=[], help="one more channel")
    options = parser.parse_args()
    with MockSlack((*CHANNELS, *options.channel), port=options.port, on_message=_print) as slack:
        print(json.dumps({"url": slack.url}), flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
