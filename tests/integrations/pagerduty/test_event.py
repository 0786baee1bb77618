"""The events sent to PagerDuty: whole events, and events with hostile or huge alerts."""

from __future__ import annotations

import json
from dataclasses import replace as with_changes
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from receiver.engine.notification import IncidentNotification, Links
from receiver.integrations.pagerduty.event import MAX_EVENT, MAX_SUMMARY, render_event, render_minimal
from receiver.model.alert import Alert, Severity
from receiver.model.incident import Incident
from tests.builders import (
    OPENED_AT,
    ROUTING_KEY,
    a_group,
    a_notification,
    a_page,
    a_policy,
    a_post,
    a_resolve_page,
    an_acknowledge_page,
    an_alert,
    an_excerpt,
    an_incident,
    some_links,
)
from tests.mocks.pagerduty_rules import find_errors


def a_page_of(incident: Incident, **more: Any) -> IncidentNotification:
    return a_notification(incident, a_page(incident), **more)


def render_page(incident: Incident, **more: Any) -> dict[str, Any]:
    """Return the page's event after checking it by PagerDuty's rules."""
    event = render_event(a_page_of(incident, **more))
    assert_is_accepted(event)
    return event


def assert_is_accepted(event: dict[str, Any]) -> None:
    sent = {**event, "routing_key": ROUTING_KEY}
    assert find_errors(sent) == []
    assert len(json.dumps(sent)) <= MAX_EVENT


def test_a_page_has_all_fields() -> None:
    first = an_alert(labels={"job": "node"}, starts_at=OPENED_AT - 120)
    second = an_alert(
        instance="web-2:9100", annotations={"summary": "Slow", "runbook_url": "https://r.example"}
    )
    incident = an_incident(first, second)

    event = render_page(incident, excerpt=an_excerpt(), links=some_links(incident))

    page = f"https://receiver.example/incidents/{incident.id}"
    query = "http://prometheus.example:9090/graph?g0.expr=cpu+%3E+0.9&g0.tab=1"
    assert event == {
        "event_action": "trigger",
        "dedup_key": a_page(incident).dedup_key,
        "client": "receiver",
        "client_url": page,
        "links": [
            {
                "href": "https://example.slack.com/archives/C0CRITICAL/p1795435380000100",
                "text": "Slack message",
            },
            {"href": page, "text": "Incident"},
            {"href": "https://receiver.example/runbooks/HighCPUUsage", "text": "Runbook"},
            {
                "href": "http://prometheus.example:9090/graph?g0.expr=cpu+%3E+0.9&g0.tab=1",
                "text": "Query",
            },
            {
                "href": "http://alertmanager.example:9093/#/silences/new?filter=%7Balertname%3D%22HighCPUUsage%22%7D",
                "text": "Silence in Alertmanager",
            },
            {"href": "http://grafana.example:3000", "text": "Grafana"},
            {"href": "https://r.example", "text": "Runbook"},
        ],
        "payload": {
            "summary": "[CRITICAL] HighCPUUsage: CPU above 90 % on web-1:9100 (+1)",
            "source": "web-1:9100",
            "severity": "critical",
            "timestamp": "2026-11-23T12:01:00.000Z",
            "component": "node",
            "group": "alerts-critical",
            "class": "HighCPUUsage",
            "custom_details": {
                "firing": 2,
                "total": 2,
                "incident": incident.id,
                "escalation": "On-call, step 1 of 3",
                "alerts": [
                    {
                        "name": "HighCPUUsage",
                        "since": "2026-11-23T12:01:00.000Z",
                        "labels": {"instance": "web-1:9100", "job": "node"},
                        "annotations": {"summary": "CPU above 90 % on web-1:9100"},
                        "links": {"Query": query},
                    },
                    {
                        "name": "HighCPUUsage",
                        "since": "2026-11-23T12:02:00.000Z",
                        "labels": {"instance": "web-2:9100"},
                        "annotations": {"runbook_url": "https://r.example", "summary": "Slow"},
                        "links": {"Query": query, "Runbook": "https://r.example"},
                    },
                ],
                "runbook": (
                    "Impact\nRequests are **slow**.\n\n"
                    "Diagnosis\n1. Look at the [dashboard](https://grafana.example/d/cpu)\n"
                    "    top -b -n 1 | head\n2. Find what runs"
                ),
            },
        },
    }


def test_acknowledge_and_resolve_events_have_only_the_keys() -> None:
    incident = an_incident()
    key = a_page(incident).dedup_key

    assert render_event(a_notification(incident, an_acknowledge_page(incident))) == {
        "event_action": "acknowledge",
        "dedup_key": key,
    }
    assert render_event(a_notification(incident, a_resolve_page(incident))) == {
        "event_action": "resolve",
        "dedup_key": key,
    }


def test_a_message_is_refused() -> None:
    with pytest.raises(TypeError, match="Post"):
        render_event(a_notification(action=a_post()))


def test_the_minimal_event_has_the_same_dedup_key() -> None:
    incident = an_incident()
    event = render_page(incident, links=some_links())

    minimal = render_minimal(event)

    assert minimal == {
        "event_action": "trigger",
        "dedup_key": event["dedup_key"],
        "payload": {
            "summary": "[CRITICAL] HighCPUUsage: CPU above 90 % on web-1:9100",
            "source": "web-1:9100",
            "severity": "critical",
        },
    }
    assert_is_accepted(minimal)


@pytest.mark.parametrize(
    ("severity", "expected"),
    [
        (Severity.CRITICAL, "critical"),
        (Severity.ERROR, "error"),
        (Severity.WARNING, "warning"),
        (Severity.INFO, "info"),
        (Severity.NONE, "error"),
    ],
)
def test_the_severity_is_mapped_to_pagerdutys_severities(severity: Severity, expected: str) -> None:
    event = render_page(an_incident(severity=severity))
    assert event["payload"]["severity"] == expected


def test_an_alert_without_name_summary_or_severity_still_has_a_title() -> None:
    event = render_page(an_incident(an_alert("", severity="", annotations={})))
    assert event["payload"]["summary"] == "Alert without a name"


def test_a_long_summary_is_cut_but_not_its_alert_count() -> None:
    incident = an_incident(
        an_alert(instance="a"), an_alert(instance="b"), summary="å" * 5_000, alertname="N" * 500
    )
    incident = replace(incident, alerts={})
    summary = render_page(incident)["payload"]["summary"]

    assert len(summary) == MAX_SUMMARY
    assert summary.startswith("[CRITICAL] NNN")
    assert summary.endswith("å… (+1)")


def test_the_source_is_the_alertmanager_where_no_alert_names_an_instance() -> None:
    alert = an_alert(instance="")
    assert render_page(an_incident(alert))["payload"]["source"] == "alertmanager.example"
    nowhere = an_incident(group=a_group(alert, external_url=""))
    assert render_page(nowhere)["payload"]["source"] == "alertmanager"
    odd = an_incident(group=a_group(alert, external_url="http://[bad/"))
    assert render_page(odd)["payload"]["source"] == "alertmanager"


def test_the_summary_is_that_of_the_worst_alert() -> None:
    mild = an_alert("Slow", severity="warning", instance="a", starts_at=OPENED_AT - 900)
    grave = an_alert("Down", severity="critical", instance="b")
    payload = render_page(an_incident(mild, grave))["payload"]

    assert payload["source"] == "b"
    assert payload["timestamp"] == "2026-11-23T11:48:00.000Z"  # the start of the milder alert
    assert [alert["name"] for alert in payload["custom_details"]["alerts"]] == ["Down", "Slow"]


def test_only_alerts_that_fire_are_listed() -> None:
    over = an_alert(instance="over", ends_at=OPENED_AT + 10)
    details = render_page(an_incident(an_alert(), over))["payload"]["custom_details"]

    assert (details["firing"], details["total"]) == (1, 2)
    assert [alert["labels"]["instance"] for alert in details["alerts"]] == ["web-1:9100"]


def test_alerts_dismissed_with_an_earlier_incident_are_not_listed() -> None:
    incident = an_incident(an_alert(), an_alert(instance="old"))
    old = next(a.fingerprint for a in incident.alerts.values() if a.labels["instance"] == "old")
    alert_states = {**incident.alert_states, old: replace(incident.alert_states[old], is_dismissed=True)}
    details = render_page(replace(incident, alert_states=alert_states))["payload"]["custom_details"]

    assert [alert["labels"]["instance"] for alert in details["alerts"]] == ["web-1:9100"]


def test_a_later_step_is_named() -> None:
    incident = an_incident()
    step = a_policy().steps[1]
    event = render_event(a_notification(incident, a_page(incident, step)))
    assert event["payload"]["custom_details"]["escalation"] == "Team Lead, step 2 of 3"


def test_a_step_removed_from_the_policy_is_still_named() -> None:
    incident = an_incident()
    step = with_changes(a_policy().steps[1], name="removed")
    event = render_event(a_notification(incident, a_page(incident, step)))
    assert event["payload"]["custom_details"]["escalation"] == "Team Lead"


@pytest.mark.parametrize("starts_at", [0.0, -1.0, 1e300, float("nan"), float("inf"), -62135596800.0])
def test_a_start_out_of_range_is_replaced_by_the_opening_time(starts_at: float) -> None:
    event = render_page(an_incident(an_alert(starts_at=starts_at)))
    assert event["payload"]["timestamp"] == "2026-11-23T12:03:00.000Z"


def test_only_http_links_are_sent() -> None:
    links = Links(
        incident="javascript:alert(1)",
        message="https://example.slack.com/archives/C1/p1",
        source="http://prometheus/graph?q=" + "x" * 10_000,
        silence="",
        more=(
            ("Wiki", "https://wiki.example/büro"),
            ("", "https://plain.example/"),
            ("No", "file:///etc/passwd"),
        ),
    )
    event = render_page(an_incident(an_alert(generator_url="")), links=links)

    assert "client_url" not in event
    assert event["links"] == [
        {"href": "https://example.slack.com/archives/C1/p1", "text": "Slack message"},
        {"href": "https://wiki.example/b%C3%BCro", "text": "Wiki"},
        {"href": "https://plain.example/", "text": "https://plain.example/"},
    ]


def test_control_and_invalid_characters_are_removed() -> None:
    alert = an_alert("Up\x00Down\u202e", annotations={"summary": "a\x1b[31mb\nc\ud800", "\x07": "nameless"})
    event = render_page(an_incident(alert))

    assert event["payload"]["summary"] == "[CRITICAL] UpDown: a[31mb c�"
    assert event["payload"]["custom_details"]["alerts"][0]["annotations"] == {"summary": "a[31mb\nc�"}


def many(count: int, **annotations: str) -> list[Alert]:
    return [an_alert(instance=f"web-{n:04}", annotations=annotations) for n in range(count)]


def test_a_single_huge_annotation_is_cut_and_the_others_are_not() -> None:
    details = render_page(an_incident(*many(1, summary="s", big="b" * 200_000)))["payload"]["custom_details"]

    annotations = details["alerts"][0]["annotations"]
    assert annotations["summary"] == "s"
    assert annotations["big"] == "b" * 3_999 + "…"
    assert "note" not in details


def test_a_too_long_event_first_loses_annotations() -> None:
    details = render_page(an_incident(*many(200, big="b" * 200_000)))["payload"]["custom_details"]

    assert len(details["alerts"]) == 200
    assert not any("annotations" in alert for alert in details["alerts"])
    assert details["note"] == "Too long for PagerDuty: annotations left out."


def test_a_longer_event_loses_alerts_which_are_counted_but_not_its_runbook() -> None:
    alerts = [replace(alert, labels={**alert.labels, "x": "ü" * 300}) for alert in many(2_000)]
    event = render_page(an_incident(*alerts), excerpt=an_excerpt())
    details = event["payload"]["custom_details"]

    assert 100 < len(details["alerts"]) < 2_000
    assert len(details["alerts"]) + details["alerts_left_out"] == 2_000
    assert details["firing"] == 2_000
    assert details["runbook"].startswith("Impact")
    assert details["note"] == "Too long for PagerDuty: annotations and alerts left out."
    assert len(json.dumps(event)) > MAX_EVENT - 5_000  # as many alerts as fit


def test_one_giant_alert_does_not_displace_the_others() -> None:
    giant = an_alert("Giant", severity="critical", labels={f"l{n}": "x" * 3_000 for n in range(300)})
    small = an_alert("Small", severity="warning")
    details = render_page(an_incident(giant, small))["payload"]["custom_details"]

    assert [alert["name"] for alert in details["alerts"]] == ["Small"]
    assert details["alerts_left_out"] == 1


def test_an_even_longer_event_loses_the_runbook_and_finally_all_details() -> None:
    # Group labels of such a size leave room for nothing else, and finally not even for themselves.
    def details_with(labels: int) -> dict[str, Any]:
        group = a_group(an_alert(), group_labels={f"l{n}": "x" * 4_000 for n in range(labels)})
        runbook = an_excerpt(url="", is_cut=True)
        event = render_page(an_incident(group=group), excerpt=runbook)
        details = event["payload"]["custom_details"]
        assert isinstance(details, dict)
        return details

    room = next(n for n in range(100, 200) if "runbook" not in details_with(n))
    assert details_with(room - 1)["runbook"].endswith("…")
    assert details_with(200) == {"note": "Too long for PagerDuty: all details left out."}


def test_rendering_is_deterministic() -> None:
    incident = an_incident(*many(500, big="é" * 3_000))
    assert render_page(incident) == render_page(incident)


hostile = st.text(max_size=60) | st.sampled_from(
    ["\ud800", "\x00", "<!channel>", "💥" * 4_000, "Ж" * 9_000, ""]
)
label_maps = st.dictionaries(hostile, hostile, max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(label_maps, min_size=1, max_size=3),
    annotations=label_maps,
    count=st.sampled_from([1, 3, 100]),
    url=hostile | st.sampled_from(["https://ex.example/\ud800", "http://[", "https://a.example/" + "\x85"]),
    starts_at=st.floats(),
)
def test_pagerduty_accepts_any_incident(
    labels: list[dict[str, str]],
    annotations: dict[str, str],
    count: int,
    url: str,
    starts_at: float,
) -> None:
    alerts = [
        Alert(f"{n:016x}", {**labels[n % len(labels)], "n": str(n)}, annotations, starts_at, 0.0, url)
        for n in range(count)
    ]
    incident = an_incident(group=a_group(*alerts, external_url=url, group_labels=labels[0]))
    links = Links(url, url, url, url, ((url, url),))
    render_page(incident, links=links, excerpt=an_excerpt(url=url))


def test_the_links_of_the_alerts_are_sent_and_for_one_that_is_too_long_the_page_that_has_it() -> None:
    annotations = {
        "summary": "see <https://wiki.example/a|the wiki>",
        "dashboard_url": "[Your bank](https://grafana.example/d/a b)",
        "logs": "https://loki.example/" + "x" * 5000,
        "description": "```\nNAME    READY\n" + "web-1   0/1\n" * 1000,
    }
    incident = an_incident(an_alert(annotations=annotations, generator_url=""))
    page = f"https://receiver.example/incidents/{incident.id}"
    event = render_page(incident, links=Links(incident=page))

    assert event["links"] == [
        {"href": page, "text": "Incident"},
        {"href": "https://grafana.example/d/a%20b", "text": "Dashboard"},
        {"href": page, "text": "Logs"},
    ]
    assert event["payload"]["summary"] == "[CRITICAL] HighCPUUsage: see the wiki (https://wiki.example/a)"
    (alert,) = event["payload"]["custom_details"]["alerts"]
    assert alert["links"] == {"Dashboard": "https://grafana.example/d/a%20b"}
    assert alert["annotations"]["description"].startswith("```\nNAME    READY\nweb-1   0/1\n")
    assert alert["annotations"]["description"].endswith(" more lines\n```")


def test_a_page_has_no_more_links_than_a_reader_can_use() -> None:
    alerts = [an_alert(instance=str(n), annotations={"url": f"https://a.example/{n}"}) for n in range(100)]
    assert len(render_page(an_incident(*alerts))["links"]) == 20
