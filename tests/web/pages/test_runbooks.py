"""The pages of runbooks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.rig import ROUTING, Rig

RULES = {
    "status": "success",
    "data": {
        "groups": [
            {
                "rules": [
                    {"type": "alerting", "name": "DiskFull", "labels": {"severity": "warning"}},
                    {"type": "alerting", "name": "Forgotten", "labels": {}},
                    {"type": "alerting", "name": "Linked", "annotations": {"runbook_url": "https://wiki/x"}},
                    {"type": "recording", "name": "job:rate"},
                ]
            }
        ]
    },
}


@pytest.fixture
def prometheus() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(RULES).encode()
            self.send_response(200 if self.path.startswith("/api/v1/rules") else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(5)


def add_runbooks(rig: Rig, *names: str) -> None:
    for name in names:
        (rig.folder / "runbooks" / f"{name}.md").write_text(
            f"### {name} (Critical)\n\n**Impact**: all stops\n"
        )
    rig.clock.moment += 10


def test_runbooks_are_listed_with_how_often_they_were_used(rig: Rig) -> None:
    add_runbooks(rig, "DiskFull", "Unseen")
    rig.fires("DiskFull")
    rig.fires("Bare")
    page = rig.client.get("/runbooks").text
    assert 'since=90d">1</a>' in page
    assert "never seen" in page
    assert "Alerts that were seen and have none" in page
    assert ">Bare</a>: 1 incident<" in page


def test_rules_without_a_runbook_and_severities_that_disagree(rig: Rig, prometheus: str) -> None:
    add_runbooks(rig, "DiskFull")
    rig.configure(ROUTING + f"prometheus: {{url: '{prometheus}'}}\n")
    page = rig.client.get("/runbooks").text
    assert "<li>Forgotten</li>" in page
    assert "Linked" not in page
    assert "DiskFull: the runbook says critical, its rule in Prometheus warning" in page


def test_an_unreachable_prometheus_is_a_warning(rig: Rig) -> None:
    add_runbooks(rig, "DiskFull")
    rig.configure(ROUTING + "prometheus: {url: 'http://127.0.0.1:1'}\n")
    page = rig.client.get("/runbooks").text
    assert "Prometheus can&#39;t be reached" in page
    assert "DiskFull" in page


def test_a_page_has_a_hundred_runbooks_and_its_other_lists_are_limited_too(rig: Rig) -> None:
    add_runbooks(rig, *(f"Book{n:03}" for n in range(130)))
    for n in range(105):
        rig.posts(rig.alert(f"Bare{n}", "info"))
        rig.clock.moment += 0.01
    first, second = (rig.client.get(f"/runbooks?page={page}").text for page in (1, 2))
    assert first.count('<tr><th scope="row">') == 100
    assert second.count('<tr><th scope="row">') == 30
    assert "… and 5 more" in first
