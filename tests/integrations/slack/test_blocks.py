"""Slack accepts our messages however large or hostile the alerts are, and they mention no one."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.engine.notification import IncidentNotification
from receiver.integrations.slack.blocks import MAX_TEXT, MAX_TOTAL, FormattingLevel, Message, measure
from receiver.integrations.slack.incident_message import render_message
from receiver.model.incident import SilenceRequest, Suppression
from receiver.runbooks.model import Excerpt, Part, Section
from tests.builders import (
    OPENED_AT,
    a_delivery,
    a_group,
    a_notification,
    a_policy,
    a_reply,
    a_responder,
    a_step,
    an_alert,
    an_excerpt,
    an_incident,
    some_links,
)
from tests.mocks import blockkit
from tests.mocks.slack_workspace import SlackMessage

HOSTILE = st.one_of(
    st.text(max_size=60),
    st.text(alphabet=st.sampled_from("<>&\"'`\\*_~|@!#\n\t\u2028\u202e\ud800🔥 a"), max_size=120),
    st.sampled_from(
        [
            "<!channel>",
            "<!here|x>",
            "<@U0123ABCD>",
            "<!subteam^S0123>",
            "@here @channel",
            "<https://evil.example|x>",
        ]
    ),
    st.sampled_from('x<"\n🔥').map(lambda letter: letter * 5000),
)
LABELS = st.dictionaries(HOSTILE, HOSTILE, max_size=8)
ALERTS = st.lists(
    st.builds(
        lambda labels, annotations, over: an_alert(
            labels=labels, annotations=annotations, ends_at=OPENED_AT if over else 0.0
        ),
        LABELS | st.fixed_dictionaries({"alertname": HOSTILE, "severity": HOSTILE}),
        st.dictionaries(st.sampled_from(["summary", "description", "message", "title"]), HOSTILE, max_size=4),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda alert: alert.fingerprint,
)
PARTS = st.lists(
    st.builds(
        Part,
        st.sampled_from(["paragraph", "item", "code", "table"]),
        HOSTILE,
        st.integers(0, 9),
        st.sampled_from(["", "-", "1."]),
    ),
    max_size=20,
)


def assert_slack_accepts(message: Message, notification: IncidentNotification) -> None:
    blocks = list(message.blocks)
    assert blockkit.check(blocks) == []
    assert measure(blocks) <= MAX_TOTAL
    assert 0 < len(message.text) <= MAX_TEXT
    json.dumps(blocks, ensure_ascii=False).encode()
    message.text.encode()


def pings(message: Message) -> list[str]:
    blocks = list(message.blocks)
    return SlackMessage("", "", "", message.text, blocks, makes_mentions=message.links_names).pings


@settings(max_examples=60, deadline=None)
@given(ALERTS, PARTS, LABELS, HOSTILE, st.sampled_from(["open", "acknowledged", "resolved"]))
def test_a_message_with_hostile_texts_exceeds_no_limit_and_mentions_no_one(
    alerts, parts, group_labels, name, state
):
    incident = an_incident(
        group=a_group(*alerts, group_labels=group_labels, group_key="{}"),
        **({} if state == "open" else {f"{state}_by": name or "x"}),
    )
    excerpt = Excerpt(name, (Section(name, tuple(parts)),), url=name)
    notification = a_notification(incident, excerpt=excerpt, links=some_links(more=((name, name),)))
    for level in FormattingLevel:
        message = render_message(notification, level)
        assert_slack_accepts(message, notification)
        assert pings(message) == []


@settings(max_examples=30, deadline=None)
@given(ALERTS, HOSTILE, st.sampled_from(["joined", "resolved", "reopened", "reminder", "step", "unheard of"]))
def test_a_reply_with_hostile_texts_mentions_no_one(alerts, by, reply_kind):
    incident = an_incident(group=a_group(*alerts, group_key="{}"), acknowledged_by=by, resolved_by=by)
    reply = a_reply(
        reply_kind, fingerprints=list(incident.alerts), step=a_step() if reply_kind == "step" else None
    )
    for level in FormattingLevel:
        message = render_message(a_notification(incident, reply), level)
        assert_slack_accepts(message, a_notification(incident, reply))
        assert pings(message) == []


def test_two_thousand_alerts_are_one_message():
    incident = an_incident(*(an_alert(instance=f"web-{n}", labels={"pod": "p" * 60}) for n in range(2000)))
    notification = a_notification(incident, excerpt=an_excerpt(), links=some_links(incident))
    for level in FormattingLevel:
        message = render_message(notification, level)
        assert_slack_accepts(message, notification)
        assert "[2000 firing / 2000]" in message.text
    text = json.dumps(render_message(notification).blocks, ensure_ascii=False)
    assert "… and 1990 more (1990 firing)" in text
    assert "top -b -n 1" in text


@pytest.mark.parametrize("letter", ["x", "<", "&", '"', "\n", "\\", "🔥", "`", "\u0000", "x "])
def test_annotations_of_200_kilobytes_are_posted(letter):
    long = letter * (200_000 // len(letter))
    annotations = {"summary": f"It broke {long}", "description": f"Badly {long}"}
    alerts = [an_alert(instance=f"{n}", annotations=annotations, labels={"l": long}) for n in range(12)]
    parts = tuple(Part("paragraph", long[:2000]) for _ in range(20))
    excerpt = Excerpt("R" * 500, (Section(long, parts),), is_cut=True)
    notification = a_notification(an_incident(*alerts), excerpt=excerpt)
    for level in FormattingLevel:
        message = render_message(notification, level)
        assert_slack_accepts(message, notification)
        assert "It broke" in message.text


def test_the_runbook_is_shown_beside_many_long_alerts():
    annotations = {"summary": "s" * 300, "description": "d" * 5000}
    alerts = [an_alert(instance=f"{n}", annotations={**annotations, "summary": f"{n}"}) for n in range(40)]
    message = render_message(a_notification(an_incident(*alerts), excerpt=an_excerpt()))
    text = json.dumps(message.blocks, ensure_ascii=False)
    assert "top -b -n 1" in text
    assert "dddd" in text


def test_an_escalation_of_many_steps_stays_readable():
    steps = [a_step(a_responder("r" * 200 + str(n)), 60.0) for n in range(60)]
    policy = a_policy(*steps)
    failed = a_delivery(received=False, reason="r" * 500, failed_at=OPENED_AT)
    deliveries = {f"page:{step.name}": failed for step in steps}
    deliveries |= {f"timed_out:{step.name}": a_delivery() for step in steps}
    incident = an_incident(policy=policy, deliveries=deliveries)
    notification = a_notification(incident, policy=policy, now=OPENED_AT + 1)
    for level in FormattingLevel:
        assert_slack_accepts(render_message(notification, level), notification)
    text = json.dumps(render_message(notification).blocks, ensure_ascii=False)
    assert "… and 52 more" in text
    assert "more pages not delivered" in text


def test_everything_at_its_maximum_length_together_still_fits():
    word = '"<' * 3000
    url = "https://x.example/?" + string.ascii_letters * 28
    steps = [a_step(a_responder("<" * 99 + str(n)), 60.0) for n in range(20)]
    policy = a_policy(*steps)
    failed = a_delivery(received=False, reason=word, failed_at=OPENED_AT)
    labels = {f"{word}{n}": word for n in range(9)}
    annotations = {"summary": word, "description": word}
    alerts = [
        an_alert(word, labels=labels, annotations=annotations, instance=str(n), generator_url=url)
        for n in range(12)
    ]
    silences = tuple(
        SilenceRequest(n, (("a", word),), word, OPENED_AT, OPENED_AT + 3600, f"{word}{n}")
        for n in range(1, 30)
    )
    incident = an_incident(
        *alerts,
        policy=policy,
        deliveries={f"{kind}{n}": failed for kind in ("page:" + "<" * 99, "silence:") for n in range(30)},
        acknowledged_by=word,
        silences=silences,
        suppression=Suppression("silenced", OPENED_AT, word, OPENED_AT + 60),
    )
    links = some_links(incident, silence=url, source=url, more=tuple((word, url) for _ in range(9)))
    excerpt = Excerpt(word, (Section(word, (Part("paragraph", word),) * 30),), is_cut=True, url=url)
    notification = a_notification(incident, policy=policy, links=links, excerpt=excerpt, now=OPENED_AT + 60)
    for level in FormattingLevel:
        assert_slack_accepts(render_message(notification, level), notification)


LETTERS = [*"a&<>|`{} \n", "é", "日", "می\u200c", "👨\u200d👩\u200d👧", "\u202e", "\ud800"]
ADDRESSES = st.builds(
    "{}{}{}".format,
    st.sampled_from(
        ["https://a.example/", "<https://a.example/|", "[x](https://a.example/", "//a.example/", ""]
    ),
    st.lists(st.sampled_from(LETTERS), max_size=20).map(lambda letters: "".join(letters) * 90),
    st.sampled_from(["", ">", ")", ")|x>"]),
)
PROSE = st.lists(
    st.sampled_from(
        [
            "```",
            "~~~",
            "`",
            "x  y",
            "&" * 300,
            "https://a.example/b",
            "日本語" * 99,
            "می‌خواهم",
            "\r",
            "👨‍👩‍👧",
        ]
    )
    | ADDRESSES,
    max_size=30,
).map("\n".join)


@settings(max_examples=60, deadline=None)
@given(PROSE, PROSE, st.lists(ADDRESSES, max_size=4), ADDRESSES, st.integers(1, 12))
def test_links_and_code_of_any_length_and_script_exceed_no_limit(
    summary, description, addresses, origin, count
):
    annotations = {"summary": summary, "description": description}
    annotations |= {f"{name}_url": url for name, url in zip("abcd", addresses, strict=False)}
    alerts = [an_alert(instance=str(n), annotations=annotations, generator_url=origin) for n in range(count)]
    incident = an_incident(*alerts)
    links = some_links(incident, source=origin, silence=origin, more=tuple(("x", url) for url in addresses))
    notification = a_notification(incident, links=links, excerpt=Excerpt("x", url=origin, words=description))
    for level in FormattingLevel:
        message = render_message(notification, level)
        assert_slack_accepts(message, notification)
        assert pings(message) == []
        for block in message.blocks:
            text = block.get("text", {}).get("text", "") if block["type"] == "section" else ""
            assert text.count("```") % 2 == 0
            assert all(line.count("`") % 2 == 0 for line in text.split("```")[::2])
