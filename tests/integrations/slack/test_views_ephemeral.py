"""Ephemeral messages: only the user who clicked or typed sees them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from receiver.integrations.slack.blocks import MAX_TEXT
from receiver.integrations.slack.requests import IncidentDetails, TextLine, TextReply
from receiver.integrations.slack.views import render_ephemeral
from receiver.model.incident import Suppression
from tests.builders import MESSAGE, OPENED_AT, a_delivery, a_receipt, an_alert, an_escalation, an_incident
from tests.mocks import blockkit
from tests.mocks.slack_workspace import SlackMessage


def as_text(message) -> str:
    return "\n".join(block["text"]["text"] for block in message["blocks"])


def pings(message) -> list[str]:
    return SlackMessage("", "", "", message["text"], message["blocks"]).pings


def test_the_message_is_ephemeral_and_replaces_no_other():
    message = render_ephemeral(TextReply("Acknowledged: DiskFull"))
    assert (message["response_type"], message["replace_original"]) == ("ephemeral", False)
    assert message["text"] == as_text(message) == "Acknowledged: DiskFull"


def test_a_timestamp_is_shown_in_the_readers_time_zone():
    message = render_ephemeral(TextReply("Snoozed", until=OPENED_AT))
    assert "Snoozed until <!date^1795435380^" in as_text(message)


def test_incidents_are_listed_one_per_line_with_id_and_message():
    link = "https://example.slack.com/archives/C0CRITICAL/p1"
    deliveries = {"message": a_delivery(receipt=a_receipt(reference=MESSAGE, link=link))}
    incident = an_incident(acknowledged_by="bob", deliveries=deliveries)
    row = as_text(render_ephemeral(TextReply("1 open incident:", incidents=(incident,)))).split("\n")[1]
    assert row.startswith(f"🔴 *HighCPUUsage* `{incident.id}` · 1 firing · 👀 bob · since ")
    assert row.endswith(f"<{link}|message>")


def test_one_incident_is_shown_completely():
    incident = an_incident(suppression=Suppression("silenced", OPENED_AT, "bob", OPENED_AT + 600))
    text = as_text(render_ephemeral(IncidentDetails(incident, an_escalation(incident), OPENED_AT)))
    for piece in (
        "CRITICAL",
        incident.id,
        "CPU above 90 %",
        "1 of 1 alerts firing",
        "⏸ Silenced by bob",
        "Opened",
    ):
        assert piece in text


@given(st.text(max_size=3000), st.lists(st.text(max_size=500), max_size=60), st.integers(0, 30))
def test_slack_accepts_any_text_and_it_mentions_no_one(text, lines, count):
    hostile = "<!channel> <@U0123ABCD>"
    incident = an_incident(an_alert(hostile), acknowledged_by=hostile, acknowledged_ref="U0123ABCD")
    answer = TextReply(
        text + hostile, 1.0, tuple(TextLine(each + hostile) for each in lines), (incident,) * count
    )
    message = render_ephemeral(answer)
    assert blockkit.check(message["blocks"]) == []
    assert not blockkit.is_too_long(message["blocks"])
    assert 0 < len(message["text"]) <= MAX_TEXT
    assert pings(message) == []
