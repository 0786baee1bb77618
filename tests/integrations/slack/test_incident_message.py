"""Whole messages, compared with files that a reviewer can read."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from receiver.integrations.slack.incident_message import render_message
from receiver.runbooks.model import Excerpt
from tests.builders import (
    MESSAGE,
    OPENED_AT,
    a_delivery,
    a_notification,
    a_post,
    a_receipt,
    an_alert,
    an_incident,
    an_update,
    some_links,
)
from tests.integrations.slack.cases import FOLDER, NAMES, rendered
from tests.mocks import blockkit
from tests.mocks.slack_workspace import SlackMessage


def as_slack_shows(notification) -> SlackMessage:
    message = render_message(notification)
    return SlackMessage("#c", "C1", "1.0", message.text, list(message.blocks))


@pytest.mark.parametrize("name", NAMES)
def test_the_typical_messages_equal_their_files(name):
    assert rendered(name) == json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_slack_accepts_the_typical_messages(name):
    assert blockkit.check(rendered(name)["blocks"]) == []


def test_every_file_of_a_message_is_compared():
    assert {path.stem for path in FOLDER.glob("*.json")} == set(NAMES)


def test_the_buttons_of_an_open_incident_have_its_id():
    incident = an_incident()
    assert as_slack_shows(a_notification(incident)).buttons == dict.fromkeys(
        ("acknowledge", "resolve", "silence"), incident.id
    )


def test_an_acknowledged_incident_can_be_unacknowledged_instead():
    incident = an_incident(acknowledged_by="alice")
    assert set(as_slack_shows(a_notification(incident)).buttons) == {"unacknowledge", "resolve", "silence"}


def test_a_resolved_incident_has_no_buttons():
    assert as_slack_shows(a_notification(an_incident(resolved_by="alice"))).buttons == {}


def test_alerts_are_shown_firing_first_and_worst_first():
    alerts = [
        an_alert(instance="late", starts_at=OPENED_AT),
        an_alert(instance="over", ends_at=OPENED_AT),
        an_alert(instance="mild", severity="warning"),
        an_alert(instance="early", starts_at=OPENED_AT - 900),
    ]
    text = as_slack_shows(a_notification(an_incident(*alerts))).words
    places = [text.rindex(f"instance={name}") for name in ("early", "late", "mild", "over")]
    assert places == sorted(places)


def test_alerts_beyond_the_first_are_counted():
    alerts = [an_alert(instance=f"web-{n}") for n in range(22)]
    text = as_slack_shows(a_notification(an_incident(*alerts))).words
    assert "[22 firing / 22]" in text
    assert "… and 12 more (12 firing)" in text


def test_alerts_that_were_dismissed_with_an_earlier_incident_are_not_shown():
    incident = an_incident(an_alert(instance="new"), an_alert(instance="dismissed"))
    dismissed = next(fp for fp, a in incident.alerts.items() if a.labels["instance"] == "dismissed")
    alert_states = {
        **incident.alert_states,
        dismissed: replace(incident.alert_states[dismissed], is_dismissed=True),
    }
    assert (
        "instance=dismissed"
        not in as_slack_shows(a_notification(replace(incident, alert_states=alert_states))).words
    )


def test_an_alert_that_was_not_loaded_is_still_counted():
    incident = replace(an_incident(an_alert(), an_alert(instance="web-2")), alerts={})
    assert "2 alerts (2 firing)" in as_slack_shows(a_notification(incident)).words


def test_an_unknown_severity_is_shown_as_it_was_sent():
    text = as_slack_shows(a_notification(an_incident(an_alert(severity="sev9")))).words
    assert "NO SEVERITY" in text
    assert "`severity=sev9`" in text


def test_a_name_that_is_too_long_does_not_displace_the_counts():
    alerts = [an_alert("N" * 500, instance=str(n)) for n in range(3)]
    header = render_message(a_notification(an_incident(*alerts))).blocks[0]["text"]["text"]
    assert len(header) <= 150
    assert header.endswith("… [3 firing / 3]")


def test_a_flapping_incident_is_marked_as_flapping():
    incident = an_incident(flapping_until=OPENED_AT + 600)
    assert "flapping" in as_slack_shows(a_notification(incident)).text


def test_a_message_that_replaces_another_links_it():
    link = "https://example.slack.com/archives/C0CRITICAL/p1"
    deliveries = {"message": a_delivery(receipt=a_receipt(reference=MESSAGE, link=link))}
    incident = an_incident(deliveries=deliveries)
    linked = f"<{link}|an earlier message>"
    assert (
        linked
        in as_slack_shows(a_notification(incident, a_post(key="message_replacement", replaces=MESSAGE))).words
    )
    assert linked in as_slack_shows(a_notification(incident, an_update(message="C0CRITICAL:2.0"))).words
    assert linked not in as_slack_shows(a_notification(incident, an_update(message=MESSAGE))).words


def test_a_runbook_that_could_not_be_loaded_is_linked():
    excerpt = Excerpt("HighCPUUsage", url="https://wiki.example/runbook")
    message = as_slack_shows(a_notification(excerpt=excerpt))
    assert "<https://wiki.example/runbook|Runbook>" in message.words
    assert "📖" not in message.words


def test_a_url_that_is_not_http_is_not_linked():
    incident = an_incident(an_alert(generator_url="javascript:alert(1)"))
    links = some_links(source="https://x|y>", more=(("Bad", "file:///etc"),))
    text = as_slack_shows(a_notification(incident, links=links)).words
    assert "javascript:" not in text
    assert "x|y" not in text
    assert "file:" not in text


def test_rendering_is_deterministic():
    assert rendered("firing") == rendered("firing")


def test_without_an_alertmanager_for_the_source_there_is_no_button_to_silence():
    incident = an_incident()
    links = some_links(incident, can_silence=False)
    assert set(as_slack_shows(a_notification(incident, links=links)).buttons) == {"acknowledge", "resolve"}


def test_the_links_of_an_alert_are_named_by_their_keys():
    annotations = {
        "summary": "s",
        "dashboard_url": "https://grafana.example/d/a b",
        "logs": "[Your bank](https://loki.example/x)",
    }
    text = as_slack_shows(a_notification(an_incident(an_alert(annotations=annotations)))).words
    assert (
        "|Query> · <https://grafana.example/d/a%20b|Dashboard> · <https://loki.example/x|Logs>\n"
        in f"{text}\n"
    )
    assert "bank" not in text


def test_an_address_that_is_too_long_is_replaced_by_the_page_that_has_it():
    alert = an_alert(generator_url="http://prometheus:9090/graph?g0.expr=" + "x" * 3000)
    incident = an_incident(alert)
    links = some_links(incident, source=alert.generator_url)
    text = as_slack_shows(a_notification(incident, links=links)).words
    assert text.count(f"<https://receiver.example/incidents/{incident.id}|Query>") == 2
    assert "xxx" not in text


def test_addresses_in_a_description_are_links_as_themselves():
    description = (
        "See https://wiki.example.org/a?b=1&c=2, and <https://grafana.example/d|the dashboard>.\nA ` here"
    )
    alert = an_alert(annotations={"summary": "s", "description": description})
    text = as_slack_shows(a_notification(an_incident(alert))).words
    assert (
        "See <https://wiki.example.org/a?b=1&amp;c=2>, and the dashboard (<https://grafana.example/d>)."
        in text
    )
    assert "A ' here" in text


def test_a_code_fence_keeps_its_columns_and_is_closed():
    description = "Pods:\n```\nNAME    READY\nweb-1   0/1\n" + "x  y\n" * 1000
    alert = an_alert(annotations={"summary": "s", "description": description})
    text = as_slack_shows(a_notification(an_incident(alert))).words
    assert "\nPods:\n```\nNAME    READY\nweb-1   0/1\nx  y\n" in text
    assert " more lines\n```" in text
    assert text.count("```") == 2


def test_a_runbook_that_is_no_address_is_shown_as_text():
    excerpt = Excerpt("HighCPUUsage", words="see <the> wiki")
    assert "📖 Runbook: see &lt;the&gt; wiki" in as_slack_shows(a_notification(excerpt=excerpt)).words
