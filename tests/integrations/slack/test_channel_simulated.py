"""Without a token nothing is sent to Slack; messages are recorded as simulated."""

from __future__ import annotations

import json

from receiver.engine.ports import Channel
from receiver.integrations.slack.channel import SimulatedSlack
from tests.builders import OPENED_AT, a_notification, a_reply, an_incident, an_update


def test_the_message_that_would_have_been_sent_is_recorded():
    recorded = []
    channel: Channel = SimulatedSlack(recorded.append, clock=lambda: OPENED_AT)
    incident = an_incident()
    receipt = channel.send(a_notification(incident))
    (entry,) = recorded
    assert (receipt.at, receipt.reference) == (OPENED_AT, f"simulated:{incident.id}:message")
    assert receipt.is_simulated
    assert (entry["channel"], entry["thread"], entry["action"]) == ("#alerts-critical", "", "post")
    assert entry["text"].startswith("🔴 CRITICAL · HighCPUUsage")
    assert entry["blocks"][0]["type"] == "header"
    json.dumps(entry)


def test_an_edit_keeps_the_messages_reference():
    recorded = []
    channel = SimulatedSlack(recorded.append, clock=lambda: OPENED_AT)
    parent = channel.send(a_notification())
    edit = channel.send(a_notification(action=an_update(message=parent.reference)))
    assert edit.reference == parent.reference
    assert recorded[1]["action"] == "update"


def test_a_recorded_reply_names_its_thread():
    recorded = []
    channel = SimulatedSlack(recorded.append, clock=lambda: OPENED_AT)
    parent = channel.send(a_notification())
    channel.send(a_notification(action=a_reply("resolved", message=parent.reference)))
    assert recorded[1]["thread"] == parent.reference


def test_a_simulated_message_is_never_searched():
    assert SimulatedSlack(lambda _: None).find_receipt(a_notification()) is None
