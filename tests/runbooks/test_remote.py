"""Runbooks behind a link: fetched only from allowed hosts, and without delaying a message."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from receiver.model.alert import Alert
from receiver.runbooks.remote import MAX_BYTES, TIMEOUT_S, RunbookFetcher
from tests.support.catalogues import a_catalogue

PUBLIC = "93.184.216.34"
WORDS = "# DiskFull\n\n## Meaning\n\nIt is full.\n\n## Mitigation\n\n1. Free it.\n"


class Wiki:
    """A server of runbooks on loopback that records its requests."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.gate = threading.Event()
        self.gate.set()
        wiki = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                wiki.requests.append(self.path)
                wiki.gate.wait(5)
                status, headers, body = wiki.pages.get(self.path, (404, {}, b""))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def has(self, path: str, body: str | bytes = WORDS, status: int = 200, **headers: str) -> None:
        headers = {"Content-Type": "text/markdown; charset=utf-8"} | {
            k.replace("_", "-"): v for k, v in headers.items()
        }
        self.pages[path] = (status, headers, body if isinstance(body, bytes) else body.encode())

    def connect(self, host: str, port: int, address: str) -> http.client.HTTPConnection:
        """Replaces TLS to the resolved address; the rest of the request is real."""
        return http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=3)

    def stop(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


@pytest.fixture
def wiki() -> Iterator[Wiki]:
    wiki = Wiki()
    yield wiki
    wiki.stop()


WAIT_S = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def a_fetcher(wiki: Wiki, *allowed: str, addresses=(PUBLIC,), clock=None) -> RunbookFetcher:
    return RunbookFetcher(
        allowed or ("wiki.example.org",), clock or Clock(), wiki.connect, lambda host, port: list(addresses)
    )


def read(fetcher: RunbookFetcher, url: str) -> list[str]:
    index = fetcher.find_index(url, WAIT_S)
    return [match.name for match in index.list_linked(url) if not match.problem] if index else []


def test_a_runbook_is_available_at_the_second_request(wiki):
    wiki.has("/DiskFull.md")
    fetcher = a_fetcher(wiki)
    assert fetcher.find_index("https://wiki.example.org/DiskFull.md") is None
    assert read(fetcher, "https://wiki.example.org/DiskFull.md") == ["DiskFull"]
    assert wiki.requests == ["/DiskFull.md"]


def test_a_hanging_server_delays_no_message_and_is_requested_once(wiki):
    wiki.has("/DiskFull.md")
    wiki.gate.clear()
    fetcher = a_fetcher(wiki)
    started = time.monotonic()
    for _ in range(50):
        assert fetcher.find_index("https://wiki.example.org/DiskFull.md") is None
    assert time.monotonic() - started < 1
    wiki.gate.set()
    assert read(fetcher, "https://wiki.example.org/DiskFull.md") == ["DiskFull"]
    assert wiki.requests == ["/DiskFull.md"]


@pytest.mark.parametrize(
    "url",
    [
        "http://wiki.example.org/DiskFull.md",
        "https://evil.example/DiskFull.md",
        "https://wiki.example.org.evil.example/DiskFull.md",
        "https://evil.example@wiki.example.org/DiskFull.md",
        "https://wiki.example.org:8443/DiskFull.md",
        "https://wiki.example.org:x/DiskFull.md",
        "https://[::1/DiskFull.md",
        "ftp://wiki.example.org/DiskFull.md",
        "https://wiki.example.org/DiskFull.md?" + "x" * 2000,  # it would be kept as a key
        "",
    ],
)
def test_other_hosts_ports_and_schemes_are_never_requested(wiki, url):
    fetcher = a_fetcher(wiki)
    assert read(fetcher, url) == []
    assert wiki.requests == []


def test_another_port_is_allowed_if_it_is_configured(wiki):
    wiki.has("/DiskFull.md")
    assert read(a_fetcher(wiki, "WIKI.example.org:8443"), "https://wiki.example.org:8443/DiskFull.md") == [
        "DiskFull"
    ]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "::1",
        "fe80::1%eth0",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "fd00::1",
        "100.64.0.1",
        "::ffff:10.0.0.1",
        "::10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::5db8:d822",
        "::ffff:0:10.0.0.1",
        "::ffff:0:127.0.0.1",
        "fec0::1",
        "feff::1",
        "2002:0a00:0001::1",
        "2002:7f00:0001::",
        "2001:db8::1",
        "3fff::1",
        "5f00::1",
        "192.88.99.1",
        "192.0.0.8",
        "168.63.129.16",
        "::ffff:168.63.129.16",
        "2606:2800:220:1:0:5efe:a00:1",
        "2606:2800:220:1:200:5efe:10.0.0.1",
        "not an address",
    ],
)
def test_a_name_that_resolves_to_a_private_address_is_refused(wiki, address):
    wiki.has("/DiskFull.md")
    fetcher = a_fetcher(wiki, addresses=(PUBLIC, address))
    assert read(fetcher, "https://wiki.example.org/DiskFull.md") == []
    assert wiki.requests == []


@pytest.mark.parametrize("address", ["2606:2800:220:1::1", "64:ff9b::93.184.216.34", "2002:5db8:d822::1"])
def test_a_name_that_resolves_to_a_public_address_is_accepted(wiki, address):
    wiki.has("/DiskFull.md")
    assert read(a_fetcher(wiki, addresses=(address,)), "https://wiki.example.org/DiskFull.md") == ["DiskFull"]


def test_the_connection_uses_the_checked_address(wiki):
    """The name is resolved only once, as a DNS server may return another address the second time."""
    requests, reached = [], []

    def resolve(host, port):
        requests.append(host)
        return [PUBLIC] if len(requests) == 1 else ["127.0.0.1"]

    def connect(host, port, address):
        reached.append(address)
        return wiki.connect(host, port, address)

    wiki.has("/DiskFull.md")
    fetcher = RunbookFetcher(("wiki.example.org",), Clock(), connect, resolve)
    assert read(fetcher, "https://wiki.example.org/DiskFull.md") == ["DiskFull"]
    assert (requests, reached) == (["wiki.example.org"], [PUBLIC])


def test_the_target_of_a_redirect_is_checked(wiki):
    wiki.has("/old", "", 302, Location="/DiskFull.md")
    wiki.has("/DiskFull.md")
    answers = [[PUBLIC], ["10.0.0.1"]]
    fetcher = RunbookFetcher(
        ("wiki.example.org",), Clock(), wiki.connect, lambda host, port: answers.pop(0) if answers else []
    )
    assert read(fetcher, "https://wiki.example.org/old") == []
    assert wiki.requests == ["/old"]


def test_a_very_slow_response_times_out(wiki):
    """Each header arrives in time, but there is no end of them."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            client, _ = server.accept()
            with client, suppress(OSError):
                client.sendall(b"HTTP/1.1 200 OK\r\n")
                while True:
                    client.sendall(b"X: y\r\n")
                    time.sleep(0.3)

        thread = threading.Thread(target=drip)
        thread.start()
        port = server.getsockname()[1]
        fetcher = RunbookFetcher(
            ("wiki.example.org",),
            Clock(),
            lambda host, _port, address: http.client.HTTPConnection("127.0.0.1", port, timeout=3),
            lambda host, _port: [PUBLIC],
        )
        started = time.monotonic()
        assert read(fetcher, "https://wiki.example.org/x") == []
        assert time.monotonic() - started < TIMEOUT_S + 3
        thread.join(10)


def test_a_private_address_is_accepted_if_it_is_allowed_itself(wiki):
    wiki.has("/DiskFull.md")
    assert read(a_fetcher(wiki, "127.0.0.1", addresses=()), "https://127.0.0.1/DiskFull.md") == ["DiskFull"]


def test_a_redirect_on_the_same_host_is_followed(wiki):
    wiki.has("/old", "", 302, Location="/DiskFull.md")
    wiki.has("/DiskFull.md")
    assert read(a_fetcher(wiki), "https://wiki.example.org/old") == ["DiskFull"]


@pytest.mark.parametrize(
    "location",
    [
        "https://other.example.org/DiskFull.md",
        "http://wiki.example.org/DiskFull.md",
        "//evil.example/x",
        "/loop",
        "",
    ],
)
def test_other_redirects_are_refused(wiki, location):
    wiki.has("/loop", "", 302, Location=location)
    wiki.has("/DiskFull.md")
    fetcher = a_fetcher(wiki, "wiki.example.org", "other.example.org")
    assert read(fetcher, "https://wiki.example.org/loop") == []
    assert set(wiki.requests) == {"/loop"}
    assert len(wiki.requests) <= 4


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (WORDS, 404, "text/markdown"),
        (WORDS, 500, "text/markdown"),
        (WORDS, 200, "text/html"),
        (b"x" * (MAX_BYTES + 1), 200, "text/plain"),
        (b"\xff\xfe\x00", 200, "text/plain"),
        ("", 200, "text/plain"),
    ],
)
def test_a_response_that_is_no_runbook_gives_none(wiki, body, status, kind):
    wiki.has("/x", body, status, Content_Type=kind)
    assert read(a_fetcher(wiki), "https://wiki.example.org/x") == []


def test_a_runbook_is_cached_for_ten_minutes(wiki):
    wiki.has("/DiskFull.md")
    clock = Clock()
    fetcher = a_fetcher(wiki, clock=clock)
    read(fetcher, "https://wiki.example.org/DiskFull.md")
    clock.now += 599
    read(fetcher, "https://wiki.example.org/DiskFull.md")
    assert len(wiki.requests) == 1
    clock.now += 1
    read(fetcher, "https://wiki.example.org/DiskFull.md")
    assert len(wiki.requests) == 2


def test_a_stale_runbook_is_used_while_its_server_is_unavailable_and_requested_again_after_a_minute(wiki):
    wiki.has("/DiskFull.md")
    clock = Clock()
    fetcher = a_fetcher(wiki, clock=clock)
    read(fetcher, "https://wiki.example.org/DiskFull.md")
    wiki.has("/DiskFull.md", "", 500)
    clock.now += 600
    assert read(fetcher, "https://wiki.example.org/DiskFull.md") == ["DiskFull"]
    wiki.has("/DiskFull.md", WORDS.replace("DiskFull", "DiskFuller"))
    clock.now += 60
    assert read(fetcher, "https://wiki.example.org/DiskFull.md") == ["DiskFuller"]


def an_alert(name: str = "DiskFull") -> Alert:
    return Alert("f" * 16, {"alertname": name}, {"runbook_url": "https://wiki.example.org/DiskFull.md"}, 0.0)


def test_the_catalogue_returns_first_the_link_and_later_the_text(wiki, tmp_path):
    wiki.has("/DiskFull.md")
    fetcher = a_fetcher(wiki)
    catalogue = a_catalogue([tmp_path], fetcher=fetcher)
    first = catalogue.find_excerpt(an_alert())
    read(fetcher, "https://wiki.example.org/DiskFull.md")
    second = catalogue.find_excerpt(an_alert())
    assert first is not None
    assert second is not None
    assert first.sections == ()
    assert [section.title for section in second.sections] == ["Symptom", "Resolution"]
    assert first.url == second.url == "https://wiki.example.org/DiskFull.md"


def test_a_local_runbook_is_used_without_fetching_the_link(wiki, tmp_path):
    (tmp_path / "a.md").write_text("## DiskFull (Critical)\n\n**Symptom**: ours\n")
    catalogue = a_catalogue([tmp_path], fetcher=a_fetcher(wiki))
    excerpt = catalogue.find_excerpt(an_alert())
    assert excerpt is not None
    assert excerpt.sections[0].parts[0].text == "ours"
    assert wiki.requests == []


def test_without_allowed_hosts_nothing_is_ever_fetched(tmp_path):
    excerpt = a_catalogue([tmp_path]).find_excerpt(an_alert())
    assert excerpt is not None
    assert (excerpt.sections, excerpt.url) == ((), "https://wiki.example.org/DiskFull.md")


def test_a_page_of_html_is_read_but_none_to_sign_in(wiki):
    page = f"<!doctype html><article><h1>DiskFull</h1><h2>Impact</h2><p>{'x' * 20}</p></article>"
    wiki.has("/page", page, Content_Type="text/html; charset=utf-8")
    wiki.has("/login", page + "<form><input type='password'></form>", Content_Type="text/html")
    assert len(read(a_fetcher(wiki), "https://wiki.example.org/page")) == 1
    assert read(a_fetcher(wiki), "https://wiki.example.org/login") == []
