"""What a person is told who meets an error: words on a page, where programs get JSON."""

from __future__ import annotations

import pytest

from tests.rig import ROUTING, Rig

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_a_reader_is_told_in_words(rig: Rig) -> None:
    answer = rig.client.get("/incidents/<b>nobody", headers=BROWSER)
    assert answer.status_code == 404
    assert answer.content_type.startswith("text/html")
    assert "There is no such page" in answer.text
    assert "<b>" not in answer.text


@pytest.mark.parametrize("path", ["/incidents/nobody-1", "/api/v1/incidents/nobody-1"])
def test_a_program_gets_json_as_ever(rig: Rig, path: str) -> None:
    answer = rig.client.get(path, headers=BROWSER if path.startswith("/api") else {"Accept": "*/*"})
    assert answer.json["error"]["type"] == "not_found"


def test_a_store_that_is_away_is_said_by_a_page_that_needs_no_store(rig: Rig) -> None:
    rig.environ["REDIS_URL"] = "unix:///nowhere/redis.sock"
    rig.configure(ROUTING)
    answer = rig.client.get("/", headers=BROWSER)
    assert answer.status_code == 503
    assert "no alert is lost meanwhile" in answer.text


def test_a_form_that_is_not_ours_is_refused_in_words(rig: Rig) -> None:
    answer = rig.client.post("/maintenance", headers=BROWSER)
    assert answer.status_code == 403
    assert "load it again" in answer.text
