"""Polling Alertmanager: the alerts it returns, and the errors when it is unavailable."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from receiver.errors import TemporaryDeliveryError
from receiver.http_client import parse_base_url, send_request
from receiver.integrations.alertmanager.client import AlertmanagerClient
from receiver.integrations.alertmanager.status import Poll, RemoteAlert, Replica
from receiver.model.alert import fingerprint
from tests.mocks.alertmanager import MockAlertmanager

NOW = 1_795_435_380.0
LABELS = {"alertname": "DiskFull", "instance": "web-1"}
ENDS_LATER = "2026-11-23T12:10:00.123456789Z"


def the_time() -> float:
    return NOW


@pytest.fixture
def alertmanager() -> Iterator[MockAlertmanager]:
    with MockAlertmanager(clock=the_time) as mock:
        yield mock


def a_client(*urls: str, timeout_s: float = 2.0) -> AlertmanagerClient:
    return AlertmanagerClient(urls, timeout_s, the_time)


def get_alerts(alertmanager: MockAlertmanager) -> dict[str, RemoteAlert]:
    """Return the alerts of one poll of the only replica."""
    poll = a_client(alertmanager.url).poll_alerts()
    assert poll.is_complete, poll.unreachable
    return dict(poll.replicas[0].alerts)


def parse_body(alertmanager: MockAlertmanager, body: object) -> RemoteAlert:
    """Return the only alert parsed from the response *body*."""
    alertmanager.answer_next("GET", 200, json.dumps(body).encode())
    [alert] = get_alerts(alertmanager).values()
    return alert


def reason(alertmanager: MockAlertmanager, **client: Any) -> str:
    """Return why the only replica is unavailable."""
    poll = a_client(alertmanager.url, **client).poll_alerts()
    assert not poll.replicas
    return next(iter(poll.unreachable.values()))


def test_a_firing_alert_is_returned_as_active(alertmanager: MockAlertmanager) -> None:
    key = alertmanager.fires(**LABELS)
    assert get_alerts(alertmanager) == {key: RemoteAlert(key, is_firing=True)}
    assert not get_alerts(alertmanager)[key].is_muted


def test_what_mutes_an_alert_is_reported(alertmanager: MockAlertmanager) -> None:
    silenced = alertmanager.fires(**LABELS)
    inhibited = alertmanager.fires(alertname="Slow")
    resting = alertmanager.fires(alertname="Backup")
    alertmanager.alerts[inhibited].inhibited_by = [silenced]
    alertmanager.alerts[resting].muted_by = ["night"]
    silence_id = a_client(alertmanager.url).make_silence(
        {"alertname": "DiskFull"}, NOW, NOW + 60, by="alice", comment="known"
    )

    seen = get_alerts(alertmanager)
    assert seen[silenced].silenced_by == (silence_id,)
    assert seen[inhibited].inhibited_by == (silenced,)
    assert seen[resting].muted_by == ("night",)
    assert all(alert.is_muted and alert.is_firing for alert in seen.values())


def test_alerts_of_every_state_are_requested(alertmanager: MockAlertmanager) -> None:
    get_alerts(alertmanager)
    asked = alertmanager.requests[0].path
    assert asked == "/api/v2/alerts?active=true&silenced=true&inhibited=true&unprocessed=true"


def test_an_alert_past_its_end_does_not_fire(alertmanager: MockAlertmanager) -> None:
    ended = {"fingerprint": "ab", "endsAt": "2026-11-23T12:02:59Z", "status": {"state": "active"}}
    assert not parse_body(alertmanager, [ended]).is_firing


@pytest.mark.parametrize("ends_at", [ENDS_LATER, "0001-01-01T00:00:00Z", "soon", None, 5])
def test_an_alert_without_an_end_that_is_past_fires(alertmanager: MockAlertmanager, ends_at: object) -> None:
    assert parse_body(alertmanager, [{"fingerprint": "ab", "endsAt": ends_at}]).is_firing


@pytest.mark.parametrize("state", ["active", "suppressed", "unprocessed", "of a later version"])
def test_an_alert_fires_in_every_state(alertmanager: MockAlertmanager, state: str) -> None:
    alert = {"fingerprint": "ab", "endsAt": ENDS_LATER, "status": {"state": state, "mutedBy": None}}
    assert parse_body(alertmanager, [alert]) == RemoteAlert("ab", is_firing=True)


def test_the_fingerprint_of_an_alert_without_one_comes_from_its_labels(
    alertmanager: MockAlertmanager,
) -> None:
    assert parse_body(alertmanager, [{"labels": LABELS}]).fingerprint == fingerprint(LABELS)


@pytest.mark.parametrize("body", ["null", "[]"])
def test_an_empty_list_is_no_error(alertmanager: MockAlertmanager, body: str) -> None:
    alertmanager.answer_next("GET", 200, body.encode())
    assert get_alerts(alertmanager) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Sign in</html>",
        b'{"status": "success", "data": []}',
        b"[{}]",
        b'[{"labels": {"a": 1}}]',
        b"[3]",
        b"[" * 100_000,
        b'[{"fingerprint": "\xff"}]',
    ],
)
def test_a_malformed_list_does_not_count_as_empty(alertmanager: MockAlertmanager, body: bytes) -> None:
    alertmanager.answer_next("GET", 200, body)
    assert "not as Alertmanager answers" in reason(alertmanager)


def test_a_poll_returns_the_start_time_of_each_replica(alertmanager: MockAlertmanager) -> None:
    alertmanager.up_since = NOW - 500.25
    poll = a_client(alertmanager.url).poll_alerts()
    assert poll == Poll(NOW, (Replica({}, NOW - 500.25),))


def test_the_start_time_is_requested_after_the_list(alertmanager: MockAlertmanager) -> None:
    """Else, after a restart in between, an empty list would be trusted like one of the old process."""
    get_alerts(alertmanager)
    assert [request.path.partition("?")[0] for request in alertmanager.requests] == [
        "/api/v2/alerts",
        "/api/v2/status",
    ]


@pytest.mark.parametrize("behind_s", [-3600.0, 3600.0])
def test_a_wrong_clock_does_not_change_the_uptime_of_a_replica(behind_s: float) -> None:
    with MockAlertmanager(clock=lambda: NOW - behind_s) as alertmanager:
        alertmanager.up_since = NOW - behind_s - 60
        alertmanager.fires(**LABELS)
        poll = a_client(alertmanager.url).poll_alerts()
        [replica] = poll.replicas
        assert replica.up_since == pytest.approx(NOW - 60, abs=1)
        assert all(alert.is_firing for alert in replica.alerts.values())


def test_without_a_date_header_both_clocks_are_assumed_equal(alertmanager: MockAlertmanager) -> None:
    alertmanager.dates_answers = False
    alertmanager.up_since = NOW - 60
    assert a_client(alertmanager.url).poll_alerts().replicas[0].up_since == NOW - 60


# --- unavailable replicas


def test_a_replica_that_is_down_is_unreachable_and_the_other_is_read(alertmanager: MockAlertmanager) -> None:
    key = alertmanager.fires(**LABELS)
    with MockAlertmanager() as other:
        down = other.url
    poll = a_client(down, alertmanager.url).poll_alerts()
    assert poll.unreachable == {down: "connection refused"}
    assert [set(replica.alerts) for replica in poll.replicas] == [{key}]
    assert not poll.is_complete


def test_hanging_replicas_delay_a_poll_by_one_timeout(alertmanager: MockAlertmanager) -> None:
    with MockAlertmanager() as silent, MockAlertmanager() as mute:
        silent.is_silent = mute.is_silent = True
        started = time.monotonic()
        poll = a_client(silent.url, alertmanager.url, mute.url, timeout_s=0.4).poll_alerts()
        assert time.monotonic() - started < 1.0
    assert list(poll.unreachable.values()) == ["no answer within 0.4 s"] * 2
    assert len(poll.replicas) == 1


def test_without_replicas_a_poll_returns_nothing() -> None:
    poll = a_client().poll_alerts()
    assert poll == Poll(NOW)
    assert not poll.is_complete


def test_an_error_response_is_quoted(alertmanager: MockAlertmanager) -> None:
    alertmanager.answer_next("GET", 400, b'"bad matcher format: foo"')
    assert reason(alertmanager) == "HTTP 400: bad matcher format: foo"
    alertmanager.answer_next("GET", 503, b"<html>\nno upstream\x1b[0m</html>")
    assert reason(alertmanager) == "HTTP 503: <html> no upstream[0m</html>"


def test_a_replica_that_cuts_the_connection_is_unreachable(alertmanager: MockAlertmanager) -> None:
    alertmanager.drop_answer("GET")
    assert reason(alertmanager) == "the connection was cut"


def test_a_truncated_response_is_an_error(alertmanager: MockAlertmanager) -> None:
    alertmanager.answer_next("GET", 200, b"[]", {"Content-Length": "100"})
    assert reason(alertmanager) == "the connection was cut"


def test_an_invalid_address_is_unavailable() -> None:
    poll = a_client("http://127.0.0.1:x").poll_alerts()
    assert list(poll.unreachable.values()) == ["the address can't be used"]


def test_a_server_without_tls_at_an_https_address_is_unavailable(alertmanager: MockAlertmanager) -> None:
    poll = a_client(alertmanager.url.replace("http:", "https:")).poll_alerts()
    assert list(poll.unreachable.values()) == ["it does not speak TLS as we do"]


def test_redirects_are_not_followed(alertmanager: MockAlertmanager) -> None:
    with MockAlertmanager() as elsewhere:
        alertmanager.answer_next("GET", 302, headers={"Location": elsewhere.url})
        assert reason(alertmanager) == f"HTTP 302: {elsewhere.url}"
        assert elsewhere.requests == []


def test_an_endless_response_is_aborted(alertmanager: MockAlertmanager) -> None:
    alertmanager.answer_next("GET", 200, b"x" * 300_000)
    with pytest.raises(TemporaryDeliveryError, match="its answer is too long"):
        send_request("GET", parse_base_url(alertmanager.url), "/", timeout_s=2, max_bytes=100_000)


def test_a_very_slow_response_is_aborted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            line, _ = server.accept()
            with line:
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                for _ in range(100):
                    time.sleep(0.05)
                    try:
                        line.sendall(b" ")
                    except OSError:
                        return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        started = time.monotonic()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(TemporaryDeliveryError, match="no answer within"):
            send_request("GET", parse_base_url(url), "/", timeout_s=0.3)
        assert time.monotonic() - started < 1.0
        thread.join(6)


# --- addresses, logins and proxies


def test_the_path_prefix_of_the_api_is_used() -> None:
    with MockAlertmanager(prefix="/team/alertmanager") as alertmanager:
        assert a_client(alertmanager.url).poll_alerts().is_complete
        assert a_client(alertmanager.url + "/").poll_alerts().is_complete


def test_a_login_in_the_address_is_used_and_never_shown() -> None:
    with MockAlertmanager(login="alice:s3cr@t") as alertmanager:
        url = alertmanager.url.replace("//", "//alice:s3cr%40t@")
        client = a_client(url)
        good = client.poll_alerts()
        assert good.is_complete
        alertmanager.login = "bob:other"
        bad = client.poll_alerts()
        assert bad.unreachable == {alertmanager.url: "HTTP 401: Unauthorized"}
        assert "s3cr" not in repr((good, bad, parse_base_url(url)))


def test_a_connection_error_does_not_quote_the_login() -> None:
    with MockAlertmanager() as alertmanager:
        url = alertmanager.url.replace("//", "//alice:s3cr3t@")
    with pytest.raises(TemporaryDeliveryError) as caught:
        a_client(url).list_silences("")
    assert "s3cr3t" not in repr((caught.value, caught.value.__cause__, a_client(url).poll_alerts()))


def test_loopback_is_reached_without_the_proxy_of_the_environment(
    alertmanager: MockAlertmanager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert a_client(alertmanager.url).poll_alerts().is_complete
