"""`receiver show ID`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta, timezone

import pytest

from receiver.cli.api_client import parse_response
from receiver.cli.incident_text import MAX_ALERTS, render_incident
from receiver.web.api.responses import IncidentDetail
from tests.cli.incidents_on_show import (
    ID,
    OPENED_AT,
    a_delivery,
    a_row,
    a_silence,
    a_step,
    a_whole,
    an_alert_row,
    an_event,
    format_time,
)
from tests.cli.invoke import receiver
from tests.cli.stub import Stub

ONE = f"GET /api/v1/incidents/{ID}"
LIST = "GET /api/v1/incidents"
SOMEWHERE = timezone(timedelta(hours=2), "EET")


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


def test_an_incident_is_shown_completely_with_local_times() -> None:
    assert (
        render_incident(parse_response(a_whole(), IncidentDetail), OPENED_AT + 60, SOMEWHERE)
        == f"""\
DiskFull (critical) open, next: Team Lead in 4m
The disk of web-1 is full

  id        {ID}
  opened    2026-11-23 14:03:00 EET (1m ago)
  channel   #alerts-critical
  receiver  receiver
  group     alertname=DiskFull

Alerts: 2 of 3 firing
  firing since 2026-11-23 14:02:00  instance=web-1
    The disk of web-1 is full
  resolved since 2026-11-23 14:03:30  instance=web-3
    The disk of web-3 is full

Escalation critical
  On-call    notified 2026-11-23 14:03:01
  Team Lead  due in 4m
  Manager    later

Deliveries
  page:on-call  pagerduty:on-call       2026-11-23 14:03:01  simulated
  message       slack:#alerts-critical  2026-11-23 14:03:01  failed (not_in_channel)  3 attempts

Timeline
  2026-11-23 14:03:00  2 alerts on #alerts-critical"""
    )


def test_the_people_who_acknowledged_and_resolved_are_named() -> None:
    changes = {
        "state": "resolved",
        "acknowledged_at": format_time(5),
        "acknowledged_by": "ana",
        "next_step": None,
    }
    text = render_incident(
        parse_response(a_whole(**changes, resolved_at=format_time(9), resolved_by="bob"), IncidentDetail),
        OPENED_AT + 60,
        SOMEWHERE,
    )
    assert text.startswith("DiskFull (critical) resolved\n")
    assert "acknowledged  2026-11-23 14:03:05 EET (55s ago) by ana" in text
    assert "resolved      2026-11-23 14:03:09 EET (51s ago) by bob" in text


def test_a_pending_delivery_is_shown_with_its_retry_or_as_no_longer_needed() -> None:
    deliveries = [
        a_delivery(
            "page:on-call", "pagerduty:on-call", state="pending", reason="busy", retry_at=format_time(90)
        ),
        a_delivery(
            "page_delayed:on-call", "slack:#a", state="pending", reason="busy", note="no longer needed"
        ),
        a_delivery("message", "slack:#a", state="pending", reason="busy", detail="503"),
    ]
    text = render_incident(
        parse_response(a_whole(deliveries=deliveries), IncidentDetail), OPENED_AT + 60, SOMEWHERE
    )
    lines = [line.partition("14:03:01")[2].strip() for line in text.splitlines() if "pending" in line]
    assert lines == [
        "pending (busy), tried again in 30s",
        "pending (busy), no longer needed",
        "pending (busy: 503)",
    ]


def test_a_snooze_and_a_suppression_are_shown_with_their_end() -> None:
    suppression = {"reason": "silenced", "by": "bob", "since": format_time(), "until": format_time(3660)}
    changes = {"suppressed": suppression, "snoozed_until": format_time(1860)}
    text = render_incident(parse_response(a_whole(**changes), IncidentDetail), OPENED_AT + 60, SOMEWHERE)
    assert "snoozed   until 2026-11-23 14:34:00 (in 30m)" in text
    assert "held      silenced by bob until 2026-11-23 15:04:00 (in 1h)" in text


def test_a_suppression_without_an_author_is_shown() -> None:
    suppression = {"reason": "inhibited", "by": None, "since": format_time(), "until": None}
    text = render_incident(
        parse_response(a_whole(suppressed=suppression), IncidentDetail), OPENED_AT + 60, SOMEWHERE
    )
    assert "  held      inhibited\n" in text


def test_silences_are_shown_with_author_comment_and_end() -> None:
    silences = [
        a_silence(),
        a_silence(number=2, until=None, comment="", silence_id=None),
        a_silence(number=3, ended_at=format_time(120), by="bob", comment=""),
        a_silence(number=4, until=format_time(60), comment=""),
    ]
    text = render_incident(
        parse_response(a_whole(silences=silences), IncidentDetail), OPENED_AT + 60, SOMEWHERE
    )
    assert (
        """\
Silences
  1  until 2026-11-23 15:03:00 (in 59m)       made by ana  disk is ordered
  2  until resolved, not in Alertmanager yet  made by ana
  3  expired 2026-11-23 14:05:00              made by bob
  4  until 2026-11-23 14:04:00 (over)         made by ana
"""
        in text
    )


@pytest.mark.parametrize(
    ("by", "via", "expected"),
    [
        ("ana", "slack", "Acknowledged by ana (slack)"),
        ("ana", "command line", "Acknowledged by ana (command line)"),
        ("ana", None, "Acknowledged by ana"),
        ("api", "api", "Acknowledged by api"),
        (None, "api", "Acknowledged"),
    ],
)
def test_the_timeline_shows_the_client_of_an_event(by: str | None, via: str | None, expected: str) -> None:
    timeline = [an_event("acknowledged", "Acknowledged", by=by, via=via)]
    text = render_incident(parse_response(a_whole(timeline=timeline), IncidentDetail), OPENED_AT, SOMEWHERE)
    assert text.endswith(f"  {expected}")


def test_a_step_that_timed_out_is_marked_as_such() -> None:
    steps = {
        "policy": "critical",
        "steps": [a_step("on-call", "timed_out"), a_step("on-call#2", "notifying")],
    }
    text = render_incident(parse_response(a_whole(escalation=steps), IncidentDetail), OPENED_AT)
    assert "On-call          could not be reached" in text
    assert "On-call (again)  is being notified" in text


def test_many_alerts_are_counted_beyond_the_first() -> None:
    alerts = [an_alert_row("firing", f"web-{n}") for n in range(MAX_ALERTS + 7)]
    assert "and 7 more" in render_incident(parse_response(a_whole(alerts=alerts), IncidentDetail), OPENED_AT)


def test_fields_that_a_receiver_of_another_version_lacks_are_omitted() -> None:
    text = render_incident(
        parse_response({"id": ID, "state": "open", "news": [1]}, IncidentDetail), OPENED_AT
    )
    assert "Deliveries" not in text


def test_json_is_that_of_the_api(stub: Stub) -> None:
    stub.set_response(ONE, a_whole(news="yes"))
    assert json.loads(receiver("show", ID, "--json", RECEIVER_URL=stub.url).stdout) == a_whole(news="yes")


def test_a_prefix_of_an_open_incidents_id_is_enough(stub: Stub) -> None:
    stub.set_response(ONE, a_whole())
    stub.set_response(LIST, {"incidents": [a_row(), a_row(id="other")], "next_cursor": None})
    assert ID in receiver("show", ID[:4], RECEIVER_URL=stub.url).stdout


def test_an_ambiguous_prefix_is_refused_with_the_names_of_the_incidents(stub: Stub) -> None:
    stub.set_response(LIST, {"incidents": [a_row(id="abc1"), a_row(id="abc2")], "next_cursor": None})
    result = receiver("show", "abc", RECEIVER_URL=stub.url)
    assert result.exit_code == 1
    assert "abc1, abc2" in result.stderr


def test_two_letters_are_too_short_a_prefix(stub: Stub) -> None:
    stub.set_response(LIST, {"incidents": [a_row()], "next_cursor": None})
    result = receiver("show", ID[:2], RECEIVER_URL=stub.url)
    assert result.exit_code == 1
    assert f"no incident '{ID[:2]}'" in result.stderr


@pytest.mark.parametrize("name", ["..", "a/b", "", "a?b", "\x1b[2J"])
def test_an_invalid_id_is_never_requested(stub: Stub, name: str) -> None:
    result = receiver("show", name, RECEIVER_URL=stub.url)
    assert result.exit_code == 1
    assert "no incident" in result.stderr
    assert stub.requests == []


def test_an_unknown_id_is_reported(stub: Stub) -> None:
    stub.set_response(LIST, {"incidents": [a_row()], "next_cursor": None})
    result = receiver("show", "unknown-id", RECEIVER_URL=stub.url)
    assert result.exit_code == 1
    assert "no incident 'unknown-id'" in result.stderr


def test_control_characters_of_an_alert_are_not_printed(stub: Stub) -> None:
    evil = "\x1b[2J\u202e"
    alert = an_alert_row("firing", f"web{evil}") | {"annotations": {"summary": evil}}
    event = an_event("acknowledged", f"by{evil}\nForged line", by=evil, via=f"{evil}\nForged")
    suppression = {"reason": f"{evil}\nForged", "by": evil, "since": format_time(), "until": evil}
    silence = a_silence(by=f"{evil}\nForged", comment=f"{evil}\nForged", until=evil, ended_at=evil)
    changes = {
        "group_labels": {evil: evil},
        "channel": evil,
        "suppressed": suppression,
        "silences": [silence],
    }
    stub.set_response(ONE, a_whole(alerts=[alert], timeline=[event], **changes))
    result = receiver("show", ID, RECEIVER_URL=stub.url)
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout
    assert "\nForged" not in result.stdout


def test_a_newer_receiver_may_add_fields_and_values() -> None:
    alert = an_alert_row("muted", "web-1") | {"severity": "fatal", "news": 1}
    changes = {"state": "parked", "severity": "fatal", "alerts": [alert], "news": {"a": 1}}
    text = render_incident(parse_response(a_whole(**changes), IncidentDetail), OPENED_AT)
    assert text.startswith("DiskFull (fatal) parked\n")
    assert "muted since" in text
