"""The pages: open incidents, simulated messages, and alert texts that are never HTML."""

from __future__ import annotations

import pytest

from tests.rig import ROUTING, Rig
from tests.web.locations import list_links, resolve

NASTY = "<script>alert(1)</script>"


def simulate(rig: Rig) -> None:
    rig.environ["SLACK_BOT_TOKEN"] = ""
    rig.environ |= {
        name: "" for name in rig.environ if name.startswith("PAGERDUTY_") and name.endswith("_KEY")
    }
    rig.configure(ROUTING)


def test_the_dashboard_lists_open_incidents(rig: Rig) -> None:
    rig.fires("DiskFull")
    closed = rig.fires("Gone")
    rig.answers(closed, "resolve")
    page = rig.client.get("/").text
    assert "DiskFull" in page
    assert "Team Lead" in page
    assert "Gone" not in page


def test_the_page_of_an_incident_shows_its_simulated_messages(rig: Rig) -> None:
    simulate(rig)
    incident = rig.fires("DiskFull")
    assert "would have been sent" in rig.client.get("/").text
    page = rig.client.get(f"/incidents/{incident}").text
    assert "slack:#alerts-critical" in page
    assert "pagerduty:on-call" in page
    assert rig.slack.messages == []
    assert rig.pagerduty.events == []


def test_a_simulated_receipt_counts_as_notified(rig: Rig) -> None:
    simulate(rig)
    incident = rig.fires("DiskFull")
    rig.passes("10m")
    assert [step["state"] for step in rig.shows(incident)["escalation"]["steps"]] == ["notified"] * 3
    assert all(delivery["simulated"] for delivery in rig.shows(incident)["deliveries"])


def test_alert_texts_are_escaped(rig: Rig) -> None:
    simulate(rig)
    alert = rig.alert(NASTY, host=NASTY)
    alert["annotations"] = {"summary": NASTY, NASTY: NASTY}
    incident = rig.posts(alert)["incidents"][0]
    rig.works()
    rig.answers(incident, "acknowledge", NASTY)
    for path in ("/", f"/incidents/{incident}"):
        response = rig.client.get(path)
        assert NASTY not in response.text
        assert "&lt;script&gt;" in response.text
        assert "script-src 'self';" in response.headers["Content-Security-Policy"]
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_an_incident_has_a_page(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    page = rig.client.get(f"/incidents/{incident}").text
    assert "Paged On-call" in page
    assert rig.client.get("/incidents/nobody-1").status_code == 404


def test_a_runbook_has_a_page_without_its_html(rig: Rig) -> None:
    text = f"### DiskFull (Critical)\n\n**Impact**: all stops {NASTY}\n\n[x](javascript:alert(1))\n"
    (rig.folder / "runbooks" / "a.md").write_text(text)
    rig.clock.moment += 10
    page = rig.client.get("/runbooks/DiskFull").text
    assert "all stops" in page
    assert NASTY not in page
    assert 'href="javascript' not in page
    assert rig.client.get("/runbooks/Nobody").status_code == 404


def test_the_runbook_of_an_alert_with_a_slash_has_a_page(rig: Rig) -> None:
    (rig.folder / "runbooks" / "a.md").write_text("# R\n\n## 1. I/O wait, 100 %\n\nall stops\n")
    rig.clock.moment += 10
    for name in ("I/O wait, 100 %25", "I%2FO%20wait%2C%20100%20%25", "io-wait-100"):
        for path in (f"/runbooks/{name}", f"/api/v1/runbooks/{name}"):
            assert "all stops" in rig.client.get(path).text


def test_the_receiver_is_ready_only_while_a_worker_runs(rig: Rig) -> None:
    assert rig.client.get("/readyz").status_code == 503
    rig.services.work_queue.record_heartbeat("w1", rig.clock())
    assert rig.client.get("/readyz").status_code == 200
    rig.clock.moment += 4
    assert rig.client.get("/readyz").status_code == 503
    assert rig.client.get("/healthz").status_code == 200


def test_every_metric_has_a_help_text(rig: Rig) -> None:
    from pathlib import Path

    rig.fires("DiskFull")
    explained = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
    lines = rig.client.get("/metrics").text.splitlines()
    names = {line.split()[2] for line in lines if line.startswith("# TYPE receiver_")}
    ours = {name for name in names if not name.endswith("_created")}
    assert len(ours) >= 10
    assert [name for name in sorted(ours) if f"`{name}`" not in explained] == []


@pytest.mark.parametrize(
    "name",
    ["..%2f..%2fetc%2fpasswd", "%2e%2e%2frouting.yaml", "..%5c..%5crouting.yaml", "%00", "/etc/passwd"],
)
def test_the_path_of_a_runbook_page_is_never_used_as_a_file_path(rig: Rig, name: str) -> None:
    for path in (f"/runbooks/{name}", f"/api/v1/runbooks/{name}", f"/static/{name}"):
        assert rig.client.get(path, follow_redirects=True).status_code == 404


def test_the_page_of_an_incident_has_the_runbook_of_its_message(rig: Rig) -> None:
    (rig.folder / "runbooks" / "a.md").write_text(
        "### Disks (Critical)\n\n**Impact**: all stops\n\n### More\n"
    )
    rig.clock.moment += 10
    alert = rig.alert("DiskFull")
    alert["annotations"]["runbook"] = "Disks"
    incident = rig.posts(alert)["incidents"][0]
    assert "all stops" in rig.client.get(f"/incidents/{incident}").text


def test_the_page_of_an_incident_has_the_section_that_the_address_names(rig: Rig) -> None:
    """Its title may be that of another runbook, which is found by that name."""
    folder = rig.folder / "runbooks"
    (folder / "a.md").write_text("## Mitigation of leaks\n\nwrong\n\n## Checks and mitigation\n\nwrong\n")
    (folder / "pay.md").write_text("# Payments\n\n## Impact\n\nbad\n\n## Mitigation\n\nfail over\n")
    rig.clock.moment += 10
    alert = rig.alert("PayDown")
    alert["annotations"]["runbook_url"] = "https://github.com/acme/rb/blob/main/pay.md#mitigation"
    page = rig.client.get(f"/incidents/{rig.posts(alert)['incidents'][0]}").text
    assert "fail over" in page
    assert "wrong" not in page


def test_the_page_of_an_incident_links_an_external_runbook(rig: Rig) -> None:
    alert = rig.alert("DiskFull")
    alert["annotations"]["runbook_url"] = "https://wiki.example.org/disk"
    incident = rig.posts(alert)["incidents"][0]
    assert 'href="https://wiki.example.org/disk"' in rig.client.get(f"/incidents/{incident}").text


def test_the_page_shows_notified_next_and_skipped_steps(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    page = rig.client.get(f"/incidents/{incident}").text
    assert "✓ notified" in page
    assert 'next <time class="countdown"' in page
    assert "later" in page
    rig.answers(incident, "acknowledge")
    assert rig.client.get(f"/incidents/{incident}").text.count("skipped: somebody has it") == 2


def test_a_silence_is_offered_if_an_alertmanager_is_configured(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    assert f"/incidents/{incident}/silence" not in rig.client.get(f"/incidents/{incident}").text
    rig.configure(ROUTING + "alertmanager: {url: 'http://127.0.0.1:9'}\n")
    page = rig.client.get(f"/incidents/{incident}")
    assert f"/incidents/{incident}/silence" in [resolve(page, link) for link in list_links(page)]


def test_a_long_timeline_starts_with_the_newest_events(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    for _ in range(60):
        rig.answers(incident, "acknowledge")
        rig.answers(incident, "unacknowledge")
    page = rig.client.get(f"/incidents/{incident}").text
    timeline = page.partition('<ol class="timeline">')[2].partition("</ol>")[0]
    assert timeline.count("<time") == 100
    assert "earlier ones" in timeline
