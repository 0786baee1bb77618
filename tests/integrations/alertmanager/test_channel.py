"""Wishes for silences, made true once."""

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
        "content_version": "",
    }


def test_a_request_becomes_a_silence_at_once(alertmanager: MockAlertmanager, channel: Channel) -> None:
    receipt = channel.send(a_silence_request())
    [silence] = alertmanager.in_force()
    assert receipt == Receipt(NOW + 1, silence["id"])
    assert {one["name"]: one["value"] for one in silence["matchers"]} == dict(LABELS)
    assert (silence["createdBy"], silence["comment"]) == ("alice", f"known {MARK}")


def test_a_silence_begins_at_once_by_a_clock_that_is_behind(channel: Channel) -> None:
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
def test_the_mark_stands_once_at_the_end(
    alertmanager: MockAlertmanager, channel: Channel, comment: str, words: str
) -> None:
    channel.send(a_silence_request(comment=comment))
    assert alertmanager.in_force()[0]["comment"] == words


def test_somebody_made_it(alertmanager: MockAlertmanager, channel: Channel) -> None:
    channel.send(a_silence_request(by=" \n "))
    channel.send(a_silence_request(2, by="Alice\n" * 100))
    made_by = [silence["createdBy"] for silence in alertmanager.in_force()]
    assert made_by[0] == "receiver"
    assert made_by[1].startswith("Alice Alice")
    assert len(made_by[1]) <= 200


def test_a_silence_made_without_an_answer_is_found(alertmanager: MockAlertmanager, channel: Channel) -> None:
    alertmanager.drop_answer("POST")
    with pytest.raises(TemporaryDeliveryError) as caught:
        channel.send(a_silence_request())
    assert caught.value.maybe_sent
    assert channel.find_receipt(a_silence_request(), NOW) == Receipt(
        NOW + 1, alertmanager.in_force()[0]["id"]
    )


def test_nothing_is_found_when_nothing_was_made(channel: Channel) -> None:
    channel.send(a_silence_request(12))
    assert channel.find_receipt(a_silence_request(1), NOW) is None


def test_a_mark_in_somebody_elses_words_is_not_found(
    alertmanager: MockAlertmanager, channel: Channel
) -> None:
    channel.send(a_silence_request(2, comment=f"see {MARK}"))
    assert channel.find_receipt(a_silence_request(1), NOW) is None


def test_it_is_not_taken_for_absent_while_nobody_can_be_asked(
    alertmanager: MockAlertmanager, channel: Channel
) -> None:
    alertmanager.stop()
    with pytest.raises(TemporaryDeliveryError, match="unreachable"):
        channel.find_receipt(a_silence_request(), NOW)


def test_prolonging_moves_the_end(alertmanager: MockAlertmanager, channel: Channel) -> None:
    silence_id = channel.send(a_silence_request()).reference
    longer = a_silence_request(key="prolong", for_s=7200, silence_id=silence_id)
    assert channel.find_receipt(longer, NOW) is None
    assert channel.send(longer).reference == silence_id
    assert channel.find_receipt(longer, NOW) == Receipt(NOW + 1, silence_id)
    assert len(alertmanager.in_force()) == 1


def test_prolonging_finds_the_id_that_a_lost_silence_got(
    alertmanager: MockAlertmanager, channel: Channel
) -> None:
    lost = channel.send(a_silence_request()).reference
    alertmanager.silences.clear()
    anew = channel.send(a_silence_request(key="prolong", for_s=7200, silence_id=lost)).reference
    assert (
        channel.send(a_silence_request(key="prolong", for_s=9000, silence_id=lost)).reference == anew != lost
    )
    assert len(alertmanager.in_force()) == 1


def test_what_somebody_ended_in_alertmanager_is_not_prolonged(channel: Channel) -> None:
    silence_id = channel.send(a_silence_request()).reference
    channel.send(an_end(silence_id))
    with pytest.raises(PermanentDeliveryError, match="silence_expired"):
        channel.send(a_silence_request(key="prolong", for_s=7200, silence_id=silence_id))


def test_an_end_ends_it_and_again_does_nothing(alertmanager: MockAlertmanager, channel: Channel) -> None:
    silence_id = channel.send(a_silence_request()).reference
    other = channel.send(a_silence_request(2)).reference
    assert channel.send(an_end(silence_id)) == Receipt(NOW + 1, silence_id)
    assert channel.find_receipt(an_end(silence_id), NOW) is None
    channel.send(an_end(silence_id))
    assert [silence["id"] for silence in alertmanager.in_force()] == [other]


def test_a_twin_made_by_mistake_ends_too(alertmanager: MockAlertmanager, channel: Channel) -> None:
    channel.send(a_silence_request())
    silence_id = channel.send(a_silence_request()).reference
    channel.send(an_end(silence_id))
    assert alertmanager.in_force() == []


def test_one_that_may_have_been_made_is_ended_by_its_mark(
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


def test_each_source_has_its_own(alertmanager: MockAlertmanager) -> None:
    with MockAlertmanager(clock=lambda: NOW) as other:
        client = AlertmanagerClient([other.url], 0.5, lambda: NOW)
        mine = AlertmanagerClient([alertmanager.url], 0.5, lambda: NOW)
        AlertmanagerChannel({INCIDENT.source: mine, "": client}).send(a_silence_request())
        assert (len(alertmanager.in_force()), len(other.in_force())) == (1, 0)
        AlertmanagerChannel({"elsewhere": mine, "": client}).send(a_silence_request())
        assert (len(alertmanager.in_force()), len(other.in_force())) == (1, 1)


def test_without_an_alertmanager_it_says_what_to_do(alertmanager: MockAlertmanager) -> None:
    with pytest.raises(PermanentDeliveryError) as caught:
        a_channel(alertmanager, "elsewhere").send(a_silence_request())
    assert (caught.value.reason, caught.value.detail) == (
        "no_alertmanager",
        "set alertmanager.url in routing.yaml",
    )


def test_what_is_no_silence_is_not_for_it(channel: Channel) -> None:
    with pytest.raises(PermanentDeliveryError, match="not_for_alertmanager"):
        channel.send(a_notification(INCIDENT, a_post(), now=NOW))
