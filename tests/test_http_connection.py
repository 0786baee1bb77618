"""One connection to servers and proxies that misbehave: its deadline, early answers, what may be reused."""

from __future__ import annotations

import gzip
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from receiver import http_connection
from receiver.errors import TemporaryDeliveryError
from receiver.http_client import parse_base_url, send_bytes, send_request
from receiver.http_connection import HttpConnection, HttpResponse, RequestNotSent, find_proxy, get_tls_context
from tests.hostile_servers import OK, HostileServer, Proxy, forward, read_head, read_request, tls_for
from tests.test_http_client import a_server_that_sends

VENDOR = "vendor.example.invalid"
NO_BODY = b"\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    yield
    http_connection._contexts.clear()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """The only CA that this process trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    return authority


def connect(url: str, timeout_s: float = 5.0) -> HttpConnection:
    return HttpConnection(url, time.monotonic() + timeout_s)


def post(connection: HttpConnection, url: str, body: bytes = b"{}", timeout_s: float = 5.0) -> HttpResponse:
    return connection.exchange("POST", url, {}, body, deadline=time.monotonic() + timeout_s)


# --- the deadline ---


@pytest.mark.parametrize(
    ("head", "rest"),
    [
        (b"HTTP/1.1 200 ", NO_BODY),
        (b"HTTP/1.1 200 OK\r\nX: ", NO_BODY),
        (b"HTTP/1.1 100 Continue\r\nX: ", b"\r\n\r\nHTTP/1.1 200 OK" + NO_BODY),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nX: ", NO_BODY),
        (CHUNKED + b"5;x=", b"\r\nhello\r\n0\r\n\r\n"),
        (CHUNKED + b"0\r\nX: ", b"\r\n\r\n"),
    ],
    ids=["status", "header", "continue", "early hints", "chunk", "trailer"],
)
def test_a_server_that_sends_byte_by_byte_has_one_deadline_for_all(head: bytes, rest: bytes) -> None:
    """The whole takes four seconds, and then ends in a valid response."""
    drops = [head, *[b"y"] * 200, rest]
    with (
        a_server_that_sends(*drops, then_waits_s=0.02) as url,
        pytest.raises(TemporaryDeliveryError, match=r"no answer within 0\.3 s"),
    ):
        send_request("POST", parse_base_url(url), "/", body={}, timeout_s=0.3)


@pytest.mark.parametrize(
    ("head", "flood", "rest"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", OK),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", OK),
        (CHUNKED, b"1\r\nx\r\n", b"0\r\n\r\n"),
        (CHUNKED + b"0\r\n", b"X: y\r\n", b"\r\n"),
    ],
    ids=["continue", "early hints", "chunks", "trailers"],
)
@pytest.mark.parametrize("size", [10, 16 * 1024 * 1024], ids=["small request", "large request"])
@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_a_server_that_floods_us_has_the_same_deadline(
    authority: trustme.CA, head: bytes, flood: bytes, rest: bytes, size: int, *, is_tls: bool
) -> None:
    """No read waits for it. It ends after three seconds with a valid response."""

    def send_much(client: socket.socket) -> None:
        read_head(client)
        client.sendall(head)
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            client.sendall(flood * 1000)
        client.sendall(rest)

    tls = tls_for(authority, "127.0.0.1") if is_tls else None
    with (
        HostileServer(send_much, tls).run() as server,
        pytest.raises(TemporaryDeliveryError, match=r"no answer within 0\.5 s"),
    ):
        send_bytes("POST", parse_base_url(server.url), "/", bytes(size), {}, timeout_s=0.5)


def test_a_server_that_reads_nothing_has_the_same_deadline() -> None:
    def read_slowly(client: socket.socket) -> None:
        for _ in range(200):
            client.recv(1)
            time.sleep(0.02)

    with (
        HostileServer(read_slowly).run() as server,
        pytest.raises(TemporaryDeliveryError, match=r"no answer within 0\.3 s") as caught,
    ):
        send_bytes("POST", parse_base_url(server.url), "/", bytes(16 * 1024 * 1024), {}, timeout_s=0.3)
    assert caught.value.maybe_sent


def test_a_tls_handshake_byte_by_byte_has_the_same_deadline(authority: trustme.CA) -> None:
    def drip(client: socket.socket) -> None:
        client.recv(65536)
        client.sendall(b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb")
        for _ in range(200):
            client.sendall(b"\x03")
            time.sleep(0.02)

    with HostileServer(drip).run() as server:
        address = parse_base_url(server.url.replace("http:", "https:"))
        with pytest.raises(TemporaryDeliveryError) as caught:
            send_request("POST", address, "/", body={}, timeout_s=0.3)
    assert (caught.value.reason, caught.value.maybe_sent) == ("unreachable", False)
    assert caught.value.detail == "no answer within 0.3 s"


def test_a_proxy_that_answers_byte_by_byte_has_the_same_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    drops = [b"HTTP/1.1 200 OK\r\nX: ", *[b"y"] * 200, b"\r\n\r\n"]
    with a_server_that_sends(*drops, then_waits_s=0.02) as url:
        monkeypatch.setenv("https_proxy", url)
        with pytest.raises(TemporaryDeliveryError) as caught:
            send_request("POST", parse_base_url(f"https://{VENDOR}"), "/", body={}, timeout_s=0.3)
    assert (caught.value.reason, caught.value.maybe_sent) == ("unreachable", False)
    assert caught.value.detail == "no answer within 0.3 s"


def test_the_next_address_of_a_host_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = taken.getsockname()
    with HostileServer(lambda client: (read_request(client), client.sendall(OK))).run() as server:
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", closed),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert send_request("GET", parse_base_url(f"http://{VENDOR}"), "/", timeout_s=5).is_ok
        found.reverse()
        assert send_request("GET", parse_base_url(f"http://{VENDOR}"), "/", timeout_s=5).is_ok


# --- early answers ---


@pytest.mark.parametrize("status", [413, 401])
@pytest.mark.parametrize("ending", ["closes", "waits", "hints"])
@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_an_answer_before_the_whole_request_was_sent_counts(
    authority: trustme.CA, status: int, ending: str, is_tls: bool
) -> None:
    """Linux keeps what was received when the server then resets the connection."""
    over = threading.Event()

    def answer_early(client: socket.socket) -> None:
        read_head(client)
        if ending == "hints":
            client.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        client.sendall(b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno" % status)
        if ending == "waits":
            over.wait(10)

    tls = tls_for(authority, "127.0.0.1") if is_tls else None
    with HostileServer(answer_early, tls).run() as server:
        body = bytes(16 * 1024 * 1024)
        found = send_bytes("POST", parse_base_url(server.url), "/", body, {}, timeout_s=5)
        assert (found.status, found.body) == (status, b"no")
        connection = connect(server.url)
        assert post(connection, server.url, body).status == status
        assert not connection.is_reusable()
        connection.close()
        over.set()


def test_a_server_that_closes_while_it_is_sent_to_may_have_got_the_request() -> None:
    with (
        HostileServer(read_head).run() as server,
        pytest.raises(TemporaryDeliveryError) as caught,
    ):
        send_bytes("POST", parse_base_url(server.url), "/", bytes(16 * 1024 * 1024), {}, timeout_s=5)
    assert (caught.value.reason, caught.value.maybe_sent) == ("no_answer", True)


# --- what a response may be ---


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n",
    ],
)
def test_interim_responses_are_skipped(interim: bytes) -> None:
    def answer(client: socket.socket) -> None:
        while read_request(client):
            client.sendall(interim + OK)

    with HostileServer(answer).run() as server:
        connection = connect(server.url)
        for _ in range(3):
            assert post(connection, server.url).parse_json() == {"ok": True}
            assert connection.is_reusable()
        connection.close()
        assert server.opened == 1


def test_a_chunked_response_with_trailers_leaves_the_connection_usable() -> None:
    chunked = CHUNKED + b'6;name="v"\r\n{"ok":\r\n5\r\ntrue}\r\n0\r\nETag: x\r\nX: y\r\n\r\n'

    def answer(client: socket.socket) -> None:
        while read_request(client):
            client.sendall(chunked)

    with HostileServer(answer).run() as server:
        connection = connect(server.url)
        for _ in range(3):
            assert post(connection, server.url).parse_json() == {"ok": True}
            assert connection.is_reusable()
        connection.close()


def test_a_compressed_response_that_no_one_asked_for_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(50 * 1024 * 1024))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    with a_server_that_sends(head + bomb) as url:
        found = send_request("GET", parse_base_url(url), "/", timeout_s=5)
    assert found.body == bomb


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 " + b"2" * 100_000 + b" OK\r\n\r\n",
        CHUNKED + b"fffffffffffffffff\r\nx",
        CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nhel",
        b"\x15\x03\x03\x00\x02\x02\x46",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx",
    ],
    ids=[
        "many headers",
        "long header",
        "long status",
        "long chunk",
        "negative chunk",
        "half chunk",
        "TLS",
        "half body",
    ],
)
def test_a_malformed_response_is_no_answer(answer: bytes) -> None:
    with a_server_that_sends(answer) as url, pytest.raises(TemporaryDeliveryError) as caught:
        send_request("POST", parse_base_url(url), "/", body={}, timeout_s=5)
    assert (caught.value.reason, caught.value.maybe_sent) == ("no_answer", True)


# --- what may be sent again over the same connection ---


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("surplus", [OK, b"HT", b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
@pytest.mark.parametrize("is_at_once", [True, False], ids=["in one piece", "later"])
def test_an_answer_that_no_one_asked_for_ends_the_connection(
    authority: trustme.CA, surplus: bytes, *, is_tls: bool, is_at_once: bool
) -> None:
    go_on, sent = threading.Event(), threading.Event()

    def answer_twice(client: socket.socket) -> None:
        read_request(client)
        client.sendall(OK + surplus if is_at_once else OK)
        if not is_at_once:
            go_on.wait(10)
            client.sendall(surplus)
        sent.set()
        read_request(client)

    tls = tls_for(authority, "127.0.0.1") if is_tls else None
    with HostileServer(answer_twice, tls).run() as server:
        connection = connect(server.url)
        assert post(connection, server.url).parse_json() == {"ok": True}
        if not is_at_once:
            assert connection.is_reusable()
        go_on.set()
        assert sent.wait(10)
        _wait_for_bytes(connection)
        assert not connection.is_reusable()
        connection.close()


def _wait_for_bytes(connection: HttpConnection) -> None:
    """Wait until what the server sent has arrived: it is in the buffer, or the socket is readable."""
    if connection._peek() is None:
        connection._stream.deadline = time.monotonic() + 10
        connection._stream.wait(1)


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
def test_a_connection_that_the_server_closed_is_not_used_again(
    authority: trustme.CA, *, is_tls: bool
) -> None:
    tls = tls_for(authority, "127.0.0.1") if is_tls else None
    server = HostileServer(lambda client: (read_request(client), client.sendall(OK)), tls)
    with server.run():
        connection = connect(server.url)
        post(connection, server.url)
        _wait_for_bytes(connection)
        assert not connection.is_reusable()
        connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        OK.replace(b"200 OK", b"200 OK\r\nConnection: close"),
        OK.replace(b"HTTP/1.1", b"HTTP/1.0"),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    ],
)
def test_a_connection_that_is_to_end_is_not_used_again(answer: bytes) -> None:
    over = threading.Event()
    server = HostileServer(lambda client: (read_request(client), client.sendall(answer), over.wait(10)))
    with server.run():
        connection = connect(server.url)
        post(connection, server.url)
        assert not connection.is_reusable()
        connection.close()
        over.set()


# --- proxies ---


def test_a_plain_address_is_requested_through_a_proxy_with_tls(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy()
    with HostileServer(proxy, tls_for(authority, "127.0.0.1")).run() as server:
        monkeypatch.setenv("http_proxy", server.url.replace("://", "://ana:pass%40word@"))
        address = parse_base_url(f"http://{VENDOR}:8080").with_token("t0ken")
        assert send_request("POST", address, "/a?b=c", body={}, timeout_s=5).parse_json() == {"ok": True}
    (request,) = proxy.requests
    assert request.startswith(b"POST http://%s:8080/a?b=c HTTP/1.1\r\n" % VENDOR.encode())
    assert b"\r\nHost: %s:8080\r\n" % VENDOR.encode() in request
    assert b"\r\nProxy-Authorization: Basic YW5hOnBhc3NAd29yZA==\r\n" in request
    assert b"\r\nAuthorization: Bearer t0ken\r\n" in request


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain proxy", "proxy with tls"])
def test_an_address_with_tls_is_requested_through_a_tunnel(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, *, is_tls: bool
) -> None:
    seen: list[bytes] = []

    def answer(client: socket.socket) -> None:
        while request := read_request(client):
            seen.append(request)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000)

    with HostileServer(answer, tls_for(authority, VENDOR)).run() as vendor:
        proxy = Proxy(vendor.port)
        tls = tls_for(authority, "127.0.0.1") if is_tls else None
        with HostileServer(proxy, tls).run() as server:
            monkeypatch.setenv("https_proxy", server.url.replace("://", "://ana:secret@"))
            url = f"https://{VENDOR}/a"
            connection = connect(url)
            for _ in range(2):
                found = connection.exchange(
                    "POST", url, {"Authorization": "x"}, b"y" * 3_000_000, deadline=time.monotonic() + 10
                )
                assert found.body == b"x" * 300_000
                assert connection.is_reusable()
            connection.close()
    (request,) = proxy.requests
    assert request.startswith(b"CONNECT %s:443 HTTP/1.1\r\n" % VENDOR.encode())
    assert b"Proxy-Authorization: Basic YW5hOnNlY3JldA==" in request
    assert b"\r\nAuthorization" not in request
    assert [len(one.partition(b"\r\n\r\n")[2]) for one in seen] == [3_000_000] * 2
    assert not any(b"Proxy-Authorization" in one for one in seen)


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain proxy", "proxy with tls"])
def test_a_server_behind_a_proxy_is_verified_too(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, *, is_tls: bool
) -> None:
    with HostileServer(read_head, tls_for(trustme.CA(), VENDOR)).run() as vendor:
        tls = tls_for(authority, "127.0.0.1") if is_tls else None
        with HostileServer(Proxy(vendor.port), tls).run() as server:
            monkeypatch.setenv("https_proxy", server.url)
            with pytest.raises(TemporaryDeliveryError, match="certificate is not trusted") as caught:
                send_request("POST", parse_base_url(f"https://{VENDOR}"), "/", body={}, timeout_s=5)
    assert (caught.value.reason, caught.value.maybe_sent) == ("unreachable", False)


def test_what_a_proxy_adds_to_its_answer_is_not_taken_for_that_of_the_server(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def inject(client: socket.socket) -> None:
        read_request(client)
        with socket.create_connection(("127.0.0.1", vendor.port)) as server:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + OK)
            back = threading.Thread(target=forward, args=(server, client), daemon=True)
            back.start()
            forward(client, server)
            over.wait(10)

    tls = tls_for(authority, VENDOR)
    with HostileServer(read_request, tls).run() as vendor, HostileServer(inject).run() as server:
        monkeypatch.setenv("https_proxy", server.url)
        with pytest.raises(TemporaryDeliveryError) as caught:
            send_request("POST", parse_base_url(f"https://{VENDOR}"), "/", body={}, timeout_s=5)
        over.set()
    assert (caught.value.reason, caught.value.maybe_sent) == ("unreachable", False)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_another_login_has_sent_nothing(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    with HostileServer(lambda client: (read_request(client), client.sendall(refusal))).run() as server:
        monkeypatch.setenv(f"{scheme}_proxy", server.url)
        with pytest.raises(TemporaryDeliveryError, match="the proxy answered 407") as caught:
            send_request("POST", parse_base_url(f"{scheme}://{VENDOR}"), "/", body={}, timeout_s=5)
    assert (caught.value.reason, caught.value.maybe_sent) == ("unreachable", False)


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("https://a.example", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("https://a.example", {"HTTPS_PROXY": "p:1"}, "http://p:1"),
        ("https://a.example", {"http_proxy": "http://p:1"}, ""),
        ("https://a.example", {"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ("https://a.example", {"https_proxy": "http://p:1", "no_proxy": "b.example, .example"}, ""),
        ("https://a.example", {"https_proxy": "http://p:1", "no_proxy": "*"}, ""),
        ("https://10.1.2.3:8080", {"https_proxy": "http://p:1", "no_proxy": "x, 10.0.0.0/8"}, ""),
        ("https://[fd00::5]", {"https_proxy": "http://p:1", "no_proxy": "fd00::/8"}, ""),
        ("https://11.1.2.3", {"https_proxy": "http://p:1", "no_proxy": "10.0.0.0/8"}, "http://p:1"),
        ("https://127.0.0.1", {"https_proxy": "http://p:1"}, ""),
    ],
)
def test_the_proxy_is_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, url: str, environment: dict[str, str], proxy: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert find_proxy(urlsplit(url)) == proxy


def test_a_proxy_of_another_kind_is_not_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1080")
    with pytest.raises(RequestNotSent):
        connect(f"https://{VENDOR}")


# --- certificates ---


@pytest.mark.parametrize("kind", ["default", "bundle"])
@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nMIIB"])
def test_while_the_file_of_ca_certificates_is_replaced_the_former_ones_stay(
    authority: trustme.CA, tmp_path: Path, content: bytes | None, kind: str
) -> None:
    bundle = tmp_path / "ca.pem"
    before = get_tls_context(str(bundle) if kind == "bundle" else "")
    bundle.unlink()
    if content is not None:
        bundle.write_bytes(content)
    during = get_tls_context(str(bundle) if kind == "bundle" else "")
    assert during is before
    assert (during.verify_mode, during.check_hostname) == (ssl.CERT_REQUIRED, True)
    renewed = trustme.CA()
    renewed.cert_pem.write_to_path(str(bundle))
    os.utime(bundle, ns=(0, 1))
    after = get_tls_context(str(bundle) if kind == "bundle" else "")
    assert after is not before
    assert after.get_ca_certs() != before.get_ca_certs()


def test_an_empty_default_file_of_ca_certificates_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    context = get_tls_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert get_tls_context() is context


def test_a_file_of_ca_certificates_that_never_was_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        get_tls_context(str(tmp_path / "none.pem"))
