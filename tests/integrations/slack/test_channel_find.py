"""After a crash, a message that arrived is found and not sent again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from receiver.engine.notification import Notification
from receiver.errors import TemporaryDeliveryError
from receiver.integrations.slack.channel import SlackChannel
from receiver.model.delivery import PostedState, ReportedJoins
from receiver.text import Secret
from tests.builders import OPENED_AT, a_notification, a_post, a_reply, an_incident, an_update
from tests.mocks.slack import MockSlack

SINCE = OPENED_AT - 1


def sought(notification: Notification, since: float = SINCE) -> Notification:
    """Return *notification* as the dispatcher seeks it whose first attempt was at *since*."""
    return replace(notification, first_attempt_at=since)


def a_channel(slack: MockSlack) -> SlackChannel:
    return SlackChannel(Secret("xoxb-test"), slack.url, 2.0, clock=lambda: OPENED_AT)


@pytest.fixture
def channel(slack: MockSlack) -> SlackChannel:
    return a_channel(slack)


def send_without_response(slack, channel, notification):
    slack.drop_answer("chat.postMessage")
    with pytest.raises(TemporaryDeliveryError):
        channel.send(notification)


def test_a_post_whose_response_was_lost_is_found(slack, channel):
    send_without_response(slack, channel, a_notification())
    found = channel.find_receipt(sought(a_notification()))
    assert found is not None
    assert found.reference == slack.parents[0].reference
    assert found.link.startswith("https://example.slack.com/archives/C0ALERTSCRITICAL/p")


def test_a_post_that_never_arrived_is_not_found(slack, channel):
    slack.fail_next("chat.postMessage", status=503, body=b"")
    with pytest.raises(TemporaryDeliveryError):
        channel.send(a_notification())
    assert channel.find_receipt(sought(a_notification())) is None


def test_the_message_of_another_incident_is_not_found(slack, channel):
    channel.send(a_notification(an_incident(id="another")))
    channel.send(a_notification(action=a_post(key="message_replacement")))
    channel.send(a_notification(action=a_post(instance="5")))
    assert channel.find_receipt(sought(a_notification())) is None


def test_the_same_message_from_long_before_is_not_found(slack, channel):
    channel.send(a_notification())
    assert channel.find_receipt(sought(a_notification(), OPENED_AT + 3600)) is None


def test_a_post_is_found_whatever_its_first_content(channel):
    sent = channel.send(a_notification(action=a_post(content_version=PostedState())))
    found = channel.find_receipt(
        sought(a_notification(action=a_post(content_version=PostedState(joins=1, revision=1))))
    )
    assert found is not None
    assert found.reference == sent.reference


def test_a_reply_whose_response_was_lost_is_found(slack, channel):
    parent = channel.send(a_notification())
    reply = a_notification(action=a_reply("resolved", message=parent.reference))
    send_without_response(slack, channel, reply)
    found = channel.find_receipt(sought(reply))
    assert found is not None
    assert found.reference == slack.replies()[0].reference


def test_a_reply_about_other_alerts_is_not_found(channel):
    parent = channel.send(a_notification())
    channel.send(
        a_notification(
            action=a_reply(
                "joined", instance="", content_version=ReportedJoins(0, 1), message=parent.reference
            )
        )
    )
    later = a_notification(
        action=a_reply("joined", instance="", content_version=ReportedJoins(1, 2), message=parent.reference)
    )
    assert channel.find_receipt(sought(later)) is None


def test_an_edit_is_never_searched(slack, channel):
    parent = channel.send(a_notification())
    slack.calls.clear()
    assert channel.find_receipt(sought(a_notification(action=an_update(message=parent.reference)))) is None
    assert slack.calls == []


def test_a_known_channel_is_not_looked_up(slack, channel):
    channel.send(a_notification())
    channel.find_receipt(sought(a_notification()))
    assert slack.calls_of("conversations.list") == []


def test_an_unknown_channel_is_looked_up_by_name(slack, channel):
    channel.send(a_notification())
    assert a_channel(slack).find_receipt(sought(a_notification())) is not None
    assert len(slack.calls_of("conversations.list")) == 1


def test_a_channel_given_by_its_id_is_not_looked_up(slack, channel):
    channel.send(a_notification(action=a_post("C0ALERTSCRITICAL")))
    assert (
        a_channel(slack).find_receipt(sought(a_notification(action=a_post("C0ALERTSCRITICAL")))) is not None
    )
    assert slack.calls_of("conversations.list") == []


def test_the_lookup_of_a_channel_ends_after_some_pages():
    names = tuple(f"#c{n:05}" for n in range(4000))
    with MockSlack((*names, "#alerts-critical")) as slack:
        assert a_channel(slack).find_receipt(sought(a_notification())) is None
        assert len(slack.calls_of("conversations.list")) == 3


def test_a_message_under_many_later_ones_is_found(slack, channel):
    channel.send(a_notification())
    for n in range(250):
        slack.workspace.call("chat.postMessage", {"channel": "#alerts-critical", "text": f"chat {n}"})
    assert channel.find_receipt(sought(a_notification())) is not None
    assert len(slack.calls_of("conversations.history")) == 2


@pytest.mark.parametrize(
    "failure",
    [
        {"error": "missing_scope"},
        {"status": 429, "retry_after": 5},
        {"status": 500},
        {"body": b"<html>"},
        {"body": b'{"ok": true, "messages": [1, null, {"metadata": 3}], "response_metadata": []}'},
        {"body": b'{"ok": true, "messages": "none", "channels": {}}'},
    ],
)
def test_if_slack_refuses_the_search_nothing_is_found(slack, channel, failure):
    channel.send(a_notification())
    slack.fail_next(times=9, **failure)
    assert channel.find_receipt(sought(a_notification())) is None
    assert a_channel(slack).find_receipt(sought(a_notification())) is None


@pytest.mark.parametrize(
    "failure", [{"status": 503}, {"body": b"<html>"}, {"status": 429, "retry_after": 60}]
)
@pytest.mark.parametrize("since_s", [0.0, -14.9, 14.9])
def test_a_search_without_an_answer_is_to_be_tried_again_for_15_s(slack, channel, failure, since_s):
    channel.send(a_notification())
    slack.fail_next("conversations.history", times=9, **failure)
    searched = replace(sought(a_notification()), searched_since=OPENED_AT + since_s)
    with pytest.raises(TemporaryDeliveryError) as caught:
        channel.find_receipt(searched)
    assert caught.value.reason != "rate_limited"
    assert caught.value.retry_after <= 15.0
    for over_s in (-15.0, 15.0, 3600.0):
        assert channel.find_receipt(replace(searched, searched_since=OPENED_AT + over_s)) is None


def test_a_search_that_is_refused_is_not_tried_again(slack, channel):
    channel.send(a_notification())
    slack.fail_next("conversations.history", error="missing_scope")
    assert channel.find_receipt(replace(sought(a_notification()), searched_since=OPENED_AT)) is None


def test_a_reply_to_a_simulated_message_is_not_found(channel):
    assert (
        channel.find_receipt(sought(a_notification(action=a_reply("resolved", message="simulated:x:parent"))))
        is None
    )
