"""The routing page: diagrams, a dry run, a test alert."""

from __future__ import annotations

from tests.rig import Rig
from tests.web.pages.test_runbooks import add_runbooks


def test_routes_are_shown_with_their_steps_and_times(rig: Rig) -> None:
    page = rig.client.get("/routing").text
    assert "#alerts-critical" in page
    assert 'Team Lead <span class="quiet">after 5m</span>' in page
    assert "nobody is paged" in page


def test_a_dry_run_shows_the_route_of_labels_and_creates_nothing(rig: Rig) -> None:
    add_runbooks(rig, "DiskFull")
    page = rig.client.get("/routing?labels=alertname%3DDiskFull+severity%3Dcritical").text
    assert "Route <strong>#alerts-critical</strong>" in page
    assert "On-call at once, Team Lead after 5m, Manager after 10m, if nobody acknowledges" in page
    assert ">DiskFull</a>" in page
    assert rig.slack.messages == []
    assert rig.client.get("/routing?labels=what").status_code == 400


def test_a_label_value_with_spaces_is_quoted(rig: Rig) -> None:
    page = rig.client.get("/routing", query_string={"labels": 'alertname="Disk full" severity=critical'})
    assert "Route <strong>#alerts-critical</strong>" in page.text
    assert rig.client.get("/routing", query_string={"labels": 'alertname="Disk'}).status_code == 400


def test_a_test_alert_from_the_page_opens_an_incident(rig: Rig) -> None:
    labels = {"labels": "alertname=Drill severity=critical"}
    response = rig.submits("/routing/fire", does="fire", **labels)
    assert response.status_code == 303
    incident = response.headers["Location"].rpartition("/")[2]
    assert rig.state(incident) == "open"
    assert rig.paged() == ["on-call"]
    rig.submits("/routing/fire", does="resolve", **labels)
    assert rig.state(incident) == "resolved"


def test_a_test_alert_without_a_name_is_refused(rig: Rig) -> None:
    assert rig.submits("/routing/fire", labels="severity=critical").status_code == 400
