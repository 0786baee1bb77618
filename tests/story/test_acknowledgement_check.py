"""Before each further step PagerDuty is checked for an acknowledgement; also after all data was lost."""

from __future__ import annotations

import pytest

from receiver.integrations.alertmanager.client import AlertmanagerClient
from receiver.storage.connection import Client
from tests.mocks.alertmanager import MockAlertmanager
from tests.mocks.pagerduty_account import PagedIncident
from tests.rig import KEYS, ROUTING, Rig


@pytest.fixture(autouse=True)
def token(rig: Rig) -> None:
    """PagerDuty's REST API is available; its webhooks never arrive."""
    rig.environ["PAGERDUTY_API_TOKEN"] = "rest-token"
    rig.environ["PAGERDUTY_API_URL"] = rig.pagerduty.url
    rig.configure(ROUTING)


def page(rig: Rig, responder: str = "ONCALL") -> PagedIncident:
    return rig.pagerduty.opened(KEYS[f"PAGERDUTY_{responder}_KEY"])[-1]


def list_queries(rig: Rig) -> list[str]:
    """Return the dedup keys that were requested from PagerDuty, in order."""
    return [
        key
        for path, query in rig.pagerduty.rest.asked
        if path == "/incidents"
        for key in query["incident_key"]
    ]


def whats(rig: Rig, incident: str) -> list[str]:
    return [event["what"] for event in rig.shows(incident)["timeline"]]


# --- changes whose webhook was lost ---


def test_after_an_acknowledgement_in_pagerduty_no_further_step_is_paged(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.passes("1m")
    rig.pagerduty.acknowledges(page(rig), by="Alice Doe")
    rig.passes("30m")
    assert rig.paged() == ["on-call"]
    assert rig.shows(incident)["acknowledged_by"] == "Alice Doe"


def test_pagerduty_is_checked_before_the_step_so_that_slack_mentions_no_one_either(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.pagerduty.acknowledges(page(rig))
    rig.passes("5m1s")
    assert not any("team-lead" in reply for reply in rig.replies())


def test_without_an_acknowledgement_the_step_is_notified_on_time(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.passes("4m59s")
    assert rig.paged() == ["on-call"]
    rig.passes("1s")
    assert rig.paged() == ["on-call", "team-lead"]


def test_pagerduty_is_checked_once_per_step_for_all_pages(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.passes("4m50s")
    before = len(list_queries(rig))
    rig.passes("10s")
    on_call, team_lead = page(rig).dedup_key, page(rig, "TEAM_LEAD").dedup_key
    assert list_queries(rig)[before:] == [on_call]
    rig.passes("4m50s")
    before = len(list_queries(rig))
    rig.passes("10s")
    assert sorted(list_queries(rig)[before:]) == sorted([on_call, team_lead])
    rig.passes("1h")
    assert rig.paged() == ["on-call", "team-lead", "manager"]


def test_any_responders_acknowledgement_counts(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.passes("6m")
    rig.pagerduty.acknowledges(page(rig, "TEAM_LEAD"), by="Carol")
    rig.passes("10m")
    assert rig.paged() == ["on-call", "team-lead"]
    assert rig.shows(incident)["acknowledged_by"] == "Carol"
    assert rig.events("team-lead") == ["trigger"]
    assert rig.events("on-call") == ["trigger", "acknowledge"]


def test_an_incident_resolved_in_pagerduty_is_resolved_manually_here(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.passes("1m")
    rig.pagerduty.resolves(page(rig), by="Alice Doe")
    rig.passes("10m")
    assert rig.state(incident) == "resolved"
    assert rig.paged() == ["on-call"]
    assert rig.events() == ["trigger"]
    assert "Alice Doe" in str(rig.shows(incident)["timeline"])


def test_after_a_merge_in_pagerduty_the_escalation_goes_on(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.fires("DiskSlow")
    rig.clock.moment += 60
    one, other = rig.pagerduty.opened()
    rig.pagerduty.merges(one, into=other)
    rig.passes("5m")
    assert rig.state(incident) == "open"
    assert rig.paged().count("team-lead") == 2


def test_the_resolve_of_a_former_page_resolves_nothing_while_the_new_page_is_not_yet_in_pagerduty(
    rig: Rig,
) -> None:
    """PagerDuty accepts events before it creates incidents of them."""
    incident = rig.fires("DiskFull")
    rig.passes("1m")
    rig.ends("DiskFull")
    rig.passes("1m")
    assert rig.fires("DiskFull") == incident
    rig.pagerduty.opened()[-1].dedup_key = "not known yet"
    rig.passes("6m")
    assert rig.state(incident) == "open"
    assert rig.paged()[-1] == "team-lead"


def test_an_earlier_acknowledgement_in_pagerduty_is_ignored_after_an_unacknowledge_here(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.answers(incident, "acknowledge")
    rig.passes("1m")
    rig.answers(incident, "unacknowledge")
    rig.passes("5m")
    assert rig.state(incident) == "open"
    assert rig.paged()[-1] == "team-lead"


# --- while the REST API is unavailable ---


def test_without_a_token_the_step_is_notified_unchecked(rig: Rig) -> None:
    del rig.environ["PAGERDUTY_API_TOKEN"]
    rig.configure(ROUTING)
    rig.fires("DiskFull")
    rig.pagerduty.acknowledges(page(rig))
    rig.passes("5m")
    assert rig.paged() == ["on-call", "team-lead"]
    assert list_queries(rig) == []


@pytest.mark.parametrize("status", [401, 404, 500])
def test_an_api_that_refuses_delays_no_step_and_is_recorded(rig: Rig, status: int) -> None:
    incident = rig.fires("DiskFull")
    rig.passes("4m")
    rig.pagerduty.rest.answer = lambda *_: (status, {}, {})  # type: ignore[method-assign]
    rig.passes("1m")
    assert rig.paged() == ["on-call", "team-lead"]
    assert whats(rig, incident).count("check_failed") == 1


def test_a_hanging_api_delays_no_step(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.environ["PAGERDUTY_API_URL"] = "http://127.0.0.1:1"
    rig.configure(ROUTING)
    rig.passes("5m")
    assert rig.paged() == ["on-call", "team-lead"]


def test_an_api_that_fails_once_is_retried_while_there_is_time(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.pagerduty.acknowledges(page(rig))
    rig.passes("4m")
    rig.pagerduty.fail_next(503)
    rig.passes("1m")
    assert rig.paged() == ["on-call"]
    assert rig.state(incident) == "acknowledged"


def test_after_a_timeout_the_next_incidents_do_not_wait_for_an_answer(rig: Rig) -> None:
    for name in ("One", "Two", "Three"):
        rig.fires(name)
    rig.passes("4m")
    for _ in range(3):
        rig.pagerduty.drop_answer()
    before = len(rig.pagerduty.rest.asked)
    rig.passes("1m")
    assert len(rig.pagerduty.rest.asked) == before + 1
    assert rig.paged().count("team-lead") == 3


def test_a_simulated_page_needs_no_acknowledgement_check(rig: Rig) -> None:
    rig.environ["PAGERDUTY_ONCALL_KEY"] = ""
    rig.configure(ROUTING)
    rig.fires("DiskFull")
    rig.passes("5m")
    assert rig.paged() == ["team-lead"]
    assert list_queries(rig) == []


# --- late steps ---


def test_an_overdue_step_is_checked_too(rig: Rig) -> None:
    """No worker was running when it was due."""
    incident = rig.fires("DiskFull")
    rig.pagerduty.acknowledges(page(rig))
    rig.clock.moment += 1800
    rig.works()
    assert rig.paged() == ["on-call"]
    assert rig.state(incident) == "acknowledged"


def test_after_a_silence_it_is_checked_again(rig: Rig) -> None:
    with MockAlertmanager(clock=rig.clock) as alertmanager:
        rig.configure(ROUTING + f'alertmanager: {{url: "{alertmanager.url}"}}\n')
        rig.reconcilers.periodic_tasks.enqueue_all(rig.services.work_queue)
        alertmanager.fires(alertname="DiskFull", severity="critical")
        incident = rig.fires("DiskFull")
        rig.passes("4m56s")
        client = AlertmanagerClient([alertmanager.url])
        labels, now = {"alertname": "DiskFull"}, rig.clock()
        client.make_silence(labels, now, now + 3600, by="bob", comment="known")
        rig.passes("30m")
        assert rig.shows(incident)["suppressed"]
        rig.pagerduty.acknowledges(page(rig))
        rig.passes("40m")
    assert rig.paged() == ["on-call"]
    assert rig.state(incident) == "acknowledged"


# --- all data lost ---


def repeats(rig: Rig, name: str = "DiskFull") -> str:
    """Alertmanager sends a duplicate of an alert that started long ago."""
    answer = rig.posts(rig.alert(name, at=rig.clock() - 3600))
    rig.works()
    return str(answer["incidents"][0])


def test_after_a_loss_a_duplicate_opens_the_incident_again_and_causes_no_second_page(
    rig: Rig, redis_client: Client
) -> None:
    rig.fires("DiskFull")
    rig.passes("6m")
    redis_client.flushall()
    rig.passes("10m")
    incident = repeats(rig)
    assert rig.state(incident) == "open"
    assert rig.paged() == ["on-call", "team-lead"]
    rig.passes("11m")
    assert rig.paged() == ["on-call", "team-lead", "manager"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_after_an_acknowledgement_in_pagerduty_around_a_loss_no_further_step_is_paged(
    rig: Rig, redis_client: Client, when: str
) -> None:
    rig.fires("DiskFull")
    rig.passes("1m")
    if when == "before":
        rig.pagerduty.acknowledges(page(rig), by="Alice Doe")
    redis_client.flushall()
    rig.passes("1m")
    if when == "after":
        rig.pagerduty.acknowledges(page(rig), by="Alice Doe")
    incident = repeats(rig)
    rig.passes("1h")
    assert rig.paged() == ["on-call"]
    assert rig.shows(incident)["acknowledged_by"] == "Alice Doe"


def test_after_an_acknowledgement_in_slack_before_a_loss_no_further_step_is_paged(
    rig: Rig, redis_client: Client
) -> None:
    before = rig.fires("DiskFull")
    rig.answers(before, "acknowledge")
    redis_client.flushall()
    after = repeats(rig)
    rig.passes("1h")
    assert rig.paged() == ["on-call"]
    assert rig.state(after) == "acknowledged"


def test_a_resolve_after_a_loss_resolves_the_former_page(rig: Rig, redis_client: Client) -> None:
    rig.fires("DiskFull")
    redis_client.flushall()
    repeats(rig)
    rig.passes("1m")
    rig.ends("DiskFull")
    assert rig.pagerduty.still_open() == []
