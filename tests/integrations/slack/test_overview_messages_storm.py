"""The messages of a storm: whole messages, and messages with hostile names."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from receiver.integrations.slack.blocks import MAX_TEXT, MAX_TOTAL, FormattingLevel, measure
from receiver.integrations.slack.overview_messages import render_storm
from receiver.model.actions import Post, Reply
from receiver.model.routing import SLACK, Step, Target
from receiver.storms.model import Member, MemberState, Storm, StormNotification, summarize_storm
from tests.builders import OPENED_AT, a_responder, an_incident
from tests.mocks import blockkit

TARGET = Target(SLACK, "#alerts-critical")
STORM = Storm("storm-0123456789abcde", "channel:#alerts-critical", OPENED_AT)
POST = Post(key="message", target=TARGET)


def a_storm_notification(
    *names: str, action: Any = POST, storm: Storm = STORM, **more: Any
) -> StormNotification:
    members = [
        MemberState(
            f"i{n}",
            Member(OPENED_AT),
            replace(
                an_incident(),
                id=f"i{n}",
                alertname=name,
                summary=f"{name} is bad",
                opened_at=OPENED_AT + n,
                alerts={},
            ),
        )
        for n, name in enumerate(names)
    ]
    return StormNotification(action, storm, summarize_storm(members), OPENED_AT, **more)


def as_text(message: Any) -> str:
    return json.dumps([message.text, *message.blocks], ensure_ascii=False)


def test_the_message_counts_by_name_and_severity_and_links_the_newest() -> None:
    notification = a_storm_notification("DiskFull", "HighCPU", "HighCPU", public_url="https://r.example/")
    message = render_storm(notification)
    assert message.text == "🌪 3 incidents in #alerts-critical: 3 open"
    head, body, small, buttons = message.blocks
    assert head["text"]["text"] == message.text
    lines = body["text"]["text"].split("\n")
    assert lines[0].endswith("3 critical")
    assert lines[1:3] == ["2 × *HighCPU*", "1 × *DiskFull*"]
    assert lines[3] == "Newest: <https://r.example/incidents/i2|HighCPU> · HighCPU is bad"
    assert "<https://r.example/storms/storm-0123456789abcde|all of them>" in small["elements"][0]["text"]
    (button,) = buttons["elements"]
    assert (button["action_id"], button["value"]) == ("acknowledge_storm", STORM.id)


def acknowledged_members(by: str, number: int) -> list[MemberState]:
    """Return *number* members, acknowledged by *by* unless that is empty."""
    incident = replace(an_incident(), acknowledged_by=by, acknowledged_at=OPENED_AT if by else 0.0)
    return [
        MemberState(f"{by}{n}", Member(OPENED_AT), replace(incident, id=f"{by}{n}")) for n in range(number)
    ]


def test_the_message_names_who_acknowledged() -> None:
    def acknowledged_line(*members: list[MemberState]) -> str:
        summary = summarize_storm(one for some in members for one in some)
        return as_text(render_storm(StormNotification(POST, STORM, summary, OPENED_AT)))

    assert "Acknowledged by" not in acknowledged_line(acknowledged_members("", 3))
    assert '👀 Acknowledged by Alice"' in acknowledged_line(
        acknowledged_members("", 3), acknowledged_members("Alice", 2)
    )
    assert '👀 Acknowledged by Alice (2), Bob (1)"' in acknowledged_line(
        acknowledged_members("Bob", 1), acknowledged_members("Alice", 2)
    )
    crowd = [acknowledged_members(f"P{n}", 1) for n in range(7)]
    assert "P4 (1), 2 more" in acknowledged_line(*crowd)


def test_a_step_is_mentioned_with_the_number_of_its_incidents() -> None:
    step = Step("team-lead", a_responder("team-lead", slack="@team-lead"))
    reply = Reply(
        key="step:team-lead",
        instance="1",
        target=TARGET,
        message="C1:1.0",
        reply_kind="storm_step",
        step=step,
    )
    message = render_storm(a_storm_notification("DiskFull", "HighCPU", action=reply))
    assert message.text == "📟 Paging Team Lead @team-lead: 2 incidents in this storm not acknowledged"
    assert message.links_names


def test_the_message_of_an_ended_storm_shows_what_still_fires() -> None:
    reply = Reply(key="over", target=TARGET, message="C1:1.0", reply_kind="storm_over")
    storm = replace(STORM, ended_at=OPENED_AT + 60, released=("i0", "i1"))
    without_message = (("DiskFull", 3), ("HighCPU", 1))
    message = render_storm(
        a_storm_notification("DiskFull", action=reply, storm=storm, without_message=without_message)
    )
    assert message.text == (
        "🌤 The storm is over; 2 incidents get messages of their own. 4 incidents more still firing:\n"
        "3 × *DiskFull*\n1 × *HighCPU*"
    )


HOSTILE = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        ["<!channel>", "<@U0123ABCD>", "@here", "<https://evil.example|x>", "x" * 5000, "\ud800"]
    ),
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(HOSTILE, min_size=1, max_size=40), st.sampled_from([FormattingLevel.FULL, FormattingLevel.PLAIN])
)
def test_a_message_with_hostile_names_is_accepted_and_mentions_no_one(
    names: list[str], level: FormattingLevel
) -> None:
    message = render_storm(a_storm_notification(*names, public_url="https://r.example"), level)
    assert len(message.text) <= MAX_TEXT
    assert measure(message.blocks) <= MAX_TOTAL
    assert blockkit.check(list(message.blocks)) == []
    text = as_text(message)
    for mention in ("<!channel>", "<@U0123ABCD>", "<https://evil"):
        assert mention not in text


def test_slack_accepts_the_blocks_of_many_names() -> None:
    message = render_storm(a_storm_notification(*(f"Alert{n}" for n in range(40))))
    assert "… and 25 incidents by other names" in as_text(message)
    assert blockkit.check(list(message.blocks)) == []
