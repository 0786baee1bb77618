"""Silence requests: each creates, extends or ends a silence in Alertmanager once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from receiver.engine.notification import IncidentNotification
from receiver.engine.ports import Channel
from receiver.errors import PermanentDeliveryError, TemporaryDeliveryError
from receiver.integrations.alertmanager.channel import AlertmanagerChannel
from receiver.integrations.alertmanager.client import AlertmanagerClient
from receiver.model.actions import CreateSilence, ExpireSilence
from receiver.model.delivery import Receipt
from receiver.model.routing import Target
from tests.builders import OPENED_AT, a_notification, a_post, an_incident
from tests.mocks.alertmanager import MockAlertmanager

NOW = OPENED_AT + 120
INCIDENT = an_incident()
LABELS = (("alertname", "HighCPUUsage"), ("severity", "critical"))
MARK = f"[receiver {INCIDENT.id}#1]"


@pytest.fixture
def alertmanager() -> Iterator[MockAlertmanager]:
    with MockAlertmanager(clock=lambda: NOW) as mock:
        yield mock


@pytest.fixture
def channel(alertmanager: MockAlertmanager) -> Channel:
    return a_channel(alertmanager)


def a_channel(alertmanager: MockAlertmanager, *sources: str) -> Channel:
    client = AlertmanagerClient([alertmanager.url], 0.5, lambda: NOW)
    return AlertmanagerChannel(dict.fromkeys(sources or (INCIDENT.source,), client), lambda: NOW + 1)


def a_silence_request(
    number: int = 1, *, key: str = "silence", for_s: float = 3600, **changes: Any
) -> IncidentNotification:
    fields: dict[str, Any] = {
        "matchers": LABELS,
        "ends_at": NOW + for_s,
        "by": "alice",
        "comment": "known",
        "silence_id": "",
    }
    action = CreateSilence(**_to_alertmanager(f"{key}:{number}"), **{**fields, **changes})
    return a_notification(INCIDENT, action, now=NOW)


def an_end(silence_id: str, number: int = 1) -> IncidentNotification:
    action = ExpireSilence(**_to_alertmanager(f"expire:{number}"), silence_id=silence_id)
    return a_notification(INCIDENT, action, now=NOW)


def _to_alertmanager(key: str) -> dict[str, Any]:
    target = Target("alertmanager", INCIDENT.source)
    return {
        "key": key,
        "instance": "",
        "target": target,
        "ready_at": 0.0,
        "content_version": None,
    }


def test_a_request_creates_a_silence_at_once(alertmanager: MockAlertmanager, channel: Channel) -> None:
    receipt = channel.send(a_silence_request())
    [silence] = alertmanager.in_force()
    assert receipt == Receipt(NOW + 1, silence["id"])
    assert {one["name"]: one["value"] for one in silence["matchers"]} == dict(LABELS)
    assert (silence["createdBy"], silence["comment"]) == ("alice", f"known {MARK}")


def test_a_silence_is_active_at_once_also_if_alertmanagers_clock_is_behind(channel: Channel) -> None:
    with MockAlertmanager(clock=lambda: NOW - 300) as behind:
        a_channel(behind).send(a_silence_request())
        assert len(behind.in_force()) == 1


@pytest.mark.parametrize(
    ("comment", "words"),
    [
        (f"known {MARK}", f"known {MARK}"),
        ("", MARK),
        (f"{MARK} in the middle", f"in the middle {MARK}"),
        ("a\x00b\r\nc", f"ab\nc {MARK}"),
        ("x" * 5000, f"{'x' * 1999}… {MARK}"),
    ],
)
def test_the_marker_is_appended_once_to_the_comment(
    alertmanager: MockAlertmanager, channel: Channel, comment: str, words: str
) -> None:
    channel.send(a_silence_request(comment=comment))
    assert alertmanager.in_force()[0]["comment"] == words


def test_a_silence_has_a_creator(alertmanager: MockAlertmanager, channel: Channel) -> None:
    channel.send(a_silence_request(by=" \n "))
    channel.send(a_silence_request(2, by="Alice\n" * 100))
    made_by = [silence["createdBy"] for silence in alertmanager.in_force()]
    assert made_by[0] == "receiver"
    assert made_by[1].startswith("Alice Alice")
    assert len(made_by[1]) <= 200


def test_a_silence_created_without_a_response_is_found(
    alertmanager: MockAlertmanager, channel: Channel
) -> None:
    alertmanager.drop_answer("POST")
    with pytest.raises(TemporaryDeliveryError) as caught:
        channel.send(a_silence_request())
    assert caught.value.maybe_sent
    assert channel.find_receipt(a_silence_request()) == Receipt(NOW + 1, alertmanager.in_force()[0]["id"])


def test_no_silence_is_found_if_none_was_created(channel: Channel) -> None:
    channel.send(a_silence_request(12))
    assert channel.find_receipt(a_silence_request(1)) is None


def test_a_marker_quoted_in_another_comment_is_not_found(
    alertmanager: MockAlertmanager, channel: Channel
) -> None:
    channel.send(a_silence_request(2, comment=f"see {MARK}"))
    assert channel.find_receipt(a_silence_request(1)) is None


def test_a_silence_is_not_assumed_missing_while_alertmanager_is_unavailable(
    alertmanager: MockAlertmanager, channel: Channel
) -> None:
    alertmanager.stop()
    with pytest.raises(TemporaryDeliveryError, match="unreachable"):
        channel.find_receipt(a_silence_request())


def test_extending_a_silence_moves_its_end(alertmanager: MockAlertmanager, channel: Channel) -> None:
    silence_id = channel.send(a_silence_request()).reference
    longer = a_silence_request(key="prolong", for_s=7200, silence_id=silence_id)
    assert channel.find_receipt(longer) is None
    assert channel.send(longer).reference == silence_id
    assert channel.find_receipt(longer) == Receipt(NOW + 1, silence_id)
    assert len(alertmanager.in_force()) == 1


def test_extending_finds_the_id_of_a_silence_whose_response_was_lost(
    alertmanager: MockAlertmanager, channel: Channel
) -> None:
    lost = channel.send(a_silence_request()).reference
    alertmanager.silences.clear()
    anew = channel.send(a_silence_request(key="prolong", for_s=7200, silence_id=lost)).reference
    assert (
        channel.send(a_silence_request(key="prolong", for_s=9000, silence_id=lost)).reference == anew != lost
    )
    assert len(alertmanager.in_force()) == 1


def test_a_silence_expired_in_alertmanager_is_not_extended(channel: Channel) -> None:
    silence_id = channel.send(a_silence_request()).reference
    channel.send(an_end(silence_id))
    with pytest.raises(PermanentDeliveryError, match="silence_expired"):
        channel.send(a_silence_request(key="prolong", for_s=7200, silence_id=silence_id))


def test_ending_a_silence_twice_ends_it_once(alertmanager: MockAlertmanager, channel: Channel) -> None:
    silence_id = channel.send(a_silence_request()).reference
    other = channel.send(a_silence_request(2)).reference
    assert channel.send(an_end(silence_id)) == Receipt(NOW + 1, silence_id)
    assert channel.find_receipt(an_end(silence_id)) is None
    channel.send(an_end(silence_id))
    assert [silence["id"] for silence in alertmanager.in_force()] == [other]


def test_a_duplicate_silence_is_ended_too(alertmanager: MockAlertmanager, channel: Channel) -> None:
    channel.send(a_silence_request())
    silence_id = channel.send(a_silence_request()).reference
    channel.send(an_end(silence_id))
    assert alertmanager.in_force() == []


def test_a_silence_that_was_perhaps_created_is_ended_by_its_marker(
    alertmanager: MockAlertmanager, channel: Channel
) -> None:
    alertmanager.drop_answer("POST")
    with pytest.raises(TemporaryDeliveryError):
        channel.send(a_silence_request())
    channel.send(an_end(""))
    assert alertmanager.in_force() == []
    alertmanager.stop()
    with pytest.raises(TemporaryDeliveryError):
        channel.send(an_end(""))


def test_each_source_has_its_own_alertmanager(alertmanager: MockAlertmanager) -> None:
    with MockAlertmanager(clock=lambda: NOW) as other:
        client = AlertmanagerClient([other.url], 0.5, lambda: NOW)
        mine = AlertmanagerClient([alertmanager.url], 0.5, lambda: NOW)
        AlertmanagerChannel({INCIDENT.source: mine, "": client}, lambda: NOW).send(a_silence_request())
        assert (len(alertmanager.in_force()), len(other.in_force())) == (1, 0)
        AlertmanagerChannel({"elsewhere": mine, "": client}, lambda: NOW).send(a_silence_request())
        assert (len(alertmanager.in_force()), len(other.in_force())) == (1, 1)


def test_without_an_alertmanager_the_error_names_the_remedy(alertmanager: MockAlertmanager) -> None:
    with pytest.raises(PermanentDeliveryError) as caught:
        a_channel(alertmanager, "elsewhere").send(a_silence_request())
    assert (caught.value.reason, caught.value.detail) == (
        "no_alertmanager",
        "set alertmanager.url in routing.yaml",
    )


def test_other_actions_are_refused(channel: Channel) -> None:
    with pytest.raises(PermanentDeliveryError, match="not_for_alertmanager"):
        channel.send(a_notification(INCIDENT, a_post(), now=NOW))
