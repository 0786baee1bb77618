"""Every outcome of sending to PagerDuty; each call sends one request and never sleeps."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace as replace_fields
from typing import Any

import pytest
from msgspec.structs import replace

from receiver.engine.notification import IncidentNotification
from receiver.engine.ports import Channel
from receiver.errors import DeliveryError, PermanentDeliveryError, TemporaryDeliveryError
from receiver.integrations.pagerduty.channel import PagerDutyChannel
from receiver.integrations.pagerduty.routing_keys import RoutingKeys
from receiver.integrations.pagerduty.session import post_event
from receiver.model.delivery import Receipt
from receiver.model.routing import PAGERDUTY, Target
from receiver.text import Secret
from tests.builders import (
    OPENED_AT,
    ROUTING_KEY,
    a_notification,
    a_page,
    a_resolve_page,
    a_responder,
    a_step,
    an_acknowledge_page,
    an_alert,
    an_incident,
)
from tests.cli.stub import Stub
from tests.mocks.pagerduty import MockPagerDuty

INCIDENT = an_incident()
KEY = a_page(INCIDENT).dedup_key


@pytest.fixture
def pagerduty() -> Iterator[MockPagerDuty]:
    with MockPagerDuty([ROUTING_KEY]) as mock:
        yield mock


@pytest.fixture
def channel(pagerduty: MockPagerDuty) -> PagerDutyChannel:
    return a_channel(pagerduty.url, timeout_s=1.0, clock=lambda: OPENED_AT + 1)


def a_channel(url: str, *, key: str = ROUTING_KEY, **more: Any) -> PagerDutyChannel:
    keys = RoutingKeys()
    keys.remember_keys([a_responder(pagerduty=key)])
    return PagerDutyChannel(keys, url, **{"record": lambda _: None, **more})


def the_page(routing_key: str = ROUTING_KEY) -> IncidentNotification:
    return a_notification(INCIDENT, a_page(INCIDENT, a_step(a_responder(pagerduty=routing_key))))


def refuse(channel: Channel, notification: IncidentNotification) -> DeliveryError:
    """Send and return the error that it must raise; assert that nothing slept."""
    started = time.monotonic()
    with pytest.raises(DeliveryError) as caught:
        channel.send(notification)
    assert time.monotonic() - started < 2.5
    assert ROUTING_KEY not in repr(caught.value)
    assert ROUTING_KEY not in str(caught.value)
    return caught.value


def temporary(channel: Channel, notification: IncidentNotification | None = None) -> TemporaryDeliveryError:
    error = refuse(channel, notification or the_page())
    assert isinstance(error, TemporaryDeliveryError)
    return error


def permanent(channel: Channel, notification: IncidentNotification | None = None) -> PermanentDeliveryError:
    error = refuse(channel, notification or the_page())
    assert isinstance(error, PermanentDeliveryError)
    return error


def test_a_page_opens_an_incident(pagerduty: MockPagerDuty, channel: PagerDutyChannel) -> None:
    assert channel.send(the_page()) == Receipt(OPENED_AT + 1, KEY)

    [incident] = pagerduty.opened(ROUTING_KEY)
    assert (incident.dedup_key, incident.state) == (KEY, "triggered")
    assert incident.summary == "[CRITICAL] HighCPUUsage: CPU above 90 % on web-1:9100"


def test_the_same_page_sent_twice_opens_one_incident(
    pagerduty: MockPagerDuty, channel: PagerDutyChannel
) -> None:
    channel.send(the_page())
    channel.send(the_page())
    assert len(pagerduty.triggers()) == 2
    assert len(pagerduty.opened()) == 1


def test_acknowledge_and_resolve_change_the_incident(
    pagerduty: MockPagerDuty, channel: PagerDutyChannel
) -> None:
    channel.send(the_page())
    channel.send(a_notification(INCIDENT, an_acknowledge_page(INCIDENT)))
    assert pagerduty.opened()[0].state == "acknowledged"

    assert channel.send(a_notification(INCIDENT, a_resolve_page(INCIDENT))).reference == KEY
    assert pagerduty.opened()[0].state == "resolved"


def test_without_a_key_it_is_simulated_and_recorded(pagerduty: MockPagerDuty) -> None:
    recorded: list[Mapping[str, Any]] = []
    channel = a_channel(pagerduty.url, clock=lambda: OPENED_AT, record=recorded.append)
    notification = a_notification(
        INCIDENT, replace(a_page(INCIDENT), target=Target(PAGERDUTY, "on-call"), key_digest="")
    )

    assert channel.send(notification) == Receipt(OPENED_AT, KEY, is_simulated=True)
    assert pagerduty.requests == []
    [message] = recorded
    assert (message["incident"], message["to"]) == (INCIDENT.id, "pagerduty:on-call")
    assert message["event"]["payload"]["summary"].startswith("[CRITICAL]")
    assert "routing_key" not in message["event"]


def test_a_429_is_raised_at_once_with_its_retry_after(
    pagerduty: MockPagerDuty, channel: PagerDutyChannel
) -> None:
    """pdpyras without our settings repeats a 429 for ever."""
    pagerduty.fail_next(429, retry_after=17)
    started = time.monotonic()
    error = temporary(channel)

    assert time.monotonic() - started < 1
    assert (error.reason, error.retry_after, error.maybe_sent) == ("rate_limited", 17.0, False)
    assert len(pagerduty.requests) == 1


@pytest.mark.parametrize("header", [None, "", "soon", "-3", "nan", "1e9"])
def test_a_429_without_a_valid_retry_after_waits_5_s(
    pagerduty: MockPagerDuty, channel: PagerDutyChannel, header: str | None
) -> None:
    pagerduty.fail_next(429, retry_after=header)
    assert temporary(channel).retry_after == 5.0


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
def test_a_5xx_is_a_temporary_error_and_is_not_repeated_by_the_library(
    pagerduty: MockPagerDuty, channel: PagerDutyChannel, status: int
) -> None:
    pagerduty.fail_next(status)
    error = temporary(channel)
    assert (error.reason, error.retry_after) == ("server_error", 0.0)
    assert error.maybe_sent == (status in (500, 502, 504)), "only these may have taken the event"
    assert len(pagerduty.requests) == 1


def test_the_retry_after_of_a_5xx_is_respected(pagerduty: MockPagerDuty, channel: PagerDutyChannel) -> None:
    pagerduty.fail_next(503, retry_after=60)
    assert temporary(channel).retry_after == 60.0


def test_after_a_timeout_the_event_was_perhaps_sent(pagerduty: MockPagerDuty) -> None:
    pagerduty.hang(30)
    error = temporary(a_channel(pagerduty.url, timeout_s=0.2))

    assert (error.reason, error.maybe_sent) == ("no_answer", True)
    pagerduty.wait_until(lambda mock: mock.requests and mock.opened())
    assert len(pagerduty.requests) == 1
    assert len(pagerduty.opened()) == 1


def test_a_hanging_pagerduty_takes_no_longer_than_the_timeout(pagerduty: MockPagerDuty) -> None:
    pagerduty.is_silent = True
    error = temporary(a_channel(pagerduty.url, timeout_s=0.2))
    assert (error.reason, error.maybe_sent) == ("no_answer", True)
    assert pagerduty.events == []


def test_after_a_closed_connection_the_event_was_perhaps_sent(
    pagerduty: MockPagerDuty, channel: PagerDutyChannel
) -> None:
    pagerduty.drop_answer()
    error = temporary(channel)

    assert (error.reason, error.maybe_sent) == ("no_answer", True)
    pagerduty.wait_until(lambda mock: mock.requests and mock.opened())
    assert len(pagerduty.requests) == 1
    channel.send(the_page())
    assert len(pagerduty.opened()) == 1


def test_after_a_refused_connection_the_event_was_not_sent(
    pagerduty: MockPagerDuty, channel: PagerDutyChannel
) -> None:
    pagerduty.stop()
    error = temporary(channel)
    assert (error.reason, error.maybe_sent) == ("unreachable", False)

    pagerduty.start()
    channel.send(the_page())
    assert len(pagerduty.opened()) == 1


@pytest.mark.parametrize("url", ["no address", "", "http://[::1", "ftp://x"])
def test_an_invalid_address_is_unreachable(url: str) -> None:
    error = temporary(a_channel(url, timeout_s=1.0))
    assert (error.reason, error.maybe_sent) == ("unreachable", False)


def test_an_unknown_host_name_is_unreachable() -> None:
    with pytest.raises(TemporaryDeliveryError) as caught:  # takes as long as the machine's resolver
        a_channel("http://no-such-host.invalid").send(the_page())
    assert (caught.value.reason, caught.value.maybe_sent) == ("unreachable", False)


def test_a_response_that_is_no_http_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def send_garbage() -> None:
            line, _ = server.accept()
            with line:
                line.recv(65536)
                line.sendall(b"\x00\xff" * 100)

        thread = threading.Thread(target=send_garbage)
        thread.start()
        error = temporary(a_channel(f"http://127.0.0.1:{server.getsockname()[1]}", timeout_s=1.0))
        thread.join(5)
    assert (error.reason, error.maybe_sent) == ("no_answer", True)


def test_https_to_a_port_without_tls_is_unreachable(pagerduty: MockPagerDuty) -> None:
    error = temporary(a_channel(pagerduty.url.replace("http://", "https://"), timeout_s=1.0))
    assert (error.reason, error.maybe_sent) == ("unreachable", False), "the handshake comes before the event"


@pytest.mark.parametrize("status", [200, 302, 401, 403, 404, 451])
def test_the_page_of_a_proxy_is_no_answer_of_pagerduty(status: int) -> None:
    """Such as a sign-in page: the event is sent again, and the key counts neither as accepted nor as wrong."""
    with Stub() as proxy:
        proxy.set_response("POST /v2/enqueue", b"<html>Sign in</html>", status=status)
        error = temporary(a_channel(proxy.url))
    assert error.reason == "unexpected_answer"


@pytest.mark.parametrize(("status", "body"), [(200, {"status": "success"}), (202, None), (202, b"")])
def test_an_accepted_event_has_a_receipt(status: int, body: object) -> None:
    with Stub() as stub:
        stub.set_response("POST /v2/enqueue", body, status=status)
        assert a_channel(stub.url).send(the_page()).reference == KEY


def test_if_details_are_refused_the_page_is_sent_without_them(
    pagerduty: MockPagerDuty, channel: PagerDutyChannel
) -> None:
    pagerduty.refuses_details = True
    receipt = channel.send(the_page())

    assert receipt == Receipt(OPENED_AT + 1, KEY, note="without details: PagerDuty refused the full event")
    [event] = pagerduty.triggers()
    assert set(event.body["payload"]) == {"summary", "source", "severity"}
    assert [request.status for request in pagerduty.requests] == [400, 202]


def test_an_event_refused_twice_is_a_permanent_error(
    pagerduty: MockPagerDuty, channel: PagerDutyChannel
) -> None:
    pagerduty.fail_next(400, words="summary is in bad taste", times=2)
    error = permanent(channel)
    assert (error.reason, error.detail) == ("invalid_event", "HTTP 400: summary is in bad taste")
    assert len(pagerduty.requests) == 2


def test_the_second_attempt_without_details_can_fail_temporarily(
    pagerduty: MockPagerDuty, channel: PagerDutyChannel
) -> None:
    pagerduty.fail_next(400)
    pagerduty.fail_next(429)
    assert temporary(channel).reason == "rate_limited"


def test_a_refused_resolve_is_not_sent_again(pagerduty: MockPagerDuty, channel: PagerDutyChannel) -> None:
    pagerduty.fail_next(400)
    assert permanent(channel, a_notification(INCIDENT, a_resolve_page(INCIDENT))).reason == "invalid_event"
    assert len(pagerduty.requests) == 1


@pytest.mark.parametrize("key", ["f" * 32, "too-short", "0123456789abcdef0123456789abcde-"])
def test_an_unknown_routing_key_is_a_permanent_error_at_once(pagerduty: MockPagerDuty, key: str) -> None:
    error = permanent(a_channel(pagerduty.url, key=key), the_page(key))
    assert error.reason == "invalid_routing_key"
    assert key not in str(error)
    assert len(pagerduty.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_401_or_403_is_reported_as_an_invalid_key(
    pagerduty: MockPagerDuty, channel: PagerDutyChannel, status: int
) -> None:
    pagerduty.fail_next(status)
    assert permanent(channel).reason == "invalid_routing_key"
    assert len(pagerduty.requests) == 1


def test_a_response_that_quotes_the_key_does_not_leak_it(
    pagerduty: MockPagerDuty, channel: PagerDutyChannel
) -> None:
    pagerduty.fail_next(400, words=f"Invalid routing key {ROUTING_KEY}")
    assert permanent(channel).detail == "HTTP 400: Invalid routing key ***"


def test_a_redirect_is_not_followed(pagerduty: MockPagerDuty, channel: PagerDutyChannel) -> None:
    """It would send the routing key to the host that the redirect names."""
    pagerduty.fail_next(307)
    assert temporary(channel).reason == "unexpected_answer"
    assert len(pagerduty.requests) == 1


def test_the_library_logs_nothing(
    pagerduty: MockPagerDuty, channel: PagerDutyChannel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pagerduty.fail_next(429)
    temporary(channel)
    assert caplog.records == []


def test_two_thousand_alerts_arrive_within_the_limit(
    pagerduty: MockPagerDuty, channel: PagerDutyChannel
) -> None:
    """The size counted while rendering is the size that is sent."""
    words = "щ" * 3_000
    alerts = [
        an_alert(instance=f"Ж-{n}", labels={"x": words[:200]}, annotations={"a": words}) for n in range(2_000)
    ]
    incident = an_incident(*alerts)
    channel.send(a_notification(incident, a_page(incident)))

    [request] = pagerduty.requests
    assert request.status == 202
    assert 500_000 < request.size <= 512_000


def test_many_threads_share_a_channel(pagerduty: MockPagerDuty, channel: PagerDutyChannel) -> None:
    threads = [threading.Thread(target=channel.send, args=(the_page(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(pagerduty.triggers(ROUTING_KEY)) == 8
    assert len(pagerduty.opened()) == 1


def test_an_earlier_attempt_need_not_be_searched(channel: PagerDutyChannel) -> None:
    port: Channel = channel
    assert port.find_receipt(the_page()) is None


def test_the_address_may_include_the_path(pagerduty: MockPagerDuty) -> None:
    event = {"event_action": "resolve", "dedup_key": "x"}
    assert post_event(pagerduty.url + "/v2/enqueue/", Secret(ROUTING_KEY), event, 1.0).is_ok


def test_importing_the_channel_emits_no_warning() -> None:
    """pdpyras warns at import, and an operator could do nothing about it."""
    command = [sys.executable, "-W", "error", "-c", "import receiver.integrations.pagerduty.channel"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_clock_that_was_set_back_does_not_stretch_the_wait_for_a_routing_key() -> None:
    page = replace_fields(the_page(), first_attempt_at=OPENED_AT)
    for now in (OPENED_AT, OPENED_AT + 29):
        with pytest.raises(TemporaryDeliveryError, match="key_unknown"):
            RoutingKeys().find_routing_key(page, now)
    for now in (OPENED_AT + 30, OPENED_AT - 3600):
        with pytest.raises(PermanentDeliveryError, match="key_gone"):
            RoutingKeys().find_routing_key(page, now)
