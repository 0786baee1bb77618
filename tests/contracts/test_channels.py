"""What the engine requires of every channel."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from receiver.engine.ports import Channel
from receiver.errors import TemporaryDeliveryError
from receiver.integrations.alertmanager.channel import AlertmanagerChannel
from receiver.integrations.alertmanager.client import AlertmanagerClient
from receiver.integrations.pagerduty.channel import PagerDutyChannel
from receiver.integrations.pagerduty.routing_keys import RoutingKeys
from receiver.integrations.slack.channel import SimulatedSlack, SlackChannel
from receiver.model.actions import CreateSilence, DeliveryAction
from receiver.model.routing import ALERTMANAGER, PAGERDUTY, Target
from receiver.text import Secret
from tests.builders import ROUTING_KEY, a_notification, a_page, a_post, an_incident

NOW = 1_795_435_500.0
NOWHERE = "http://127.0.0.1:1"


def a_silence() -> DeliveryAction:
    target = Target(ALERTMANAGER, "")
    matchers = (("alertname", "HighCPUUsage"),)
    return CreateSilence(
        key="silence:1",
        target=target,
        matchers=matchers,
        ends_at=NOW + 3600,
        by="alice",
        comment="known [receiver a-1#1]",
    )


def a_simulated_page() -> DeliveryAction:
    return replace(a_page(), target=Target(PAGERDUTY, "on-call", Secret()), key_digest="")


REAL: list[tuple[str, Callable[[str], Channel], Callable[[], DeliveryAction]]] = [
    ("slack", lambda url: SlackChannel(Secret("xoxb-x"), url + "/api/", clock=lambda: NOW), a_post),
    (
        "pagerduty",
        lambda url: PagerDutyChannel(RoutingKeys(), url, clock=lambda: NOW, record=lambda _: None),
        lambda: replace(a_page(), target=Target(PAGERDUTY, "on-call", Secret(ROUTING_KEY)), key_digest=""),
    ),
    (
        "alertmanager",
        lambda url: AlertmanagerChannel(
            {"": AlertmanagerClient([url], clock=lambda: NOW)}, clock=lambda: NOW
        ),
        a_silence,
    ),
]
SIMULATED: list[tuple[str, Channel, Callable[[], DeliveryAction]]] = [
    ("slack", SimulatedSlack(lambda _: None, clock=lambda: NOW), a_post),
    (
        "pagerduty",
        PagerDutyChannel(RoutingKeys(), NOWHERE, clock=lambda: NOW, record=lambda _: None),
        a_simulated_page,
    ),
]


@pytest.mark.parametrize(("name", "build", "action"), REAL, ids=[row[0] for row in REAL])
def test_a_refused_connection_is_an_error_at_once_and_nothing_was_sent(
    name: str, build: Callable[[str], Channel], action: Callable[[], DeliveryAction]
) -> None:
    started = time.monotonic()
    with pytest.raises(TemporaryDeliveryError) as failed:
        build(NOWHERE).send(a_notification(an_incident(), action()))
    assert time.monotonic() - started < 3
    assert not failed.value.maybe_sent
    assert failed.value.reason.isidentifier()


@pytest.mark.parametrize(("name", "channel", "action"), SIMULATED, ids=[row[0] for row in SIMULATED])
def test_a_simulated_receipt_is_marked_and_has_the_time_of_the_given_clock(
    name: str, channel: Channel, action: Callable[[], DeliveryAction]
) -> None:
    receipt = channel.send(a_notification(an_incident(), action()))
    assert (receipt.is_simulated, receipt.at) == (True, NOW)
    assert receipt.reference
