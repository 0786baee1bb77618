"""Error responses: a page for browsers, JSON for programs."""

from __future__ import annotations

from html import unescape

import pytest

from tests.rig import ROUTING, Rig
from tests.support.ports import free_port

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_a_browser_gets_an_error_page(rig: Rig) -> None:
    response = rig.client.get("/incidents/<b>nobody", headers=BROWSER)
    assert response.status_code == 404
    assert response.content_type.startswith("text/html")
    assert "There is no such page" in response.text
    assert "<b>" not in response.text


@pytest.mark.parametrize("path", ["/incidents/nobody-1", "/api/v1/incidents/nobody-1"])
def test_a_program_gets_json(rig: Rig, path: str) -> None:
    response = rig.client.get(path, headers=BROWSER if path.startswith("/api") else {"Accept": "*/*"})
    assert response.json["error"]["type"] == "not_found"


def test_the_page_for_an_unavailable_redis_needs_no_redis(rig: Rig) -> None:
    rig.environ["REDIS_URL"] = "unix:///nowhere/redis.sock"
    rig.configure(ROUTING)
    response = rig.client.get("/", headers=BROWSER)
    assert response.status_code == 503
    assert "no alert is lost meanwhile" in response.text


@pytest.mark.parametrize("path", ["/", "/incidents/some-1", "/history", "/storms/some-1", "/runbooks"])
def test_the_page_for_an_unavailable_redis_says_what_to_do(rig: Rig, path: str) -> None:
    rig.environ["REDIS_URL"] = f"redis://127.0.0.1:{free_port()}/0"
    rig.configure(ROUTING)
    response = rig.client.get(path, headers=BROWSER)
    assert response.status_code == 503
    assert response.content_type.startswith("text/html")
    text = unescape(response.text)
    assert "The receiver keeps its incidents in Redis, and it can't be reached: see whether it runs" in text
    assert "send it again" not in text


def test_a_foreign_form_is_refused_with_a_message(rig: Rig) -> None:
    response = rig.client.post("/maintenance", headers=BROWSER)
    assert response.status_code == 403
    assert "load it again" in response.text
