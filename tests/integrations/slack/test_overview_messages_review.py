"""The message of a review: its text, its limits, and how it is sent, found and edited."""

from __future__ import annotations

import json
from dataclasses import replace as replace_fields
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from receiver.engine.ports import Channel
from receiver.errors import PermanentDeliveryError, TemporaryDeliveryError
from receiver.integrations.slack.blocks import MAX_TEXT, MAX_TOTAL, FormattingLevel, Message, measure
from receiver.integrations.slack.channel import SimulatedSlack, SlackChannel
from receiver.integrations.slack.overview_messages import render_review
from receiver.model.actions import Post, Update
from receiver.model.alert import Severity
from receiver.model.incident import Person
from receiver.model.routing import SLACK, Target
from receiver.reviews.model import OPEN, REVIEWED, Review, ReviewItem, ReviewNotification, ReviewRecord
from receiver.text import Secret
from tests.mocks import blockkit
from tests.mocks.slack import MockSlack
from tests.mocks.slack_workspace import SlackMessage

FRIDAY = 1_795_197_720.0  # 2026-11-20 18:02 UTC
MONDAY = 1_795_424_400.0  # 2026-11-23 09:00 UTC
REVIEW_ID = "slot12345678-0123abcde"
TARGET = Target(SLACK, "#alerts-info")
POST = Post(key="review", instance=REVIEW_ID, target=TARGET, content_version=OPEN)
HOSTILE = st.one_of(
    st.text(max_size=60),
    st.text(alphabet=st.sampled_from("<>&\"'`\\*_~|@!#\n\t\u2028\u202e🔥 a"), max_size=120),
    st.sampled_from(["<!channel>", "<@U0123ABCD>", "@here", "<https://evil.example|x>", '"<\\' * 300]),
)


def an_item(name: str = "DiskWillFill", count: int = 2, still_firing: int = 0, **changes) -> ReviewItem:
    fields = {
        "severity": Severity.INFO,
        "last_at": FRIDAY + 3600,
        "incident_ids": ("abc-2", "abc-1"),
        **changes,
    }
    return ReviewItem(name, count=count, still_firing=still_firing, **fields)


def a_review(*items: ReviewItem, **changes) -> Review:
    fields = {"route": "alerts-info", "channel": "#alerts-info", "since": FRIDAY, "until": MONDAY, **changes}
    return Review(items=items or (an_item(),), **fields)


def a_notification(review: Review | None = None, by: Person | None = None, **changes) -> ReviewNotification:
    record = ReviewRecord(REVIEW_ID, review or a_review())
    if by is not None:
        record = replace(record, reviewed_by=by, reviewed_at=MONDAY + 600)
    fields = {"public_url": "https://receiver.example", "zone": ZoneInfo("Europe/Berlin"), **changes}
    return ReviewNotification(POST, record, **fields)


def as_slack_shows(message: Message) -> SlackMessage:
    return SlackMessage("", "", "", message.text, list(message.blocks), makes_mentions=message.links_names)


# --- its text ---


def test_a_review_is_a_headline_rows_and_a_button():
    review = a_review(
        an_item("CertExpires", 3, 2),
        an_item("DiskWillFill", 1, 0, severity=Severity.NONE, incident_ids=("abc-1",)),
    )
    links = (("Grafana", "http://grafana.example:3000"), ("Nowhere", "javascript:1"))
    message = render_review(a_notification(review, links=links))
    assert message.text == "Review: 4 alerts since Friday 19:02, 2 still firing"
    last = "<!date^1795201320^{date_short_pretty} {time}|2026-11-20 19:02 UTC>"
    rows = (
        f"🔵 *CertExpires* · 3 alerts, 2 still firing · last {last} · "
        "<https://receiver.example/incidents/abc-2|latest> <https://receiver.example/incidents/abc-1|before>\n"
        f"✅ *DiskWillFill* · 1 alert · last {last} · <https://receiver.example/incidents/abc-1|incident>"
    )
    assert list(message.blocks) == [
        {
            "type": "header",
            "text": {"type": "plain_text", "text": "Review: 4 alerts since Friday 19:02", "emoji": True},
        },
        {"type": "section", "text": {"type": "mrkdwn", "text": rows, "verbatim": True}},
        {
            "type": "section",
            "text": {"type": "mrkdwn", "text": "🔗 <http://grafana.example:3000|Grafana>", "verbatim": True},
        },
        {
            "type": "actions",
            "block_id": "review",
            "elements": [
                {
                    "type": "button",
                    "text": {"type": "plain_text", "text": "Reviewed", "emoji": True},
                    "action_id": "reviewed",
                    "value": REVIEW_ID,
                    "style": "primary",
                }
            ],
        },
    ]


def test_a_marked_review_shows_who_marked_it_and_when_and_has_no_button():
    message = as_slack_shows(render_review(a_notification(by=Person("alice <3"))))
    assert message.buttons == {}
    assert "✅ Reviewed by alice &lt;3 <!date^1795425000^" in message.words
    assert "*DiskWillFill*" in message.words


def test_a_slack_user_is_mentioned():
    message = as_slack_shows(render_review(a_notification(by=Person("alice", "slack", "U0ALICE12"))))
    assert "✅ Reviewed by <@U0ALICE12> " in message.words


def test_a_person_who_is_no_slack_user_is_not_mentioned():
    message = as_slack_shows(render_review(a_notification(by=Person("@here", "slack", "!channel"))))
    assert message.pings == []
    assert "Reviewed by @here" in message.words


def test_a_review_of_more_than_a_week_shows_dates():
    message = render_review(a_notification(a_review(since=MONDAY - 9 * 86400)))
    assert message.text == "Review: 2 alerts since Saturday 14 Nov 10:00"


def test_without_a_public_url_nothing_is_linked():
    for public_url in ("", "javascript:alert(1)"):
        message = render_review(a_notification(public_url=public_url))
        assert "|incident>" not in json.dumps(message.blocks)
        assert "|latest>" not in json.dumps(message.blocks)


def test_a_plain_review_has_everything_but_the_button():
    message = render_review(a_notification(by=Person("alice")), FormattingLevel.PLAIN)
    assert message.blocks == ()
    assert message.text.startswith("*Review: 2 alerts since Friday 19:02*\n✅ *DiskWillFill* · 2 alerts")
    assert "Reviewed by alice" in message.text


def test_names_without_a_row_are_counted():
    items = [an_item(f"Alert{n:02}", 3, 1, incident_ids=("a" * 22,) * 3) for n in range(50)]
    review = a_review(*items, more_names=7, more_alerts=20, more_firing=4)
    text = as_slack_shows(render_review(a_notification(review))).words
    rows = text.count("· last <!date")
    assert rows > 30
    omitted = 50 - rows
    assert f"… and {7 + omitted} more by name: {20 + 3 * omitted} alerts ({4 + omitted} still firing)" in text
    assert text.startswith("Review: 170 alerts since Friday 19:02, 54 still firing")


# --- its limits ---


def assert_slack_accepts(message: Message) -> None:
    blocks = list(message.blocks)
    assert blockkit.check(blocks) == []
    assert measure(blocks) <= MAX_TOTAL
    assert 0 < len(message.text) <= MAX_TEXT
    json.dumps(blocks, ensure_ascii=False).encode()


@settings(max_examples=80, deadline=None)
@given(st.lists(HOSTILE, min_size=1, max_size=50), HOSTILE, HOSTILE, st.integers(0, 10**6), st.booleans())
def test_a_message_with_hostile_texts_exceeds_no_limit_and_mentions_no_one(names, by, url, more, is_marked):
    ids = ("i" * 22, "j" * 22, "k" * 22)
    items = [an_item(name[:200], 10**6, more, incident_ids=ids) for name in names]
    review = a_review(*items, more_names=more, more_alerts=more)
    person = Person(by, "slack", by) if is_marked and not by.startswith("<@U") else None
    notification = a_notification(
        review, person, public_url=url, links=((by, url), (by, "https://x.example"))
    )
    for level in (FormattingLevel.FULL, FormattingLevel.PLAIN):
        message = render_review(notification, level)
        assert_slack_accepts(message)
        assert as_slack_shows(message).pings == []


def test_fifty_names_of_maximum_length_are_one_message():
    items = [an_item('"<&' * 60, 10**6, 10**6, incident_ids=("i" * 22,) * 3) for _ in range(50)]
    links = tuple(('"<&' * 60, "https://x.example/?" + "x" * 1400) for _ in range(20))
    review = a_review(*items, more_names=10**6, more_alerts=10**6)
    for by in (None, Person('"<&' * 600)):
        notification = a_notification(review, by, public_url="https://" + "r" * 200 + ".example", links=links)
        for level in (FormattingLevel.FULL, FormattingLevel.PLAIN):
            assert_slack_accepts(render_review(notification, level))


# --- sending it ---


@pytest.fixture
def channel(slack: MockSlack) -> SlackChannel:
    return SlackChannel(Secret("xoxb-test"), slack.url, 2.0, clock=lambda: MONDAY)


def an_edit(message: str) -> ReviewNotification:
    """Return the edit that shows who has reviewed it."""
    edit = Update(key="update", instance=REVIEW_ID, target=TARGET, content_version=REVIEWED, message=message)
    return replace_fields(a_notification(by=Person("alice")), action=edit)


def test_a_review_is_posted_and_marked_by_an_edit(slack, channel):
    receipt = channel.send(a_notification())
    (parent,) = slack.parents
    assert (parent.channel, parent.buttons) == ("#alerts-info", {"reviewed": REVIEW_ID})
    assert (receipt.reference, receipt.at) == (parent.reference, MONDAY)
    assert receipt.link.startswith("https://example.slack.com/archives/")
    edited = channel.send(an_edit(receipt.reference))
    assert edited.reference == parent.reference
    (parent,) = slack.parents
    assert parent.buttons == {}
    assert "Reviewed by alice" in parent.words
    assert parent.pings == []


def test_a_post_whose_response_was_lost_is_found(slack, channel):
    slack.drop_answer("chat.postMessage")
    with pytest.raises(TemporaryDeliveryError) as caught:
        channel.send(a_notification())
    assert caught.value.maybe_sent
    slack_time = 1_795_435_380.0
    found = channel.find_receipt(replace_fields(a_notification(), first_attempt_at=slack_time - 1))
    assert found is not None
    assert found.reference == slack.parents[0].reference


def test_the_message_of_another_review_is_not_found(slack, channel):
    other = a_notification()
    channel.send(replace_fields(other, record=replace(other.record, id="another")))
    assert channel.find_receipt(a_notification()) is None


def test_if_slack_refuses_the_search_the_message_counts_as_not_sent(slack, channel):
    slack.fail_next("conversations.list", error="missing_scope")
    assert channel.find_receipt(a_notification()) is None


def test_blocks_that_slack_refuses_are_a_permanent_error(slack, channel):
    slack.fail_next("chat.postMessage", error="invalid_blocks")
    receipt = channel.send(a_notification())
    assert "plain" in receipt.note
    (parent,) = slack.parents
    assert parent.blocks == []
    assert "*DiskWillFill*" in parent.text


def test_an_edit_that_slack_accepts_only_without_blocks_leaves_no_button(slack, channel):
    receipt = channel.send(a_notification())
    slack.fail_next("chat.update", error="invalid_blocks")
    channel.send(an_edit(receipt.reference))
    assert slack.parents[0].buttons == {}


def test_an_archived_channel_is_a_permanent_error(slack, channel):
    slack.archive("#alerts-info")
    with pytest.raises(PermanentDeliveryError) as caught:
        channel.send(a_notification())
    assert caught.value.reason == "is_archived"


def test_a_simulated_message_can_not_be_edited(channel):
    with pytest.raises(PermanentDeliveryError):
        channel.send(an_edit("simulated:review:x"))


def test_without_a_token_the_message_is_recorded():
    recorded = []
    channel: Channel = SimulatedSlack(recorded.append, lambda: MONDAY)
    receipt = channel.send(a_notification())
    assert receipt.is_simulated
    edited = channel.send(an_edit(receipt.reference))
    assert edited.reference == receipt.reference
    assert [entry["action"] for entry in recorded] == ["post", "update"]
    assert recorded[0]["text"].startswith("Review: 2 alerts")
    assert channel.find_receipt(a_notification()) is None
    json.dumps(recorded)
