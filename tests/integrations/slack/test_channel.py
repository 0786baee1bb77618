"""Messages, edits and replies as they are in Slack after the channel sent them."""

from __future__ import annotations

import pytest

from receiver.engine.ports import Channel
from receiver.errors import DeliveryError, PermanentDeliveryError, TemporaryDeliveryError
from receiver.integrations.slack.channel import SlackChannel
from receiver.text import Secret
from tests.builders import (
    OPENED_AT,
    a_notification,
    a_policy,
    a_post,
    a_reply,
    an_alert,
    an_excerpt,
    an_incident,
    an_update,
)
from tests.mocks.slack import MockSlack

NOW = OPENED_AT + 0.25


@pytest.fixture
def channel(slack: MockSlack) -> SlackChannel:
    return SlackChannel(Secret("xoxb-test"), slack.url, 2.0, clock=lambda: NOW)


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, str]]]:
    """Return what the channel logged: the events and their fields."""
    records = [record for record in caplog.records if record.name == SlackChannel.__module__]
    return [(record.getMessage(), vars(record)["fields"]) for record in records]


def test_it_is_a_channel(channel):
    port: Channel = channel
    assert port.send(a_notification()).at == NOW


def test_a_post_is_a_message_and_its_receipt_has_the_reference(slack, channel):
    incident = an_incident()
    receipt = channel.send(a_notification(incident))
    message = slack.parents[0]
    assert message.channel == "#alerts-critical"
    assert receipt.reference == message.reference
    assert receipt.link == "https://example.slack.com/archives/C0ALERTSCRITICAL/p1795435380000000"
    assert (receipt.is_simulated, receipt.note) == (False, "")
    assert message.buttons["acknowledge"] == incident.id


def test_a_post_has_the_metadata_it_is_found_by_and_unfurls_no_links(slack, channel):
    incident = an_incident()
    channel.send(a_notification(incident, a_post(instance="7")))
    sent = slack.calls_of("chat.postMessage")[0].arguments
    assert sent["metadata"] == {
        "event_type": "incident",
        "event_payload": {"incident": incident.id, "key": "message", "about": "7"},
    }
    assert (sent["unfurl_links"], sent["unfurl_media"], sent["parse"]) == (False, False, "none")


def test_an_update_edits_the_same_message(slack, channel):
    receipt = channel.send(a_notification())
    incident = an_incident(acknowledged_by="alice")
    again = channel.send(a_notification(incident, an_update(message=receipt.reference)))
    assert again.reference == receipt.reference
    assert len(slack.messages) == 1
    assert slack.parents[0].edits == 1
    assert "Acknowledged by alice" in slack.parents[0].words


def test_an_edit_mentions_no_one_either(slack, channel):
    receipt = channel.send(a_notification())
    incident = an_incident(an_alert(annotations={"summary": "@channel @here"}))
    channel.send(a_notification(incident, an_update(message=receipt.reference)))
    assert slack.parents[0].pings == []


def test_a_step_is_a_reply_in_the_thread_that_mentions_the_responder(slack, channel):
    receipt = channel.send(a_notification())
    reply = a_reply("step", step=a_policy().steps[1], message=receipt.reference)
    reply_receipt = channel.send(a_notification(an_incident(), reply))
    (message,) = slack.replies(slack.parents[0])
    assert message.pings == ["@team-lead"]
    assert reply_receipt.reference == message.reference
    assert reply_receipt.link.endswith(
        f"{message.ts.replace('.', '')}?thread_ts={slack.parents[0].ts}&cid=C0ALERTSCRITICAL"
    )


def test_the_workspace_url_is_requested_once(slack, channel):
    for _ in range(3):
        channel.send(a_notification())
    assert len(slack.calls_of("auth.test")) == 1


def test_without_the_workspace_url_only_the_link_is_missing(slack, channel):
    slack.fail_next("auth.test", status=500, times=9)
    assert channel.send(a_notification()).link == ""
    assert channel.send(a_notification()).link == ""
    assert len(slack.calls_of("auth.test")) == 1


@pytest.mark.parametrize(
    "error", ["invalid_blocks", "msg_blocks_too_long", "invalid_blocks_format", "msg_too_long"]
)
def test_formatting_that_slack_refuses_is_a_permanent_error_and_is_logged(slack, channel, caplog, error):
    slack.fail_next("chat.postMessage", error=error, messages=("[ERROR] bad [json-pointer:/blocks/3]",))
    receipt = channel.send(a_notification(excerpt=an_excerpt()))
    assert receipt.note == "Slack refused the formatting: sent as compact"
    assert "📖" not in slack.parents[0].words
    event, fields = logged(caplog)[0]
    assert (event, fields["reason"], fields["formatting"]) == ("slack refused the formatting", error, "full")
    assert "/blocks/3" in fields["detail"]


def test_the_last_formatting_level_is_plain_text(slack, channel):
    slack.fail_next("chat.postMessage", error="invalid_blocks", times=2)
    receipt = channel.send(a_notification())
    assert receipt.note == "Slack refused the formatting: sent as plain"
    assert slack.parents[0].blocks == []
    assert "CPU above 90 %" in slack.parents[0].text


def test_an_edit_without_blocks_removes_the_old_blocks(slack, channel):
    receipt = channel.send(a_notification())
    slack.fail_next("chat.update", error="msg_blocks_too_long", times=2)
    channel.send(a_notification(action=an_update(message=receipt.reference)))
    assert slack.parents[0].blocks == []


def test_a_text_that_slack_refuses_on_every_formatting_level_is_a_permanent_error(slack, channel, caplog):
    slack.fail_next("chat.postMessage", error="msg_too_long", times=9)
    with pytest.raises(PermanentDeliveryError, match="msg_too_long"):
        channel.send(a_notification())
    assert [fields["formatting"] for _, fields in logged(caplog)] == ["full", "compact", "plain"]


def test_any_other_error_ends_the_attempts_with_simpler_formatting(slack, channel):
    slack.fail_next("chat.postMessage", error="invalid_blocks")
    slack.fail_next("chat.postMessage", status=429, retry_after=7)
    with pytest.raises(TemporaryDeliveryError) as caught:
        channel.send(a_notification())
    assert caught.value.retry_after == 7


@pytest.mark.parametrize("action", [an_update(message="simulated:x:parent"), a_reply("resolved", message="")])
def test_a_simulated_message_can_not_be_edited_or_replied_to(slack, channel, action):
    with pytest.raises(PermanentDeliveryError, match="message_not_found"):
        channel.send(a_notification(action=action))
    assert slack.calls == []


def test_a_deleted_message_is_reported_as_gone(slack, channel):
    receipt = channel.send(a_notification())
    slack.delete_message(slack.parents[0])
    with pytest.raises(PermanentDeliveryError, match="message_not_found"):
        channel.send(a_notification(action=an_update(message=receipt.reference)))


def test_a_base_url_without_its_final_slash_works(slack):
    channel = SlackChannel(Secret("xoxb-test"), slack.url.rstrip("/"))
    assert channel.send(a_notification()).reference


def test_a_proxy_for_https_is_not_used_for_loopback(slack, monkeypatch):
    """slack_sdk sends even loopback addresses to HTTPS_PROXY, and ignores NO_PROXY."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert SlackChannel(Secret("xoxb-test"), slack.url).send(a_notification()).reference


def test_an_unknown_channel_is_a_permanent_error(channel):
    with pytest.raises(PermanentDeliveryError, match="channel_not_found"):
        channel.send(a_notification(action=a_post("#nowhere")))


@pytest.mark.parametrize("token", ["xoxp-other", "", "xoxb-a\nb", "xoxb-ü€"])
def test_an_invalid_token_is_a_permanent_error_and_is_never_logged(slack, token):
    channel = SlackChannel(Secret(token), slack.url, 2.0)
    with pytest.raises(DeliveryError) as caught:
        channel.send(a_notification())
    assert isinstance(caught.value, PermanentDeliveryError)
    assert not token or token not in f"{caught.value!r} {caught.value.__cause__!r}"
