"""One request and its response, from servers that misbehave."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from receiver.errors import TemporaryDeliveryError
from receiver.http_client import parse_base_url, send_request
from tests.cli.stub import Stub


@contextmanager
def a_server_that_sends(*pieces: bytes, then_waits_s: float = 0.0) -> Iterator[str]:
    """Accept one connection, send the pieces with a pause after each, and close it."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                for piece in pieces:
                    try:
                        client.sendall(piece)
                    except OSError:
                        return
                    if over.wait(then_waits_s):
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            thread.join(5)


def test_a_redirect_is_not_followed_since_it_would_get_the_token() -> None:
    with Stub() as elsewhere, Stub() as stub:
        stub.set_response("GET /a", status=302, Location=f"{elsewhere.url}/b")
        assert (
            send_request("GET", parse_base_url(stub.url).with_token("t0ken"), "/a", timeout_s=5).status == 302
        )
        assert elsewhere.requests == []


def test_loopback_is_never_requested_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with Stub() as proxy, Stub() as stub:
        monkeypatch.setenv("http_proxy", proxy.url)
        stub.set_response("GET /a", {"is": "here"})
        assert send_request("GET", parse_base_url(stub.url), "/a", timeout_s=5).parse_json() == {"is": "here"}
        assert proxy.requests == []


def test_other_hosts_are_requested_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Stub() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        send_request("GET", parse_base_url("http://alerts.example.invalid"), "/a", timeout_s=5)
        assert len(proxy.requests) == 1


def test_a_hanging_server_times_out() -> None:
    with (
        a_server_that_sends(b"", then_waits_s=5) as url,
        pytest.raises(TemporaryDeliveryError, match=r"no answer within 0\.2 s"),
    ):
        send_request("GET", parse_base_url(url), "/", timeout_s=0.2)


def test_a_very_slow_response_times_out() -> None:
    drops = [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", *[b"x"] * 40]
    with (
        a_server_that_sends(*drops, then_waits_s=0.05) as url,
        pytest.raises(TemporaryDeliveryError, match="no answer within"),
    ):
        send_request("GET", parse_base_url(url), "/", timeout_s=0.3)


@pytest.mark.parametrize(
    "piece", [b"SSH-2.0-OpenSSH_9.2\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"]
)
def test_a_response_that_is_no_http_is_reported(piece: bytes) -> None:
    with a_server_that_sends(piece) as url, pytest.raises(TemporaryDeliveryError):
        send_request("GET", parse_base_url(url), "/", timeout_s=2)


def test_a_response_that_is_too_long_is_not_read() -> None:
    with Stub() as stub:
        stub.set_response("GET /a", b"x" * 100_000)
        with pytest.raises(TemporaryDeliveryError):
            send_request("GET", parse_base_url(stub.url), "/a", timeout_s=5, max_bytes=1000)


def test_an_invalid_token_is_not_quoted() -> None:
    with pytest.raises(TemporaryDeliveryError) as caught:
        send_request("GET", parse_base_url("http://127.0.0.1:1").with_token("t0ken\nX: y"), "/", timeout_s=5)
    assert "t0ken" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_unknown_host_name_is_reported() -> None:
    with pytest.raises(TemporaryDeliveryError):
        send_request("GET", parse_base_url("http://nowhere.invalid."), "/", timeout_s=5)


def test_a_login_is_never_shown() -> None:
    assert str(parse_base_url("https://ana:secret@am.example:9093/x")) == "https://am.example:9093/x"
