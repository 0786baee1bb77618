"""The replies in the thread; Slack sends no notification for an edit of the message."""

from __future__ import annotations

import pytest

from receiver.integrations.slack.blocks import FormattingLevel, Message
from receiver.integrations.slack.incident_message import render_message
from receiver.integrations.slack.mrkdwn import mention
from receiver.model.incident import EscalationRun
from tests.builders import (
    OPENED_AT,
    a_delivery,
    a_notification,
    a_policy,
    a_reply,
    a_responder,
    a_step,
    an_alert,
    an_incident,
)
from tests.mocks.slack_workspace import SlackMessage

STEPS = a_policy().steps


def pings(message: Message) -> list[str]:
    return SlackMessage(
        "", "", "", message.text, list(message.blocks), makes_mentions=message.links_names
    ).pings


def reply_text(incident, reply_kind, *, now=OPENED_AT + 300, **reply) -> str:
    return render_message(a_notification(incident, a_reply(reply_kind, **reply), now=now)).text


def test_the_first_step_announces_a_new_incident():
    assert reply_text(an_incident(), "step", step=STEPS[0], now=OPENED_AT) == (
        "📟 Paging On-call: a new incident\n🔴 CRITICAL · HighCPUUsage"
    )


def test_a_later_step_mentions_its_responder_and_the_reason():
    message = render_message(
        a_notification(an_incident(), a_reply("step", step=STEPS[1]), now=OPENED_AT + 300)
    )
    assert message.text == (
        "📟 Paging Team Lead @team-lead: not acknowledged for 5m\n🔴 CRITICAL · HighCPUUsage"
    )
    assert pings(message) == ["@team-lead"]


def test_a_step_notified_again_after_an_acknowledgement_says_so():
    incident = an_incident(run=EscalationRun(2, OPENED_AT + 300, "unacknowledged"))
    assert "not acknowledged any more" in reply_text(incident, "step", step=STEPS[0])


def test_a_step_of_a_reopened_incident_says_so():
    incident = an_incident(run=EscalationRun(2, OPENED_AT + 300, "reopened", 2))
    assert "Paging On-call: firing again" in reply_text(incident, "step", step=STEPS[0])


def test_a_responder_without_pagerduty_is_notified_not_paged():
    step = a_step(a_responder("manager", slack="@manager", pagerduty=""))
    assert reply_text(an_incident(), "step", step=step).startswith("📟 Telling Manager @manager: ")


def test_a_simulated_page_is_marked_as_simulated():
    incident = an_incident(deliveries={"page:on-call": a_delivery(simulated=True)})
    assert "Paging On-call (simulated)" in reply_text(incident, "step", step=STEPS[0])


@pytest.mark.parametrize(
    ("address", "mentioned"),
    [
        ("@team-lead", "@team-lead"),
        ("team-lead", "@team-lead"),
        ("U0123ABCD", "<@U0123ABCD>"),
        ("W0123ABCD", "<@W0123ABCD>"),
        ("S0123", "<!subteam^S0123>"),
        ("<@U0123ABCD>", "<@U0123ABCD>"),
        ("<!subteam^S0123>", "<!subteam^S0123>"),
        ("SUPPORT", "@SUPPORT"),
        ("<!channel>", "@channel"),
        ("a<b", "@a&lt;b"),
        ("", ""),
    ],
)
def test_a_slack_address_is_mentioned_by_name_or_id(address, mentioned):
    assert mention(address) == mentioned


def test_a_name_in_an_alert_is_not_mentioned_along_with_the_responder():
    incident = an_incident(an_alert("@channel <!here> @manager"))
    message = render_message(a_notification(incident, a_reply("step", step=STEPS[1])))
    assert pings(message) == ["@team-lead"]


def test_only_the_reply_of_a_step_asks_slack_to_link_names():
    for reply_kind in ("joined", "resolved", "reopened", "reminder"):
        assert not render_message(
            a_notification(an_incident(resolved_by="bob"), a_reply(reply_kind))
        ).links_names


def test_joined_alerts_are_listed_and_the_rest_counted():
    alerts = [an_alert(instance=f"web-{n:02}") for n in range(14)]
    joined = [alert.fingerprint for alert in alerts[1:]]
    message = render_message(a_notification(an_incident(*alerts), a_reply("joined", fingerprints=joined)))
    lines = message.blocks[0]["text"]["text"].split("\n")
    assert message.text == lines[0] == "➕ 13 alerts joined · HighCPUUsage"
    assert lines[1] == "🔴 *HighCPUUsage* `instance=web-01` · CPU above 90 % on web-01"
    assert len(lines) == 12
    assert lines[-1] == "… and 3 more"


def test_a_joined_reply_without_blocks_has_the_same_text():
    alerts = [an_alert(instance="web-1"), an_alert(instance="web-2")]
    reply = a_reply("joined", fingerprints=[alerts[1].fingerprint])
    message = render_message(a_notification(an_incident(*alerts), reply), FormattingLevel.PLAIN)
    assert message.blocks == ()
    assert message.text.startswith("➕ 1 alert joined · HighCPUUsage\n🔴 *HighCPUUsage* `instance=web-2`")


def test_a_resolved_reply_shows_the_duration():
    assert reply_text(an_incident(resolved_at=OPENED_AT + 720), "resolved") == "✅ Resolved after 12m"


def test_a_manually_resolved_reply_shows_who_resolved_it_and_what_still_fires():
    incident = an_incident(resolved_by="@bob <!here>")
    message = render_message(a_notification(incident, a_reply("resolved")))
    assert message.text == "✅ Resolved by @bob &lt;!here&gt; after 1m: 1 alert still fires"
    assert pings(message) == []


def test_the_duration_counts_from_the_reopening():
    incident = an_incident(generation=1, reopened_at=OPENED_AT + 600, resolved_at=OPENED_AT + 660)
    assert reply_text(incident, "resolved") == "✅ Resolved after 1m"


def test_a_reopened_reply_shows_after_how_long_and_who_acknowledged_it():
    incident = an_incident(
        generation=1,
        reopened_at=OPENED_AT + 300,
        over_for=240.0,
        flapping_until=OPENED_AT + 900,
        acknowledged_by="alice",
        run=EscalationRun(2, OPENED_AT + 300, "reopened", 2, is_quiet=True),
    )
    assert reply_text(incident, "reopened") == (
        "🔁 Firing again <!date^1795435680^{date_short_pretty} {time}|2026-11-23 12:08 UTC>, "
        "4m after it resolved · still acknowledged by alice · flapping: no new page is sent"
    )


def test_the_reminder_shows_who_resolved_it_and_when():
    incident = an_incident(an_alert(), an_alert(instance="web-2"), resolved_by="bob")
    text = reply_text(incident, "reminder", now=OPENED_AT + 60 + 4 * 3600)
    assert text == "⏰ Closed by bob 4h ago, but 2 alerts still fire"
