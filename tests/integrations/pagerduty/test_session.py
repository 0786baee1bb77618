"""Requests to PagerDuty through the proxy that the environment names."""

from __future__ import annotations

import pytest

from receiver.errors import TemporaryDeliveryError
from receiver.integrations.pagerduty.session import get_json, post_event
from receiver.text import Secret
from tests.cli.stub import Stub
from tests.test_http_client import a_server_that_sends

EVENT = {"event_action": "resolve", "dedup_key": "x"}
KEY = Secret("r" * 32)
ELSEWHERE = "http://events.example.invalid"


def test_requests_go_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with Stub() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("://", "://ana:secret@"))
        proxy.set_response("POST /v2/enqueue", {"status": "success"}, status=202)
        assert post_event(ELSEWHERE, KEY, EVENT, 5.0).status == 202
        proxy.set_response("GET /incidents", {"incidents": []})
        assert get_json(ELSEWHERE, KEY, "incidents?limit=1", 5.0).parse_json() == {"incidents": []}
        event, query = proxy.requests
        assert event.body == {**EVENT, "routing_key": KEY.reveal()}
        assert event.headers["Proxy-Authorization"].startswith("Basic ")
        assert query.query == {"limit": "1"}
        assert query.headers["Authorization"] == f"Token token={KEY.reveal()}"


def test_the_hosts_of_no_proxy_are_requested_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.0/8")
    with Stub() as pagerduty:
        assert post_event(pagerduty.url, KEY, EVENT, 5.0).status == 404


def test_through_an_unreachable_proxy_the_event_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with pytest.raises(TemporaryDeliveryError) as caught:
        post_event(ELSEWHERE, KEY, EVENT, 5.0)
    assert (caught.value.reason, caught.value.maybe_sent) == ("unreachable", False)


def test_without_a_response_of_the_proxy_the_event_was_perhaps_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_server_that_sends(b"") as url:
        monkeypatch.setenv("http_proxy", url)
        with pytest.raises(TemporaryDeliveryError) as caught:
            post_event(ELSEWHERE, KEY, EVENT, 5.0)
    assert (caught.value.reason, caught.value.maybe_sent) == ("no_answer", True)
