"""Silences told to Alertmanager: which replica takes them, and what every answer means."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from receiver.errors import DeliveryError, PermanentDeliveryError, TemporaryDeliveryError
from receiver.integrations.alertmanager.client import AlertmanagerClient
from receiver.integrations.alertmanager.status import RemoteSilence
from tests.mocks.alertmanager import MockAlertmanager

NOW = 1_795_435_380.0
MARK = "[receiver abc-1#1]"
LABELS = {"instance": "web-1", "alertname": "DiskFull"}
ANY_ID = "5b9f6ac0-3d2f-4ab9-9a5b-1f1f1f1f1f1f"


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def alertmanager(clock: Clock) -> Iterator[MockAlertmanager]:
    with MockAlertmanager(clock=clock) as mock:
        yield mock


@pytest.fixture
def client(alertmanager: MockAlertmanager, clock: Clock) -> AlertmanagerClient:
    return AlertmanagerClient([alertmanager.url], 0.5, clock)


def make(
    client: AlertmanagerClient, *, for_s: float = 3600, silence_id: str = "", comment: str = f"known {MARK}"
) -> str:
    return client.make_silence(
        LABELS, NOW - 600, NOW + for_s, by="alice", comment=comment, silence_id=silence_id
    )


def temporary(client: AlertmanagerClient) -> TemporaryDeliveryError:
    with pytest.raises(TemporaryDeliveryError) as caught:
        make(client)
    return caught.value


def permanent(client: AlertmanagerClient, silence_id: str = "") -> PermanentDeliveryError:
    with pytest.raises(PermanentDeliveryError) as caught:
        make(client, silence_id=silence_id)
    return caught.value


def test_a_silence_is_made_of_equal_labels(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    silence_id = make(client)
    [silence] = alertmanager.in_force()
    assert silence == {
        "id": silence_id,
        "matchers": [
            {"name": "alertname", "value": "DiskFull", "isRegex": False, "isEqual": True},
            {"name": "instance", "value": "web-1", "isRegex": False, "isEqual": True},
        ],
        "startsAt": "2026-11-23T12:03:00.000Z",
        "endsAt": "2026-11-23T13:03:00.000Z",
        "createdBy": "alice",
        "comment": f"known {MARK}",
    }


def test_a_silence_of_everything_is_refused_before_it_is_sent(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    with pytest.raises(PermanentDeliveryError, match="no_matchers"):
        client.make_silence({}, NOW, NOW + 60, by="alice", comment="")
    assert alertmanager.requests == []


def test_prolonging_keeps_the_silence(
    alertmanager: MockAlertmanager, client: AlertmanagerClient, clock: Clock
) -> None:
    silence_id = make(client)
    clock.at += 1800
    assert make(client, for_s=7200, silence_id=silence_id) == silence_id
    assert [silence["endsAt"] for silence in alertmanager.in_force()] == ["2026-11-23T14:03:00.000Z"]


def test_what_somebody_ended_is_not_made_anew(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    silence_id = make(client)
    client.expire_silence(silence_id)
    assert permanent(client, silence_id).reason == "silence_expired"
    assert alertmanager.in_force() == []


def test_what_alertmanager_has_lost_is_made_anew(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    silence_id = make(client)
    alertmanager.silences.clear()
    assert make(client, silence_id=silence_id) != silence_id
    assert len(alertmanager.in_force()) == 1


def test_an_end_beyond_all_years_is_cut(alertmanager: MockAlertmanager, client: AlertmanagerClient) -> None:
    make(client, for_s=float("inf"))
    assert alertmanager.in_force()[0]["endsAt"].startswith("9000-")


# --- which replica, and what may have been taken


def test_the_second_replica_takes_it_when_the_first_is_down(
    alertmanager: MockAlertmanager, clock: Clock
) -> None:
    with MockAlertmanager() as other:
        down = other.url
    make(AlertmanagerClient([down, alertmanager.url], 0.5, clock))
    assert len(alertmanager.in_force()) == 1


def test_the_second_replica_takes_it_when_the_first_hangs(
    alertmanager: MockAlertmanager, clock: Clock
) -> None:
    with MockAlertmanager(clock=clock) as silent:
        silent.is_silent = True
        make(AlertmanagerClient([silent.url, alertmanager.url], 0.3, clock))
        assert [request.method for request in silent.requests] == ["GET"]
    assert len(alertmanager.in_force()) == 1


@pytest.mark.parametrize("status", [401, 404, 503])
def test_the_second_replica_takes_it_when_the_first_will_not(
    alertmanager: MockAlertmanager, clock: Clock, status: int
) -> None:
    with MockAlertmanager(clock=clock) as unwilling:
        unwilling.answer_next("POST", status)
        make(AlertmanagerClient([unwilling.url, alertmanager.url], 0.5, clock))
    assert len(alertmanager.in_force()) == 1


def test_only_one_replica_gets_it(alertmanager: MockAlertmanager, clock: Clock) -> None:
    with MockAlertmanager(clock=clock) as other:
        make(AlertmanagerClient([other.url, alertmanager.url], 0.5, clock))
        assert len(other.in_force()) == 1
    assert alertmanager.requests == []


@pytest.mark.parametrize("status", [0, 500, 502, 504])
def test_what_may_have_been_taken_is_sent_to_nobody_else(
    alertmanager: MockAlertmanager, clock: Clock, status: int
) -> None:
    """Two silences of one wish: one of them would outlive its end."""
    with MockAlertmanager(clock=clock) as odd:
        if status:
            odd.answer_next("POST", status)
        else:
            odd.drop_answer("POST")
        error = temporary(AlertmanagerClient([odd.url, alertmanager.url], 0.5, clock))
        assert error.maybe_sent
    assert alertmanager.requests == []


def test_a_time_out_after_it_was_sent_may_have_been_taken(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    alertmanager.hang_next("POST")
    error = temporary(client)
    assert (error.reason, error.detail, error.maybe_sent) == ("no_answer", "no answer within 0.5 s", True)
    assert len(alertmanager.in_force()) == 1


def test_an_answer_without_an_id_may_have_been_taken(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    alertmanager.answer_next("POST", 200, b"{}")
    error = temporary(client)
    assert (error.reason, error.maybe_sent) == ("odd_answer", True)


def test_nothing_was_sent_when_nobody_can_be_reached(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    alertmanager.stop()
    error = temporary(client)
    assert (error.reason, error.detail, error.maybe_sent) == ("unreachable", "connection refused", False)


def test_nothing_was_sent_to_who_hangs(alertmanager: MockAlertmanager, client: AlertmanagerClient) -> None:
    alertmanager.is_silent = True
    started = time.monotonic()
    error = temporary(client)
    assert (error.reason, error.maybe_sent) == ("no_answer", False)
    assert time.monotonic() - started < 1.5


def test_a_refusal_is_final_and_in_alertmanagers_words(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    alertmanager.answer_next("POST", 400, b'"silence invalid: bad"')
    error = permanent(client)
    assert (error.reason, error.detail) == ("refused", "HTTP 400: silence invalid: bad")
    alertmanager.answer_next("POST", 422, b'{"code": 601, "message": "comment is required"}')
    assert permanent(client).detail == "HTTP 422: comment is required"
    alertmanager.answer_next("POST", 403)
    assert permanent(client).reason == "unauthorized"


def test_a_busy_one_is_tried_later(alertmanager: MockAlertmanager, client: AlertmanagerClient) -> None:
    alertmanager.answer_next("POST", 429)
    assert not temporary(client).maybe_sent


def test_without_an_address_it_says_so(clock: Clock) -> None:
    nobody = AlertmanagerClient([], 0.5, clock)
    assert permanent(nobody).reason == "no_alertmanager"
    for ask in (nobody.expire_silence, nobody.get_silence, nobody.list_silences):
        with pytest.raises(PermanentDeliveryError, match="no_alertmanager"):
            ask(ANY_ID)


# --- ending and finding


def test_ending_twice_is_ending_once(alertmanager: MockAlertmanager, client: AlertmanagerClient) -> None:
    silence_id = make(client)
    client.expire_silence(silence_id)
    client.expire_silence(silence_id)
    assert alertmanager.in_force() == []


@pytest.mark.parametrize(("status", "words"), [(404, b""), (500, b'"silence not found"'), (422, b"{}")])
def test_ending_what_nobody_knows_is_done(
    alertmanager: MockAlertmanager, client: AlertmanagerClient, status: int, words: bytes
) -> None:
    alertmanager.answer_next("DELETE", status, words)
    client.expire_silence(ANY_ID)


@pytest.mark.parametrize("words", [b"", b'"disk full"'])
def test_a_failure_at_ending_is_tried_again(
    alertmanager: MockAlertmanager, client: AlertmanagerClient, words: bytes
) -> None:
    silence_id = make(client)
    alertmanager.answer_next("DELETE", 500, words)
    with pytest.raises(TemporaryDeliveryError, match="server_error"):
        client.expire_silence(silence_id)


def test_a_silence_is_ended_where_it_is_known(alertmanager: MockAlertmanager, clock: Clock) -> None:
    with MockAlertmanager(clock=clock) as newcomer:
        both = AlertmanagerClient([newcomer.url, alertmanager.url], 0.5, clock)
        silence_id = make(AlertmanagerClient([alertmanager.url], 0.5, clock))
        assert both.get_silence(silence_id) is not None
        both.expire_silence(silence_id)
    assert alertmanager.in_force() == []


def test_a_silence_may_live_on_in_who_is_away(alertmanager: MockAlertmanager, clock: Clock) -> None:
    with MockAlertmanager(clock=clock) as other:
        away = other.url
    both = AlertmanagerClient([alertmanager.url, away], 0.5, clock)
    for ask in (both.expire_silence, both.get_silence):
        with pytest.raises(TemporaryDeliveryError, match="unreachable"):
            ask(ANY_ID)


def test_a_silence_is_found_by_the_marker_in_its_comment(client: AlertmanagerClient, clock: Clock) -> None:
    mine = make(client)
    other = make(client, comment="known [receiver abc-1#12]")
    [found] = client.list_silences(MARK)
    assert found == RemoteSilence(mine, "active", NOW, NOW + 3600, "alice", f"known {MARK}")
    assert {silence.id for silence in client.list_silences("")} == {mine, other}


def test_one_that_is_over_is_not_found_but_can_be_asked_for(client: AlertmanagerClient, clock: Clock) -> None:
    silence_id = make(client)
    clock.at += 3600
    assert client.list_silences(MARK) == ()
    seen = client.get_silence(silence_id)
    assert seen is not None
    assert seen.state == "expired"


def test_what_is_unknown_is_none(client: AlertmanagerClient) -> None:
    assert client.get_silence(ANY_ID) is None
    assert client.get_silence("../status?x=ü") is None


def test_replicas_know_the_same_silence_once(alertmanager: MockAlertmanager, clock: Clock) -> None:
    with MockAlertmanager(clock=clock) as other:
        both = AlertmanagerClient([alertmanager.url, other.url], 0.5, clock)
        silence_id = make(both)
        other.silences = alertmanager.silences
        assert [silence.id for silence in both.list_silences(MARK)] == [silence_id]
        other.stop()
        assert [silence.id for silence in both.list_silences(MARK)] == [silence_id]


def test_finding_without_anybody_to_ask_fails(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    alertmanager.stop()
    with pytest.raises(DeliveryError, match="unreachable"):
        client.list_silences(MARK)


def test_silences_of_later_versions_are_read(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    """From 0.32 on there are annotations, and matchers may be several sets of which one must match."""
    silence = {
        "id": ANY_ID,
        "matchers": [[{"name": "a", "value": "b"}], [{"name": "c", "value": "d"}]],
        "matcherSets": [{"matchers": []}],
        "annotations": {"ticket": "OPS-1"},
        "status": {"state": "pending", "since": 3},
        "startsAt": "2026-11-23T13:00:00+01:00",
        "endsAt": "2026-11-23T12:10:00.123456789Z",
        "createdBy": None,
        "comment": "x",
    }
    alertmanager.answer_next("GET", 200, json.dumps([silence]).encode())
    [seen] = client.list_silences("x")
    assert seen == RemoteSilence(ANY_ID, "pending", NOW - 180, pytest.approx(NOW + 420.123456), "", "x")
