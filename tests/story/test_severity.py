"""The parsed severity decides the route, the page, the colour and the lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from receiver.incidents.routing_preview import WORDS_A_DAY
from tests.rig import ROUTING, Rig
from tests.story.outage import NOTICES, in_channel

PAYLOADS = Path(__file__).parents[1] / "integrations" / "alertmanager" / "payloads"
OWN = "severities: {critical: [störung], error: [ugly]}\n"
UNPAGED = ROUTING.replace(", escalation: critical}", "}")


def metric(rig: Rig, name: str) -> float:
    lines = rig.client.get("/metrics").text.splitlines()
    return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(name)))


def listed(rig: Rig, severity: str) -> list[str]:
    answer = rig.client.get(f"/api/v1/incidents?severity={severity}")
    return [row["id"] for row in answer.json["incidents"]]


def notices(rig: Rig) -> str:
    return "\n".join(message.text for message in in_channel(rig, "#monitoring"))


def warnings_shown(rig: Rig, path: str = "/") -> str:
    return "\n".join(
        line for line in rig.client.get(path).text.splitlines() if 'class="banner alarm"' in line
    )


def test_a_severity_of_page_is_routed_shown_and_paged_as_critical(rig: Rig) -> None:
    body = json.loads((PAYLOADS / "severity-page.json").read_text())
    rig.clock.moment += 7 * 86400
    (incident,) = rig.posts(*body["alerts"])["incidents"]
    rig.works()
    assert rig.parents()[0].channel == "#alerts-critical"
    assert "🔴 CRITICAL" in rig.parents()[0].words
    assert rig.paged() == ["on-call"]
    details = rig.shows(incident)
    assert (details["severity"], details["alerts"][0]["severity"]) == ("critical", "critical")
    assert details["alerts"][0]["labels"]["severity"] == "page"
    assert listed(rig, "critical") == [incident]
    assert metric(rig, 'receiver_incidents{severity="critical",state="open"}') == 1


@pytest.mark.parametrize("word", ["Page", "P1", "sev0", "CRIT", "Disaster", "fatal", "emergency"])
def test_aliases_of_critical_are_one_severity(rig: Rig, word: str) -> None:
    incident = rig.fires("DiskFull", word)
    assert rig.paged() == ["on-call"]
    assert rig.shows(incident)["route"] == "#alerts-critical"
    assert rig.pagerduty.events[0].body["payload"]["severity"] == "critical"
    assert f"severity={word}" in rig.parents()[0].words
    rig.ends("DiskFull", word)
    assert rig.state(incident) == "resolved"


@pytest.mark.parametrize("word", ["ticket", "P3", "average", "Warn"])
def test_aliases_of_warning_page_as_a_warning(rig: Rig, word: str) -> None:
    assert rig.shows(rig.fires("DiskFull", word))["route"] == "#alerts-warning"
    assert rig.paged() == ["on-call"]


@pytest.mark.parametrize("word", ["P5", "low", "informational", "none", ""])
def test_aliases_of_info_cause_no_page(rig: Rig, word: str) -> None:
    assert rig.shows(rig.fires("DiskFull", word))["route"] == "#alerts-info"
    assert rig.paged() == []


def test_an_error_uses_the_route_of_warnings_and_its_own_colour(rig: Rig) -> None:
    incident = rig.fires("DiskFull", "high")
    assert rig.shows(incident)["route"] == "#alerts-warning"
    assert "🟠 ERROR" in rig.parents()[0].words
    assert rig.pagerduty.events[0].body["payload"]["severity"] == "error"
    assert listed(rig, "error") == [incident]
    assert listed(rig, "warning") == []
    assert f'id="to-{incident}"' in rig.client.get("/?severity=error").text
    assert 'class="card error open"' in rig.client.get("/").text
    assert "1 error" in rig.client.get("/history").text


def test_an_error_uses_its_own_route_if_that_comes_first(rig: Rig) -> None:
    line = """  - {match: ['severity="error"'], channel: "#alerts-error", escalation: critical}\n"""
    rig.configure(
        ROUTING.replace(
            """  - {match: ['severity="warning"']""", line + """  - {match: ['severity="warning"']"""
        )
    )
    assert rig.shows(rig.fires("DiskFull", "P2"))["route"] == "#alerts-error"
    assert rig.shows(rig.fires("Other", "P3"))["route"] == "#alerts-warning"


def test_an_incident_has_the_worst_severity_of_its_group(rig: Rig) -> None:
    line = """  - {match: [], channel: "#alerts-info", escalation: critical}\n"""
    rig.configure(ROUTING.partition("routes:")[0] + "routes:\n" + line)
    alerts = [rig.alert("A", "minor", n="1"), rig.alert("B", "P1", n="2"), rig.alert("C", "High", n="3")]
    (incident,) = rig.posts(*alerts, group={"job": "x"})["incidents"]
    rig.works()
    assert rig.shows(incident)["severity"] == "critical"
    assert rig.pagerduty.events[0].body["payload"]["severity"] == "critical"


def test_a_worse_severity_that_joins_unacknowledges_the_incident(rig: Rig) -> None:
    line = """  - {match: [], channel: "#alerts-info", escalation: critical}\n"""
    rig.configure(ROUTING.partition("routes:")[0] + "routes:\n" + line)
    group = {"job": "x"}
    (incident,) = rig.posts(rig.alert("A", "ticket"), group=group)["incidents"]
    rig.works()
    rig.answers(incident, "acknowledge")
    rig.posts(rig.alert("A", "ticket", at=rig.clock()), rig.alert("B", "P3"), group=group)
    rig.works()
    assert rig.state(incident) == "acknowledged"
    rig.posts(rig.alert("C", "page"), group=group)
    rig.works()
    assert rig.state(incident) == "open"
    assert rig.shows(incident)["severity"] == "critical"


def test_a_configured_alias_is_understood_and_a_reload_does_not_change_open_incidents(rig: Rig) -> None:
    one_route = (
        ROUTING.partition("routes:")[0] + 'routes: [{channel: "#alerts-info", escalation: critical}]\n'
    )
    rig.configure(OWN + one_route)
    incident = rig.fires("DiskFull", "Störung")
    assert rig.paged() == ["on-call"]
    assert listed(rig, "critical") == [incident]
    rig.configure(one_route)
    before = rig.visible_output()
    assert rig.posts(rig.alert("DiskFull", "Störung"))["duplicates"] == 1
    rig.works()
    assert rig.shows(incident)["severity"] == "critical"
    assert rig.visible_output() == before
    rig.answers(incident, "acknowledge")
    assert "CRITICAL" in rig.parents()[0].words


def test_after_a_reload_a_new_alias_applies_to_new_incidents(rig: Rig) -> None:
    first = rig.fires("DiskFull", "störung")
    assert rig.shows(first)["severity"] == "none"
    assert "unknown severity" in warnings_shown(rig)
    rig.configure(OWN + ROUTING)
    assert "unknown severity" not in warnings_shown(rig)
    second = rig.fires("Other", "störung")
    assert rig.shows(second)["severity"] == "critical"
    assert rig.shows(first)["severity"] == "none"


def test_a_heartbeat_is_matched_by_the_parsed_severity(rig: Rig) -> None:
    rig.configure(
        """heartbeats: [{match: ['severity="info"', 'job="beat"'], every: 5m, notify: on-call}]\n""" + ROUTING
    )
    assert rig.posts(rig.alert("Watchdog", "P5", job="beat"))["incidents"] == []
    assert rig.client.get("/api/v1/status").json["heartbeats"][0]["state"] == "beating"


def test_a_duplicate_with_an_unknown_severity_changes_nothing(rig: Rig) -> None:
    for word in ("wobbly", "page", "HIGH"):
        rig.fires(word, word)
        before = rig.visible_output()
        assert rig.posts(rig.alert(word, word))["duplicates"] == 1
        rig.works()
        assert rig.visible_output() == before


# --- warnings and notices ---


def test_an_unknown_severity_is_a_warning_on_the_dashboard_until_the_resolve(rig: Rig) -> None:
    incident = rig.fires("DiskFull", "wobbly")
    for path in ("/", f"/incidents/{incident}"):
        assert "unknown severity &#34;wobbly&#34;" in warnings_shown(rig, path)
        assert f'{incident}"' in warnings_shown(rig, path)
    assert rig.shows(incident)["severity"] == "none"
    assert rig.shows(incident)["alerts"][0]["labels"]["severity"] == "wobbly"
    rig.ends("DiskFull", "wobbly")
    assert "unknown severity" not in warnings_shown(rig)


def test_a_critical_incident_without_a_page_is_a_warning_on_the_dashboard(rig: Rig) -> None:
    rig.configure(UNPAGED)
    incident = rig.fires("DiskFull", "P1")
    for path in ("/", f"/incidents/{incident}"):
        assert "A critical pages nobody." in warnings_shown(rig, path)
        assert "No escalation on route #alerts-critical" in warnings_shown(rig, path)
    for n in range(9):
        rig.fires(f"DiskFull{n}", "critical")
    assert "10 criticals page nobody." in warnings_shown(rig)
    assert warnings_shown(rig).count("incidents/") == 5


@pytest.mark.parametrize("word", ["none", "", "warning", "P4", "ugly"])
def test_a_missing_or_known_severity_causes_no_warning(rig: Rig, word: str) -> None:
    rig.configure(NOTICES + OWN + UNPAGED)
    rig.fires("DiskFull", word)
    rig.passes("5m")
    assert "severity" not in warnings_shown(rig)
    assert "pages nobody" not in warnings_shown(rig)
    assert notices(rig) == ""


def test_an_unknown_severity_is_one_notice(rig: Rig) -> None:
    rig.configure(NOTICES + ROUTING)
    incident = rig.fires("DiskFull", "wobbly")
    rig.fires("Other", "wobbly")
    rig.passes("5m")
    rig.configure(NOTICES + ROUTING)  # as another process, or the same one after SIGHUP
    rig.fires("Third", "wobbly")
    rig.passes("2h")
    assert notices(rig).count("unknown severity") == 1
    assert f'DiskFull ({incident}) has the unknown severity "wobbly"' in notices(rig)


def test_critical_incidents_without_a_page_are_one_notice_for_each_route(rig: Rig) -> None:
    rig.configure(NOTICES + UNPAGED)
    incident = rig.fires("DiskFull", "page")
    rig.fires("Other", "critical")
    rig.passes("5m")
    rig.configure(NOTICES + UNPAGED)
    rig.fires("Third", "P0")
    rig.passes("2h")
    assert notices(rig).count("pages nobody") == 1
    text = f"DiskFull ({incident}) is critical and pages nobody: route #alerts-critical has no escalation"
    assert text in notices(rig)


def test_a_critical_alert_that_joins_later_causes_a_notice_too(rig: Rig) -> None:
    rig.configure(
        NOTICES + ROUTING.partition("routes:")[0] + 'routes:\n  - {match: [], channel: "#alerts-info"}\n'
    )
    group = {"job": "x"}
    rig.posts(rig.alert("A", "info"), group=group)
    rig.works()
    rig.posts(rig.alert("B", "sev1"), rig.alert("C", "wobbly"), group=group)
    rig.passes("5m")
    assert notices(rig).count("pages nobody") == 1
    assert notices(rig).count("unknown severity") == 1


def test_made_up_severities_cause_a_bounded_number_of_notices(rig: Rig) -> None:
    rig.configure(NOTICES + ROUTING)
    for n in range(3 * WORDS_A_DAY):
        rig.posts(rig.alert("DiskFull", f"made-up-{n}", host=str(n)), group={"host": str(n)})
    rig.passes("20m")
    keys = list(rig.services.notices._redis.scan_iter("rcv:*notice:*"))
    assert len(keys) == WORDS_A_DAY + 1
    assert f"More than {WORDS_A_DAY} unknown severities came within a day" in notices(
        rig
    ) or "more: " in notices(rig)
    assert len(in_channel(rig, "#monitoring")) <= 3
    assert warnings_shown(rig).count("unknown severity") == 5
    assert f"{3 * WORDS_A_DAY - 5} more severities are unknown." in warnings_shown(rig)


def test_many_unknown_severities_do_not_enlarge_an_incident(rig: Rig) -> None:
    alerts = [rig.alert("A", "w" * 4000 + str(n), n=str(n)) for n in range(200)]
    (incident,) = rig.posts(*alerts, group={"job": "x"})["incidents"]
    found = rig.services.incidents.load_incident(incident).unknown_severities
    assert len(found) <= 3
    assert all(len(word) <= 60 for word in found)


def test_hostile_severities_are_escaped(rig: Rig) -> None:
    rig.configure(NOTICES + ROUTING)
    rig.fires("DiskFull", "<script>alert(1)</script> <!channel>")
    rig.passes("5m")
    page = rig.client.get("/").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in warnings_shown(rig)
    sent = [
        c.arguments for c in rig.slack.calls_of("chat.postMessage") if c.arguments["channel"] == "#monitoring"
    ]
    assert sent
    assert "<!channel>" not in json.dumps(sent)


def test_a_webhook_response_reports_the_severity_on_request(rig: Rig) -> None:
    def answer(query: str, *alerts: dict[str, Any]) -> dict[str, Any]:
        return dict(rig.client.post(f"/webhooks/alertmanager{query}", json=rig.payload(*alerts)).json)

    odd = rig.alert("DiskFull", "wobbly")
    assert "warnings" not in answer("", odd)
    (said,) = answer("?warnings=true&source=eu", odd, rig.alert("DiskFull", "wobbly", host="b"))["warnings"]
    assert said.startswith('unknown severity "wobbly"')
    assert answer("?warnings=true", rig.alert("DiskFull", "page"))["warnings"] == []
    assert answer("?warnings=true", rig.alert("DiskFull", "wobbly", ended=True))["warnings"] == []
    rig.configure(UNPAGED)
    (said,) = answer("?warnings=true", rig.alert("DiskFull", "page"))["warnings"]
    assert said == "it is critical, but route #alerts-critical has no escalation: nobody is paged"
    many = [rig.alert("DiskFull", f"w{n}") for n in range(100)]
    assert len(answer("?warnings=true", *many)["warnings"]) == 10


def test_the_dry_run_shows_the_severity(rig: Rig) -> None:
    page = rig.client.get("/routing?labels=severity%3Dwobbly").text
    assert "Unknown severity &#34;wobbly&#34;" in page
    rig.configure(UNPAGED)
    page = rig.client.get("/routing?labels=severity%3DP1").text
    assert "severity critical" in page
    assert "route #alerts-critical has no escalation" in page
    assert "has no escalation: nobody is paged, expected" in page  # the text of `receiver check`


def test_the_history_is_searched_by_the_parsed_severity(rig: Rig) -> None:
    paged, other = rig.fires("DiskFull", "page"), rig.fires("Other", "ticket")
    for label in ("severity=critical", "severity=page"):
        page = rig.client.get(f"/history?label={label}").text
        assert f"/incidents/{paged}" in page
        assert f"/incidents/{other}" not in page
    assert f"/incidents/{paged}" not in rig.client.get("/history?label=severity=").text


def test_the_log_does_not_contain_the_value_of_a_label(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.configure(NOTICES + ROUTING)
    rig.fires("DiskFull", "xoxb-1234567890-secret")
    assert any(record.message == "unknown severity" for record in caplog.records)
    assert "1234567890-secret" not in "".join(str(record.__dict__) for record in caplog.records)
