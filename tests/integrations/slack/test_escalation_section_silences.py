"""Suppressions, silences and snoozes in messages, and their authors, who are not mentioned."""

from __future__ import annotations

import pytest

from receiver.integrations.slack.incident_message import render_message
from receiver.model.incident import SilenceRequest, Suppression
from tests.builders import (
    OPENED_AT,
    a_delivery,
    a_notification,
    a_post,
    a_reply,
    an_incident,
    an_update,
)
from tests.mocks import blockkit
from tests.mocks.slack_workspace import SlackMessage

NOON = "<!date^1795435380^{date_short_pretty} {time}|2026-11-23 12:03 UTC>"


def as_slack_shows(incident, action=None, now=OPENED_AT) -> SlackMessage:
    message = render_message(a_notification(incident, action or an_update(), now=now))
    assert blockkit.check(list(message.blocks)) == []
    return SlackMessage(
        "#c", "C1", "1.0", message.text, list(message.blocks), makes_mentions=message.links_names
    )


def a_silence(number: int = 1, **changes) -> SilenceRequest:
    fields = {"by": "bob", "requested_at": OPENED_AT - 60, "until": OPENED_AT + 3600}
    return SilenceRequest(number, (("alertname", "X"),), **{**fields, **changes})


@pytest.mark.parametrize(
    ("suppression", "expected"),
    [
        (Suppression("silenced", 1.0, "bob", OPENED_AT), f"⏸ Silenced by bob until {NOON}: nobody is paged"),
        (Suppression("silenced", 1.0), "⏸ Silenced: nobody is paged"),
        (Suppression("inhibited", 1.0), "⏸ Inhibited in Alertmanager by another alert: nobody is paged"),
        (Suppression("muted", 1.0), "⏸ Muted in Alertmanager by a time interval: nobody is paged"),
    ],
)
def test_a_suppression_is_shown_with_its_reason(suppression, expected):
    text = as_slack_shows(an_incident(suppression=suppression)).words
    assert expected in text
    assert "Team Lead held" in text


def test_a_resolved_incident_shows_no_suppression():
    assert (
        "⏸"
        not in as_slack_shows(
            an_incident(suppression=Suppression("silenced", 1.0, "bob"), resolved_by="alice")
        ).words
    )


def test_a_silence_is_shown_with_its_end_and_can_be_expired():
    incident = an_incident(silences=(a_silence(until=OPENED_AT + 0.5, comment="known <issue>"),))
    message = as_slack_shows(incident)
    assert f"🔕 Silence 1 by bob until {NOON} · known &lt;issue&gt;" in message.words
    assert message.buttons["expire:1"] == f"{incident.id}#1"
    assert "Expire silence" in message.words


def test_a_silence_until_resolved_is_shown_as_such():
    incident = an_incident(silences=(a_silence(until=0.0),))
    assert "🔕 Silence 1 by bob until it resolves" in as_slack_shows(incident).words
    assert (
        "🔕" not in as_slack_shows(an_incident(silences=(a_silence(until=0.0),), resolved_by="alice")).words
    )


@pytest.mark.parametrize("over", [{"ended_at": OPENED_AT}, {"until": OPENED_AT}])
def test_a_silence_that_has_ended_is_not_shown(over):
    message = as_slack_shows(an_incident(silences=(a_silence(**over),)), now=OPENED_AT + 1)
    assert "🔕" not in message.words
    assert "expire:1" not in message.buttons


def test_a_silence_that_outlives_its_incident_can_still_be_expired():
    incident = an_incident(silences=(a_silence(),), resolved_by="alice")
    assert set(as_slack_shows(incident).buttons) == {"expire:1"}


def test_silences_of_one_request_are_one_line():
    incident = an_incident(silences=tuple(a_silence(n) for n in range(1, 21)))
    message = as_slack_shows(incident)
    assert "🔕 20 silences 1 to 20 by bob until" in message.words
    assert len([button for button in message.buttons if button.startswith("expire:")]) == 8


def test_many_requests_are_counted():
    incident = an_incident(silences=tuple(a_silence(n, comment=f"{n}") for n in range(1, 31)))
    assert "… and 26 more silences" in as_slack_shows(incident).words


def test_a_silence_that_alertmanager_refuses_shows_the_reason():
    failed = a_delivery("", received=False, reason="http_400", failed_at=OPENED_AT)
    waiting = a_delivery("", received=False, reason="no_answer")
    silences = (a_silence(1), a_silence(2, comment="x"))
    text = as_slack_shows(
        an_incident(silences=silences, deliveries={"silence:1": failed, "silence:2": waiting})
    ).words
    assert "⚠️ failed permanently: http_400" in text
    assert "⚠️ not made yet: no_answer" in text


def test_a_snooze_shows_its_end():
    incident = an_incident(acknowledged_by="alice", snoozed_until=OPENED_AT)
    text = as_slack_shows(incident, now=OPENED_AT + 60).words
    assert "👀 Snoozed by alice · CRITICAL" in text
    assert f"stopped: snoozed by alice until {NOON}" in text


@pytest.mark.parametrize("what", ["acknowledged", "resolved"])
def test_an_edit_mentions_the_author_and_a_post_does_not(what):
    incident = an_incident(**{f"{what}_by": "alice", f"{what}_ref": "U0ALICE1"})
    assert f"{what} by <@U0ALICE1>" in as_slack_shows(incident).words
    posted = as_slack_shows(incident, a_post())
    assert f"{what} by alice" in posted.words
    assert posted.pings == []


@pytest.mark.parametrize("ref", ["", "!channel", "U1|x", "<!here>", "alice"])
def test_a_reference_that_is_no_user_id_is_not_mentioned(ref):
    incident = an_incident(acknowledged_by="<alice>", acknowledged_ref=ref)
    message = as_slack_shows(incident)
    assert "acknowledged by &lt;alice&gt;" in message.words
    assert message.pings == []


def reply_text(incident, reply, now=OPENED_AT + 1800) -> str:
    message = as_slack_shows(incident, reply, now)
    assert message.pings == []
    return message.text


def test_the_person_who_acknowledged_is_reminded():
    incident = an_incident(acknowledged_by="alice", acknowledged_ref="U0ALICE1", acknowledged_at=OPENED_AT)
    text = reply_text(incident, a_reply("ack_reminder"))
    assert text.startswith("⏰ Acknowledged by alice 30m ago, and 1 alert still fires")


def test_a_reply_warns_before_a_silence_ends():
    incident = an_incident(silences=(a_silence(1), a_silence(2, by="carol", until=OPENED_AT)))
    text = reply_text(incident, a_reply("silence_ends", key="silence_ends:2"))
    assert text == f"🔔 The silence by carol ends {NOON}, and 1 alert still fires"
    assert reply_text(incident, a_reply("silence_ends", key="silence_ends:9")).startswith(
        "🔔 A silence ends soon"
    )


def test_a_suppression_and_an_unreachable_alertmanager_have_replies():
    incident = an_incident(suppression=Suppression("silenced", 1.0, "bob"))
    assert reply_text(incident, a_reply("suppressed")) == "⏸ Silenced by bob: nobody is paged"
    assert "could not be asked" in reply_text(an_incident(), a_reply("check_failed"))
