"""All clients over TLS: each loads the CA certificates once, loads changed ones again, and verifies each server."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import trustme

from receiver import http_connection
from receiver.errors import TemporaryDeliveryError
from receiver.http_client import parse_base_url, send_request
from receiver.integrations.pagerduty.session import post_event
from receiver.integrations.slack.client import SlackClient, post_response
from receiver.integrations.slack.socket_mode import SocketModeConnection, SocketModeTimings
from receiver.text import Secret
from tests.hostile_servers import HostileServer, read_request, tls_for

EVENT = {"event_action": "trigger", "dedup_key": "x", "payload": {}}


class _Vendor(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"ok": true, "status": "success"}'
        self.send_response(202 if self.path.endswith("enqueue") else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_loaded_certificates() -> Iterator[None]:
    yield
    http_connection._contexts.clear()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """The only CA that this process trusts."""
    authority = trustme.CA()
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(bundle))
    return authority


def serve(issuer: trustme.CA, host: str) -> ThreadingHTTPServer:
    """Return a running server on this host, with a certificate of *issuer* for *host*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert(host).configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Vendor)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every load of CA certificates from a file."""
    made: list[object] = []
    load, load_default = ssl.SSLContext.load_verify_locations, ssl.SSLContext.load_default_certs

    def count(context: ssl.SSLContext, *args: object, **options: object) -> None:
        made.append((args, options))
        load(context, *args, **options)  # type: ignore[arg-type]

    def count_default(context: ssl.SSLContext, *args: ssl.Purpose) -> None:
        made.append(args)
        load_default(context, *args)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", count)
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", count_default)
    return made


def test_each_client_loads_the_certificates_once(authority: trustme.CA, loads: list[object]) -> None:
    server = serve(authority, "127.0.0.1")
    try:
        url = f"https://127.0.0.1:{server.server_address[1]}"
        slack = SlackClient(Secret("xoxb-1"), f"{url}/api/", 5.0)
        for _ in range(3):
            assert slack.post_json("chat.postMessage", {"channel": "C1"})["ok"]
            assert post_event(url, Secret("r" * 32), EVENT, 5.0).is_ok
        assert len(loads) == 2
    finally:
        server.shutdown()


def test_requests_to_alertmanager_and_responses_to_slack_load_them_once_too(
    authority: trustme.CA, loads: list[object]
) -> None:
    server = serve(authority, "127.0.0.1")
    try:
        url = f"https://127.0.0.1:{server.server_address[1]}"
        for _ in range(3):
            assert send_request("POST", parse_base_url(url), "/api", body={}, timeout_s=5.0).status == 200
            post_response(f"{url}/response", {"text": "done"}, 5.0)
        assert len(loads) == 1
    finally:
        server.shutdown()


def test_certificates_that_are_replaced_are_trusted_without_a_restart(
    authority: trustme.CA, tmp_path: Path
) -> None:
    former, renewed = serve(authority, "127.0.0.1"), trustme.CA()
    server = serve(renewed, "127.0.0.1")
    try:
        urls = [f"https://127.0.0.1:{one.server_address[1]}" for one in (former, server)]
        slack = [SlackClient(Secret("xoxb-1"), f"{url}/api/", 5.0) for url in urls]
        assert slack[0].post_json("chat.postMessage", {"channel": "C1"})["ok"]
        assert post_event(urls[0], Secret("r" * 32), EVENT, 5.0).is_ok
        bundle = tmp_path / "ca.pem"
        renewed.cert_pem.write_to_path(str(bundle))
        os.utime(bundle, ns=(0, bundle.stat().st_mtime_ns + 1))
        assert slack[1].post_json("chat.postMessage", {"channel": "C1"})["ok"]
        assert post_event(urls[1], Secret("r" * 32), EVENT, 5.0).is_ok
        with pytest.raises(TemporaryDeliveryError):
            post_event(urls[0], Secret("r" * 32), EVENT, 5.0)
        with pytest.raises(TemporaryDeliveryError):
            slack[0].post_json("chat.postMessage", {"channel": "C1"})
    finally:
        former.shutdown()
        server.shutdown()


@pytest.mark.parametrize("wrong", ["issuer", "host"])
def test_a_server_with_a_wrong_certificate_gets_nothing(authority: trustme.CA, wrong: str) -> None:
    issuer = trustme.CA() if wrong == "issuer" else authority
    server = serve(issuer, "127.0.0.1" if wrong == "issuer" else "192.0.2.1")
    try:
        url = f"https://127.0.0.1:{server.server_address[1]}"
        with pytest.raises(TemporaryDeliveryError) as caught:
            post_event(url, Secret("r" * 32), EVENT, 5.0)
        assert (caught.value.reason, caught.value.maybe_sent) == ("unreachable", False)
        with pytest.raises(TemporaryDeliveryError):
            SlackClient(Secret("xoxb-1"), f"{url}/api/", 5.0).post_json("chat.postMessage", {"channel": "C1"})
    finally:
        server.shutdown()


def test_a_missing_file_of_certificates_counts_as_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent/ca.pem")
    with pytest.raises(TemporaryDeliveryError):
        post_event("https://192.0.2.1:9", Secret("r" * 32), EVENT, 0.5)


def test_socket_mode_is_verified_with_the_same_certificates(authority: trustme.CA, tmp_path: Path) -> None:
    """Also while their file is being replaced; slack_sdk would load what is there."""
    response = b'{"ok": true, "url": "wss://127.0.0.1:1/link"}'
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(response)
    server = HostileServer(
        lambda client: (read_request(client), client.sendall(head + response)),
        tls_for(authority, "127.0.0.1"),
    )
    with server.run():
        before = http_connection.get_tls_context()
        (tmp_path / "ca.pem").unlink()
        connection = SocketModeConnection(Secret("xapp-1"), f"{server.url}/api/", SocketModeTimings())
        try:
            assert connection.issue_new_wss_url() == "wss://127.0.0.1:1/link"
            assert connection.web_client.ssl is before
        finally:
            connection.close_for_good()
