"""What real senders send, as it is said in Slack, in PagerDuty, on the page, in the API and on the command line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from receiver.cli.api_client import parse_response
from receiver.cli.incident_text import render_incident
from receiver.web.api.responses import IncidentDetail
from tests.rig import Rig

PAYLOADS = Path(__file__).parents[1] / "integrations" / "alertmanager" / "payloads"


@dataclass(frozen=True)
class Said:
    """All that a responder may read of one incident."""

    slack: str
    page: dict[str, Any]  # PagerDuty's payload
    web: str
    api: dict[str, Any]
    cli: str

    @property
    def texts(self) -> tuple[str, ...]:
        paged, shown = json.dumps(self.page, ensure_ascii=False), json.dumps(self.api, ensure_ascii=False)
        return (self.slack, paged, self.web, shown, self.cli)

    def everywhere(self, text: str) -> bool:
        return all(text in each for each in self.texts)

    def nowhere(self, text: str) -> bool:
        return not any(text in each for each in self.texts)


def read(name: str) -> Any:
    return json.loads((PAYLOADS / f"{name}.json").read_bytes())


def sends(rig: Rig, body: Any) -> Said:
    response = rig.client.post("/webhooks/alertmanager", json=body)
    assert response.status_code == 200, response.text
    rig.works()
    return said(rig, str(response.json["incidents"][0]))


def said(rig: Rig, incident_id: str) -> Said:
    shown = rig.shows(incident_id)
    detail = parse_response(shown, IncidentDetail)
    return Said(
        "\n".join(parent.words for parent in rig.parents()),
        rig.pagerduty.triggers()[-1].body["payload"] if rig.pagerduty.triggers() else {},
        unescape(rig.client.get(f"/incidents/{incident_id}").text),
        shown,
        render_incident(detail, rig.clock(), UTC),
    )


# --- Grafana ---


@pytest.mark.parametrize("name", ["grafana-9", "grafana-10", "grafana-12", "grafana-through-alertmanager"])
def test_grafanas_values_are_said_and_nothing_private(rig: Rig, name: str) -> None:
    found = sends(rig, read(name))
    assert found.everywhere("A=97.25, C=1")
    for private in ("__dashboardUid__", "__panelId__", "__orgId__", "__value", "__alert_rule_uid__="):
        assert found.nowhere(private)
    assert found.page["source"] == "web-1:9100"
    assert found.page["summary"] == "[CRITICAL] CPU too high: CPU of web-1 is above 95 %"


def test_no_data_is_titled_by_its_rule_and_names_the_rules_summary(rig: Rig) -> None:
    found = sends(rig, read("grafana-no-data"))
    assert found.everywhere("No data: Checkout error rate")
    assert found.everywhere("The rule's own summary: Checkout error rate is above 5 %")
    assert found.page["class"] == "No data: Checkout error rate"
    (alert,) = found.page["custom_details"]["alerts"]
    assert alert["annotations"]["the rule's summary"] == "Checkout error rate is above 5 %"
    assert "the rule's summary" in found.web
    assert rig.client.get("/api/v1/incidents?alertname=DatasourceNoData").json["incidents"]


def test_the_errors_of_several_rules_are_counted_and_said(rig: Rig) -> None:
    found = sends(rig, read("grafana-error"))
    assert found.everywhere("Error: Checkout error rate")
    assert "(+2)" in found.slack.splitlines()[0]
    assert found.page["summary"].endswith("(+2)")
    assert "(+2)" in found.api["summary"]
    assert found.everywhere("connection refused")


@pytest.mark.parametrize("reason", ["NoData", "Error"])
def test_a_rule_that_fires_on_a_fault_is_titled_so(rig: Rig, reason: str) -> None:
    """Grafana's `Alerting (NoData)`: the rule's name is the alert's, and its summary is not what happened."""
    body = read("grafana-alerting-no-data")
    body["alerts"][0]["annotations"]["grafana_state_reason"] = reason
    found = sends(rig, body)
    assert found.everywhere({"NoData": "No data", "Error": "Error"}[reason] + ": CPU too high")


def test_any_alert_with_an_error_is_titled_so(rig: Rig) -> None:
    alert = rig.alert("DiskFull")
    alert["annotations"] |= {"Error": "query timed out\nafter 30 s " + "x" * 400}
    found = sends(rig, rig.payload(alert))
    assert found.everywhere("Error: DiskFull")
    assert found.everywhere("query timed out")


def test_an_error_of_several_lines_is_said_once(rig: Rig) -> None:
    alert = rig.alert("DiskFull")
    alert["annotations"] |= {"Error": "query timed out\nafter 30 s"}
    found = sends(rig, rig.payload(alert))
    assert "query timed out after 30 s · " in found.slack
    assert "\nafter 30 s" not in found.slack
    assert "after 30 s\n" not in found.cli


@pytest.mark.parametrize("error", ["", "  "])
def test_an_empty_error_is_none(rig: Rig, error: str) -> None:
    alert = rig.alert("DiskFull")
    alert["annotations"] |= {"Error": error}
    found = sends(rig, rig.payload(alert))
    assert found.page["summary"] == "[CRITICAL] DiskFull: DiskFull is bad"


def test_an_ordinary_resolve_with_a_reason_is_no_fault(rig: Rig) -> None:
    sends(rig, read("grafana-12"))
    body = read("grafana-12")
    body["status"] = body["alerts"][0]["status"] = "resolved"
    body["alerts"][0] |= {"endsAt": "2026-11-23T12:00:00Z"}
    body["alerts"][0]["annotations"]["grafana_state_reason"] = "MissingSeries"
    found = sends(rig, body)
    assert found.api["state"] == "resolved"
    assert found.api["alertname"] == "CPU too high"


def test_the_runbook_of_grafanas_rule_is_found(rig: Rig) -> None:
    (rig.folder / "runbooks" / "checkout.md").write_text(
        "# Runbooks\n\n## Checkout error rate\n\n### Resolution\n\nRoll back the checkout.\n"
    )
    rig.configure((rig.folder / "routing.yaml").read_text())
    assert "Roll back the checkout" in sends(rig, read("grafana-no-data")).slack


# --- labels ---


def test_labels_are_shown_by_their_use_and_private_ones_never(rig: Rig) -> None:
    noise = {f"label_app_kubernetes_io_{name}": f"payments-{name}" for name in ("name", "part_of", "version")}
    labels = {
        **noise,
        "prometheus": "monitoring/main",
        "endpoint": "metrics-port",
        "container": "kube-state-metrics",
        "instance": "10.244.3.17:8080",
        "job": "kube-state-metrics",
        "namespace": "payments",
        "pod": "payments-api-6f7d8",
        "service": "kube-state-metrics",
        "cluster": "prod-eu",
        "__tenant__": "t1",
    }
    found = sends(rig, rig.payload(rig.alert("KubePodNotReady", **labels)))
    for text in (found.slack, found.web[found.web.index("<h2>Alerts") :], found.cli):
        ordered = ("instance", "cluster", "namespace", "pod", "endpoint", "prometheus")
        places = [text.index(labels[name]) for name in ordered if labels[name] in text]
        assert len(places) >= 4
        assert places == sorted(places)
    (alert,) = found.page["custom_details"]["alerts"]
    assert list(alert["labels"])[:5] == ["instance", "cluster", "namespace", "pod", "service"]
    assert found.page["source"] == "10.244.3.17:8080"
    assert found.nowhere('t1"') or found.nowhere("__tenant__")
    assert "alertname=" not in found.slack
    assert "severity=critical" not in found.slack + found.cli


def test_none_is_no_severity_and_not_repeated(rig: Rig) -> None:
    found = sends(rig, rig.payload(rig.alert("Odd", severity="none")))
    assert "severity=none" not in found.slack + found.cli
    assert found.api["severity"] == "none"


def test_a_severity_in_another_word_is_read_shown_and_routed(rig: Rig) -> None:
    found = sends(rig, rig.payload(rig.alert("BudgetBurn", severity="page", sloth_severity="page")))
    assert rig.paged() == ["on-call"]
    assert (found.api["severity"], found.page["severity"]) == ("critical", "critical")
    assert found.api["channel"] == "#alerts-critical"
    assert "severity=page" in found.slack


# --- groups ---


def test_what_alertmanager_truncated_is_counted(rig: Rig) -> None:
    alerts = [rig.alert("HostDown", instance=f"h{n}") for n in range(2)]
    found = sends(rig, rig.payload(*alerts, truncatedAlerts=498))
    assert "2 of 500" in found.slack
    assert "2 of 500" in found.page["summary"]
    assert (found.api["firing"], found.api["total"]) == (2, 500)
    assert "2 of 500" in found.cli
    assert "2 of 500" in found.web


def test_one_alert_under_two_receivers_is_one_message_and_one_page(rig: Rig) -> None:
    alert = rig.alert("QueueStuck", namespace="shop", instance="q-1")
    first = rig.posts(alert, receiver="shop/team/receiver", groupKey='{}/{namespace="shop"}:{}')
    assert rig.posts(alert, receiver="default", groupKey="{}:{}")["incidents"] == first["incidents"]
    rig.works()
    assert (len(rig.parents()), rig.paged()) == (1, ["on-call"])
    rig.posts(rig.alert("QueueStuck", namespace="shop", instance="q-1", ended=True), groupKey="{}:{}")
    rig.works()
    assert rig.state(first["incidents"][0]) == "resolved"


@pytest.mark.parametrize(
    "name",
    ["array-prometheus-3", "array-vmalert", "array-mimir-ruler", "array-loki-ruler", "array-thanos-ruler"],
)
def test_each_sender_without_an_alertmanager_fires_until_its_end(rig: Rig, name: str) -> None:
    found = sends(rig, read(name))
    assert (found.api["state"], found.api["firing"]) == ("open", 1)
    rig.passes("4m1s")
    assert rig.state(found.api["id"]) == "resolved"


@pytest.mark.parametrize("name", ["InfoInhibitor", "Watchdog"])
def test_an_alert_that_is_no_problem_is_said_in_the_hints_of_the_history(rig: Rig, name: str) -> None:
    rig.fires(name, severity="none")
    page = unescape(rig.client.get("/history").text)
    assert f"{name} " in page[page.index("What could be better") :]
    assert "route this to a null receiver" in page
