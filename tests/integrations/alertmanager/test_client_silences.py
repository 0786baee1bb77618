"""Creating, extending, ending and finding silences, on several replicas and with every response."""

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


def create(
    client: AlertmanagerClient, *, for_s: float = 3600, silence_id: str = "", comment: str = f"known {MARK}"
) -> str:
    return client.make_silence(
        LABELS, NOW - 600, NOW + for_s, by="alice", comment=comment, silence_id=silence_id
    )


def temporary(client: AlertmanagerClient) -> TemporaryDeliveryError:
    with pytest.raises(TemporaryDeliveryError) as caught:
        create(client)
    return caught.value


def permanent(client: AlertmanagerClient, silence_id: str = "") -> PermanentDeliveryError:
    with pytest.raises(PermanentDeliveryError) as caught:
        create(client, silence_id=silence_id)
    return caught.value


def test_a_silence_has_equality_matchers(alertmanager: MockAlertmanager, client: AlertmanagerClient) -> None:
    silence_id = create(client)
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


def test_a_silence_without_matchers_is_refused_before_it_is_sent(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    with pytest.raises(PermanentDeliveryError, match="no_matchers"):
        client.make_silence({}, NOW, NOW + 60, by="alice", comment="")
    assert alertmanager.requests == []


def test_extending_updates_the_same_silence(
    alertmanager: MockAlertmanager, client: AlertmanagerClient, clock: Clock
) -> None:
    silence_id = create(client)
    clock.at += 1800
    assert create(client, for_s=7200, silence_id=silence_id) == silence_id
    assert [silence["endsAt"] for silence in alertmanager.in_force()] == ["2026-11-23T14:03:00.000Z"]


def test_an_expired_silence_is_not_created_again(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    silence_id = create(client)
    client.expire_silence(silence_id)
    assert permanent(client, silence_id).reason == "silence_expired"
    assert alertmanager.in_force() == []


def test_a_silence_that_alertmanager_lost_is_created_again(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    silence_id = create(client)
    alertmanager.silences.clear()
    assert create(client, silence_id=silence_id) != silence_id
    assert len(alertmanager.in_force()) == 1


def test_an_end_after_the_year_9999_is_limited(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    create(client, for_s=float("inf"))
    assert alertmanager.in_force()[0]["endsAt"].startswith("9000-")


# --- which replica gets a request, and which may have processed it


def test_the_second_replica_gets_the_silence_if_the_first_is_down(
    alertmanager: MockAlertmanager, clock: Clock
) -> None:
    with MockAlertmanager() as other:
        down = other.url
    create(AlertmanagerClient([down, alertmanager.url], 0.5, clock))
    assert len(alertmanager.in_force()) == 1


def test_the_second_replica_gets_the_silence_if_the_first_hangs(
    alertmanager: MockAlertmanager, clock: Clock
) -> None:
    with MockAlertmanager(clock=clock) as silent:
        silent.is_silent = True
        create(AlertmanagerClient([silent.url, alertmanager.url], 0.3, clock))
        assert [request.method for request in silent.requests] == ["GET"]
    assert len(alertmanager.in_force()) == 1


@pytest.mark.parametrize("status", [401, 404, 503])
def test_the_second_replica_gets_the_silence_if_the_first_refuses(
    alertmanager: MockAlertmanager, clock: Clock, status: int
) -> None:
    with MockAlertmanager(clock=clock) as unwilling:
        unwilling.answer_next("POST", status)
        create(AlertmanagerClient([unwilling.url, alertmanager.url], 0.5, clock))
    assert len(alertmanager.in_force()) == 1


def test_only_one_replica_gets_the_silence(alertmanager: MockAlertmanager, clock: Clock) -> None:
    with MockAlertmanager(clock=clock) as other:
        create(AlertmanagerClient([other.url, alertmanager.url], 0.5, clock))
        assert len(other.in_force()) == 1
    assert alertmanager.requests == []


@pytest.mark.parametrize("status", [0, 500, 502, 504])
def test_a_request_that_was_perhaps_processed_is_not_sent_to_another_replica(
    alertmanager: MockAlertmanager, clock: Clock, status: int
) -> None:
    """Else there could be two silences for one request, and one of them would outlive its end."""
    with MockAlertmanager(clock=clock) as odd:
        if status:
            odd.answer_next("POST", status)
        else:
            odd.drop_answer("POST")
        error = temporary(AlertmanagerClient([odd.url, alertmanager.url], 0.5, clock))
        assert error.maybe_sent
    assert alertmanager.requests == []


def test_a_timeout_after_sending_counts_as_perhaps_processed(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    alertmanager.hang_next("POST")
    error = temporary(client)
    assert (error.reason, error.detail, error.maybe_sent) == ("no_answer", "no answer within 0.5 s", True)
    assert len(alertmanager.in_force()) == 1


def test_a_response_without_an_id_counts_as_perhaps_processed(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    alertmanager.answer_next("POST", 200, b"{}")
    error = temporary(client)
    assert (error.reason, error.maybe_sent) == ("odd_answer", True)


def test_without_a_reachable_replica_nothing_was_sent(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    alertmanager.stop()
    error = temporary(client)
    assert (error.reason, error.detail, error.maybe_sent) == ("unreachable", "connection refused", False)


def test_nothing_was_sent_to_a_replica_that_hangs_before_the_request(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    alertmanager.is_silent = True
    started = time.monotonic()
    error = temporary(client)
    assert (error.reason, error.maybe_sent) == ("no_answer", False)
    assert time.monotonic() - started < 1.5


def test_a_refusal_is_permanent_and_quotes_alertmanager(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    alertmanager.answer_next("POST", 400, b'"silence invalid: bad"')
    error = permanent(client)
    assert (error.reason, error.detail) == ("refused", "HTTP 400: silence invalid: bad")
    alertmanager.answer_next("POST", 422, b'{"code": 601, "message": "comment is required"}')
    assert permanent(client).detail == "HTTP 422: comment is required"
    alertmanager.answer_next("POST", 403)
    assert permanent(client).reason == "unauthorized"


def test_a_busy_replica_is_retried_later(alertmanager: MockAlertmanager, client: AlertmanagerClient) -> None:
    alertmanager.answer_next("POST", 429)
    assert not temporary(client).maybe_sent


def test_without_an_address_the_error_says_so(clock: Clock) -> None:
    without_replicas = AlertmanagerClient([], 0.5, clock)
    assert permanent(without_replicas).reason == "no_alertmanager"
    for call in (
        without_replicas.expire_silence,
        without_replicas.get_silence,
        without_replicas.list_silences,
    ):
        with pytest.raises(PermanentDeliveryError, match="no_alertmanager"):
            call(ANY_ID)


# --- ending and finding


def test_ending_twice_is_ending_once(alertmanager: MockAlertmanager, client: AlertmanagerClient) -> None:
    silence_id = create(client)
    client.expire_silence(silence_id)
    client.expire_silence(silence_id)
    assert alertmanager.in_force() == []


@pytest.mark.parametrize(("status", "body"), [(404, b""), (500, b'"silence not found"'), (422, b"{}")])
def test_ending_an_unknown_silence_succeeds(
    alertmanager: MockAlertmanager, client: AlertmanagerClient, status: int, body: bytes
) -> None:
    alertmanager.answer_next("DELETE", status, body)
    client.expire_silence(ANY_ID)


@pytest.mark.parametrize("body", [b"", b'"disk full"'])
def test_a_failed_end_is_retried(
    alertmanager: MockAlertmanager, client: AlertmanagerClient, body: bytes
) -> None:
    silence_id = create(client)
    alertmanager.answer_next("DELETE", 500, body)
    with pytest.raises(TemporaryDeliveryError, match="server_error"):
        client.expire_silence(silence_id)


def test_a_silence_is_ended_on_the_replica_that_knows_it(
    alertmanager: MockAlertmanager, clock: Clock
) -> None:
    with MockAlertmanager(clock=clock) as newcomer:
        both = AlertmanagerClient([newcomer.url, alertmanager.url], 0.5, clock)
        silence_id = create(AlertmanagerClient([alertmanager.url], 0.5, clock))
        assert both.get_silence(silence_id) is not None
        both.expire_silence(silence_id)
    assert alertmanager.in_force() == []


def test_a_silence_may_still_be_active_on_an_unavailable_replica(
    alertmanager: MockAlertmanager, clock: Clock
) -> None:
    with MockAlertmanager(clock=clock) as other:
        away = other.url
    both = AlertmanagerClient([alertmanager.url, away], 0.5, clock)
    for call in (both.expire_silence, both.get_silence):
        with pytest.raises(TemporaryDeliveryError, match="unreachable"):
            call(ANY_ID)


def test_a_silence_is_found_by_the_marker_in_its_comment(client: AlertmanagerClient, clock: Clock) -> None:
    mine = create(client)
    other = create(client, comment="known [receiver abc-1#12]")
    [found] = client.list_silences(MARK)
    assert found == RemoteSilence(mine, False, NOW, NOW + 3600, "alice", f"known {MARK}")
    assert {silence.id for silence in client.list_silences("")} == {mine, other}


def test_an_expired_silence_is_not_listed_but_can_be_loaded_by_id(
    client: AlertmanagerClient, clock: Clock
) -> None:
    silence_id = create(client)
    clock.at += 3600
    assert client.list_silences(MARK) == ()
    seen = client.get_silence(silence_id)
    assert seen is not None
    assert seen.is_expired


def test_an_unknown_silence_is_none(client: AlertmanagerClient) -> None:
    assert client.get_silence(ANY_ID) is None
    assert client.get_silence("../status?x=ü") is None


def test_a_silence_known_to_several_replicas_is_listed_once(
    alertmanager: MockAlertmanager, clock: Clock
) -> None:
    with MockAlertmanager(clock=clock) as other:
        both = AlertmanagerClient([alertmanager.url, other.url], 0.5, clock)
        silence_id = create(both)
        other.silences = alertmanager.silences
        assert [silence.id for silence in both.list_silences(MARK)] == [silence_id]
        other.stop()
        assert [silence.id for silence in both.list_silences(MARK)] == [silence_id]


def test_listing_silences_fails_without_a_reachable_replica(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    alertmanager.stop()
    with pytest.raises(DeliveryError, match="unreachable"):
        client.list_silences(MARK)


def test_silences_of_newer_versions_are_parsed(
    alertmanager: MockAlertmanager, client: AlertmanagerClient
) -> None:
    """From 0.32 on silences have annotations, and matchers may be several sets of which one must match."""
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
    assert seen == RemoteSilence(ANY_ID, False, NOW - 180, pytest.approx(NOW + 420.123456), "", "x")
