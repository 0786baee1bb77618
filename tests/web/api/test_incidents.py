"""Transitions over the API: their actors, and transitions with a duration."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from receiver.model.incident import Person
from tests.mocks.alertmanager import MockAlertmanager
from tests.rig import ROUTING, Rig


def post_transition(rig: Rig, incident: str, what: str, body: Any, status: int = 200) -> dict[str, Any]:
    reply = rig.client.post(f"/api/v1/incidents/{incident}/{what}", json=body)
    assert reply.status_code == status, reply.text
    return dict(reply.json)


def events(rig: Rig, incident: str, what: str) -> list[tuple[str, str]]:
    timeline = rig.shows(incident)["timeline"]
    return [(event["by"], event["via"]) for event in timeline if event["what"] == what]


@pytest.mark.parametrize(
    ("body", "who"),
    [
        ({}, ("api", "api")),
        ({"by": "alice"}, ("alice", "api")),
        ({"by": "alice", "via": "command line"}, ("alice", "command line")),
        ({"by": None, "via": None}, ("api", "api")),
        ({"by": " alice\n", "via": " \t"}, ("alice", "api")),
        ({"by": "alice", "news": [1]}, ("alice", "api")),
    ],
)
def test_the_timeline_names_the_actor_and_the_client(
    rig: Rig, body: dict[str, Any], who: tuple[str, str]
) -> None:
    incident = rig.fires("DiskFull")
    post_transition(rig, incident, "acknowledge", body)
    assert events(rig, incident, "acknowledged") == [who]


@pytest.mark.parametrize("body", [{"via": "x" * 41}, {"via": 5}, {"by": ["alice"]}, "alice", 5])
def test_an_invalid_body_is_400_with_a_message(rig: Rig, body: Any) -> None:
    incident = rig.fires("DiskFull")
    error = post_transition(rig, incident, "acknowledge", body, 400)["error"]
    assert error["type"] == "bad_request"
    assert "expected JSON like" in error["message"]
    assert rig.state(incident) == "open"


@pytest.mark.parametrize("body", [b"\xff", b"{", b"null", b'{"by": "\\ud800"}', b"[" * 10_000])
def test_a_body_that_is_no_json_is_400(rig: Rig, body: bytes) -> None:
    incident = rig.fires("DiskFull")
    assert rig.client.post(f"/api/v1/incidents/{incident}/acknowledge", data=body).status_code == 400


def test_a_body_that_is_too_large_is_413(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    assert (
        post_transition(rig, incident, "acknowledge", {"by": "a" * 70_000}, 413)["error"]["type"]
        == "too_large"
    )


def test_a_snooze_lasts_for_its_time(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    incident_shown = post_transition(rig, incident, "snooze", {"by": "alice", "for": "1h"})
    assert (incident_shown["state"], incident_shown["snoozed_until"]) == (
        "acknowledged",
        "2026-11-23T13:00:00.000Z",
    )
    rig.works()
    rig.passes("1h1s")
    assert rig.state(incident) == "open"


@pytest.mark.parametrize("for_", ["", "0", "soon", "2y", "1.5h", "-1h", "１h"])
@pytest.mark.parametrize("what", ["snooze", "silence"])
def test_an_invalid_duration_is_400_with_a_message(rig: Rig, what: str, for_: str) -> None:
    incident = rig.fires("DiskFull")
    error = post_transition(rig, incident, what, {"for": for_}, 400)["error"]
    assert error["message"] == f"for is {for_!r}, expected a time like 30m or 2h, a year at most"


def test_the_duration_is_required(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    assert "`for`" in post_transition(rig, incident, "snooze", {"by": "alice"}, 400)["error"]["message"]


@contextmanager
def working(rig: Rig) -> Iterator[None]:
    """Process what is due in a thread, as a worker beside the web process does."""
    is_over = threading.Event()

    def work() -> None:
        while not is_over.is_set():
            rig.works()
            time.sleep(0.01)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        is_over.set()
        worker.join()


def test_the_response_to_a_silence_is_sent_after_alertmanager_has_it(rig: Rig) -> None:
    with MockAlertmanager(clock=rig.clock) as alertmanager:
        rig.configure(ROUTING + f'alertmanager: {{url: "{alertmanager.url}"}}\n')
        alertmanager.fires(alertname="DiskFull", severity="critical")
        incident = rig.fires("DiskFull")
        with working(rig):
            incident_shown = post_transition(
                rig, incident, "silence", {"by": "alice", "for": "2h", "comment": "known"}
            )
        (silence,) = incident_shown["silences"]
        assert silence["silence_id"] in [each["id"] for each in alertmanager.in_force()]
        assert (silence["by"], silence["comment"]) == ("alice", "known")
        assert silence["until"] == "2026-11-23T14:00:00.000Z"


def test_a_silence_that_is_requested_again_after_a_fault_of_redis_is_created_once(rig: Rig) -> None:
    """The first request was saved, and the wait for Alertmanager ended in a 503."""
    with MockAlertmanager(clock=rig.clock) as alertmanager:
        rig.configure(ROUTING + f'alertmanager: {{url: "{alertmanager.url}"}}\n')
        alertmanager.fires(alertname="DiskFull", severity="critical")
        incident = rig.fires("DiskFull")
        by = Person("alice", via="api")
        rig.services.incident_service.silence(incident, by, 7200.0, "known", rig.clock())
        rig.clock.moment += 20
        with working(rig):
            shown = post_transition(
                rig, incident, "silence", {"by": "alice", "for": "2h", "comment": "known"}
            )
        assert len(shown["silences"]) == len(alertmanager.in_force()) == 1


def test_an_unreachable_alertmanager_is_502_and_the_request_is_withdrawn(rig: Rig) -> None:
    with MockAlertmanager(clock=rig.clock) as alertmanager:
        url = alertmanager.url
    rig.configure(ROUTING + f'alertmanager: {{url: "{url}"}}\n')
    incident = rig.fires("DiskFull")
    with working(rig):
        error = post_transition(rig, incident, "silence", {"by": "alice", "for": "2h"}, 502)["error"]
    assert error["type"] == "bad_gateway"
    assert error["message"].startswith("Alertmanager could not be reached")
    assert all(silence["ended_at"] for silence in rig.shows(incident)["silences"])


def test_without_an_alertmanager_nothing_can_be_silenced(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    error = post_transition(rig, incident, "silence", {"for": "2h"}, 502)["error"]
    assert "alertmanager.url" in error["message"]


def test_a_resolved_incident_can_not_be_silenced(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.answers(incident, "resolve")
    assert post_transition(rig, incident, "silence", {"for": "2h"}, 409)["error"]["type"] == "conflict"
