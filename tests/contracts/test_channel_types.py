"""What holds for every registered type of channel; a channel of the tests is one by its registration alone."""

from __future__ import annotations

import time
from dataclasses import fields

import pytest
from msgspec.structs import replace

from receiver.app.channels import (
    CHANNEL_TYPES,
    build_channels,
    build_dispatcher,
    build_rate_limiter,
    list_notifying_channels,
    list_threads,
)
from receiver.errors import TemporaryDeliveryError
from receiver.model.actions import CreateSilence, DeliveryAction, Post
from receiver.model.routing import ALERTMANAGER, PAGERDUTY, SLACK, Target
from receiver.storage.keys import TASKS
from tests.builders import ROUTING_KEY, a_notification, a_page, an_incident
from tests.rig import ROUTING, Rig
from tests.support.dispatching import incident_subject
from tests.support.echo_channel import ECHO, echo_type

NOWHERE = "http://127.0.0.1:1"
NAMES = [*CHANNEL_TYPES, ECHO]


def an_action(name: str, *, is_simulated: bool = False) -> DeliveryAction:
    """Return an action for the channel *name*."""
    if name == PAGERDUTY:
        target = Target(PAGERDUTY, "on-call") if is_simulated else a_page().target
        return replace(a_page(), target=target, key_digest="")
    if name == ALERTMANAGER:
        return CreateSilence(
            key="silence:1",
            target=Target(ALERTMANAGER, ""),
            matchers=(("alertname", "DiskFull"),),
            ends_at=2_000_000_000.0,
            by="alice",
            comment="known [receiver a-1#1]",
        )
    return Post(key="message", target=Target(name, "#alerts-critical"))


def configure(rig: Rig, monkeypatch: pytest.MonkeyPatch, *, is_simulated: bool = False) -> None:
    """Register the channel of the tests, and let every vendor be where nothing listens, or simulated."""
    monkeypatch.setitem(CHANNEL_TYPES, ECHO, echo_type("" if is_simulated else NOWHERE))
    rig.environ |= {"SLACK_API_URL": f"{NOWHERE}/api/", "PAGERDUTY_EVENTS_URL": NOWHERE}
    rig.environ |= {"SLACK_BOT_TOKEN": ""} if is_simulated else {"PAGERDUTY_ONCALL_KEY": ROUTING_KEY}
    rig.configure(ROUTING + f'alertmanager: {{url: "{NOWHERE}"}}\n')


@pytest.mark.parametrize("name", NAMES)
def test_an_unreachable_vendor_is_a_temporary_error_at_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    configure(rig, monkeypatch)
    channel = build_channels(rig.services, rig.keys)[name]
    started = time.monotonic()
    with pytest.raises(TemporaryDeliveryError) as failed:
        channel.send(a_notification(an_incident(), an_action(name)))
    assert time.monotonic() - started < 3
    assert not failed.value.maybe_sent
    assert failed.value.reason.isidentifier()


@pytest.mark.parametrize("name", [name for name in NAMES if name != ALERTMANAGER])
def test_a_channel_without_credentials_is_simulated(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    configure(rig, monkeypatch, is_simulated=True)
    notification = a_notification(an_incident(), an_action(name, is_simulated=True))
    receipt = build_channels(rig.services, rig.keys)[name].send(notification)
    assert (receipt.is_simulated, receipt.at) == (True, rig.clock())
    assert receipt.reference
    (message,) = rig.services.simulated.list_newest(1)
    assert (message["incident"], message["key"]) == (notification.incident.id, notification.action.key)


def test_a_registered_channel_gets_deliveries_health_and_threads(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = rig.services.incidents.load_incident(rig.fires("DiskFull"))
    configure(rig, monkeypatch)
    limiter = build_rate_limiter(rig.services)
    dispatcher = build_dispatcher(rig.services, build_channels(rig.services, rig.keys), limiter)
    action = an_action(ECHO)
    subject = incident_subject(rig.services.incidents, incident, rig.clock)
    dispatcher.dispatch(subject, a_notification(incident, replace(action, key="echo")), "")
    saved = rig.services.incidents.load_incident(incident.id).deliveries["echo"]
    assert (saved.target, saved.attempts, saved.receipt) == ("echo:#alerts-critical", 1, None)
    targets = {target.channel for target in rig.services.health.list_targets() if target.is_failing}
    assert ECHO in targets
    assert list_threads()[ECHO] == 2


def test_every_channel_has_a_queue_and_the_limits_it_names(rig: Rig) -> None:
    assert tuple(list_threads()) == (SLACK, PAGERDUTY, ALERTMANAGER, TASKS)
    known = {field.name for field in fields(rig.services.routing.limits)}
    assert {limit for one in CHANNEL_TYPES.values() for limit in one.limits} <= known
    assert list_notifying_channels() == (SLACK, PAGERDUTY)
