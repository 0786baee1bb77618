"""A page is confirmed by PagerDuty's state, and only the resolve of a person there resolves our incident."""

from __future__ import annotations

import pytest

from receiver.storage.keys import TASKS
from tests.mocks.pagerduty_account import INTEGRATION, PagedIncident
from tests.rig import KEYS, ROUTING, Rig

ONCALL, TEAM_LEAD = KEYS["PAGERDUTY_ONCALL_KEY"], KEYS["PAGERDUTY_TEAM_LEAD_KEY"]
SECRET = "pagerduty-secret"


@pytest.fixture
def rest(rig: Rig) -> Rig:
    """PagerDuty's REST API is available; its webhooks never arrive."""
    rig.environ |= {"PAGERDUTY_API_TOKEN": "rest-token", "PAGERDUTY_API_URL": rig.pagerduty.url}
    rig.configure(ROUTING + '\nnotices: {channel: "#monitoring"}\n')
    rig.reconcilers.periodic_tasks.enqueue_all(rig.services.work_queue)
    return rig


@pytest.fixture
def hooks(rig: Rig) -> Rig:
    """PagerDuty's REST API is not available; its webhooks arrive when `delivers` is called."""
    rig.environ["PAGERDUTY_WEBHOOK_SECRET"] = SECRET
    rig.pagerduty.webhooks.names_keys = True
    rig.configure(ROUTING)
    return rig


def delivers(rig: Rig) -> None:
    """Deliver PagerDuty's webhooks and let the worker process them."""

    def post(body: bytes, headers: dict[str, str]) -> int:
        return rig.client.post("/webhooks/pagerduty", data=body, headers=headers).status_code

    assert set(rig.pagerduty.webhooks.deliver(post)) <= {202}
    rig.works()


def page(rig: Rig, key: str = ONCALL) -> PagedIncident:
    return rig.pagerduty.opened(key)[-1]


def count_queries(rig: Rig) -> int:
    return sum(path == "/incidents" for path, _ in rig.pagerduty.rest.asked)


def triggers(rig: Rig, key: str = ONCALL) -> list[float]:
    """Return the seconds from the first trigger to each trigger."""
    events = rig.pagerduty.triggers(key)
    return [round(event.at - events[0].at) for event in events]


def step(rig: Rig, incident: str, name: str = "on-call") -> dict:
    return next(s for s in rig.shows(incident)["escalation"]["steps"] if s["step"] == name)


def whats(rig: Rig, incident: str) -> list[str]:
    return [event["what"] for event in rig.shows(incident)["timeline"]]


# --- confirmed ---


def test_a_page_is_checked_after_30_s_and_then_every_15_minutes(rest: Rig) -> None:
    incident = rest.fires("DiskFull", severity="critical")
    rest.passes("29s")
    assert count_queries(rest) == 0
    rest.passes("2s")
    assert count_queries(rest) == 1
    assert step(rest, incident)["state"] == "notified"
    rest.passes("4m")
    before = count_queries(rest)
    rest.passes("50m")
    assert count_queries(rest) > before
    assert rest.paged() == ["on-call", "team-lead", "manager"]
    assert rest.triggered() == ["on-call", "team-lead", "manager"]


def test_an_acknowledged_page_is_not_checked_any_more(rest: Rig) -> None:
    incident = rest.fires("DiskFull")
    rest.passes("31s")
    rest.answers(incident, "acknowledge")
    before = count_queries(rest)
    rest.passes("2h")
    assert count_queries(rest) == before


def test_an_acknowledgement_whose_webhook_was_lost_is_found_by_the_check(rest: Rig) -> None:
    incident = rest.fires("DiskFull", severity="warning")
    rest.passes("10s")
    rest.pagerduty.acknowledges(page(rest), by="Alice Doe")
    rest.passes("21s")
    assert rest.shows(incident)["acknowledged_by"] == "Alice Doe"


def test_merged_into_an_open_incident_is_confirmed(rest: Rig) -> None:
    incident = rest.fires("DiskFull")
    rest.fires("DiskSlow")
    one, other = rest.pagerduty.opened()
    rest.clock.moment += 5
    rest.pagerduty.merges(one, into=other)
    rest.passes("4m")
    assert step(rest, incident)["state"] == "notified"
    assert rest.triggered() == ["on-call", "on-call"]


def test_a_simulated_page_is_not_checked(rest: Rig) -> None:
    rest.environ["PAGERDUTY_ONCALL_KEY"] = ""
    rest.configure(ROUTING)
    rest.fires("DiskFull")
    rest.passes("2m")
    assert count_queries(rest) == 0


# --- unconfirmed ---


def test_a_page_in_a_maintenance_window_is_unconfirmed_reported_once_and_sent_again(rest: Rig) -> None:
    rest.pagerduty.deaf.add(ONCALL)
    incident = rest.fires("DiskFull")
    rest.passes("31s")
    shown = step(rest, incident)
    assert shown["state"] == "unconfirmed"
    assert shown["notified_at"] is None
    texts = [reply for reply in rest.replies() if "accepted the page and has no incident" in reply]
    assert len(texts) == 1
    assert "maintenance window" in texts[0]
    rest.passes("30m")
    assert [reply for reply in rest.replies() if "has no incident" in reply] == [
        *texts,
        *(r for r in rest.replies() if "has no incident" in r and r not in texts),
    ]
    assert sum("has no incident" in reply and "On-call" in reply for reply in rest.replies()) == 1
    assert triggers(rest)[:8] == [0, 30, 60, 120, 240, 480, 780, 1080]
    assert "page not confirmed" in rest.parents()[0].words


def test_the_next_step_is_notified_on_time_whether_the_page_is_confirmed_or_not(rest: Rig) -> None:
    rest.pagerduty.deaf.add(ONCALL)
    rest.fires("DiskFull")
    rest.passes("4m59s")
    assert rest.paged() == []
    rest.passes("1s")
    assert rest.paged() == ["team-lead"]


def test_after_the_maintenance_window_the_page_is_confirmed_and_the_step_notified(rest: Rig) -> None:
    rest.pagerduty.deaf.add(ONCALL)
    incident = rest.fires("DiskFull")
    rest.passes("3m")
    rest.pagerduty.deaf.clear()
    rest.passes("1m45s")
    assert rest.paged() == ["on-call"]
    assert step(rest, incident)["state"] == "notified"
    opened = page(rest).opened_at
    assert step(rest, incident)["notified_at"].startswith(_iso(opened))
    count = len(rest.pagerduty.triggers(ONCALL))
    rest.passes("10m")
    assert len(rest.pagerduty.triggers(ONCALL)) == count
    assert rest.paged() == ["on-call", "team-lead", "manager"]


@pytest.mark.parametrize("end", ["acknowledge", "resolve"])
def test_an_unconfirmed_page_is_not_sent_again_after_an_acknowledgement_or_resolve(
    rest: Rig, end: str
) -> None:
    rest.pagerduty.deaf.add(ONCALL)
    incident = rest.fires("DiskFull")
    rest.passes("1m")
    rest.answers(incident, end)
    count = len(rest.pagerduty.triggers())
    rest.passes("2h")
    assert len(rest.pagerduty.triggers()) == count


def test_a_step_notified_in_slack_too_shows_that_its_page_is_unconfirmed(rest: Rig) -> None:
    """The mention notified the step on time, so the wait goes on; but no pager rang."""
    rest.configure(ROUTING.replace("on-call:   {pagerduty", 'on-call:   {slack: "@oncall", pagerduty'))
    rest.pagerduty.deaf.add(ONCALL)
    incident = rest.fires("DiskFull")
    rest.passes("31s")
    shown = step(rest, incident)
    assert (shown["state"], shown["notified_at"]) == ("unconfirmed", "2026-11-23T12:00:00.000Z")
    page = rest.client.get(f"/incidents/{incident}").text
    assert "accepted the page and has no incident for it; notified otherwise" in page
    rest.pagerduty.deaf.clear()
    rest.passes("10m")
    assert step(rest, incident)["state"] == "notified"


def test_the_status_shows_unconfirmed_pages(rest: Rig) -> None:
    rest.pagerduty.deaf.add(ONCALL)
    rest.fires("DiskFull")
    rest.passes("2m")
    channel = rest.client.get("/api/v1/status").json["channels"]["pagerduty"]
    assert (channel["state"], channel["reason"]) == ("failing", "unconfirmed")


def test_an_unavailable_api_neither_confirms_nor_doubts_a_page(rest: Rig) -> None:
    rest.environ["PAGERDUTY_API_URL"] = "http://127.0.0.1:1"
    rest.configure(ROUTING)
    incident = rest.fires("DiskFull", severity="warning")
    rest.passes("20m")
    assert step(rest, incident)["state"] == "notified"
    assert rest.triggered() == ["on-call"]


def test_a_page_that_opened_in_pagerduty_over_a_month_ago_is_still_found(rest: Rig) -> None:
    incident = rest.fires("DiskFull", severity="warning")
    for _ in range(3):
        rest.passes("8h", every="5m")
        rest.posts(rest.alert("DiskFull", severity="warning", at=rest.clock() - 3600))
        rest.works()
    assert rest.state(incident) == "open"
    assert all(
        query["date_range"] == ["all"] for path, query in rest.pagerduty.rest.asked if path == "/incidents"
    )


# --- resolved automatically ---


def test_auto_resolve_does_not_resolve_the_incident_and_the_page_is_sent_again(rest: Rig) -> None:
    incident = rest.fires("DiskFull", severity="warning")
    rest.passes("10m")
    rest.pagerduty.auto_resolves(page(rest))
    rest.passes("10m")
    assert rest.state(incident) == "open"
    assert rest.paged() == ["on-call", "on-call"]
    assert page(rest).dedup_key == rest.pagerduty.opened(ONCALL)[0].dedup_key
    assert whats(rest, incident).count("resolved_there") == 1


def test_the_check_before_a_step_does_not_count_an_automatic_resolve_as_a_response(rest: Rig) -> None:
    incident = rest.fires("DiskFull")
    rest.passes("4m")
    rest.pagerduty.auto_resolves(page(rest))
    rest.passes("1m")
    assert rest.state(incident) == "open"
    assert rest.paged() == ["on-call", "on-call", "team-lead"]


def test_the_webhook_of_an_auto_resolve_is_processed_at_once(rest: Rig) -> None:
    rest.environ["PAGERDUTY_WEBHOOK_SECRET"] = SECRET
    rest.configure(ROUTING)
    incident = rest.fires("DiskFull")
    rest.passes("1m")
    rest.pagerduty.auto_resolves(page(rest))
    delivers(rest)
    assert rest.paged() == ["on-call", "on-call"]
    assert rest.state(incident) == "open"


def test_the_webhook_of_an_auto_resolve_is_applied_while_pagerduty_refuses_the_check(hooks: Rig) -> None:
    hooks.pagerduty.rest.token = "another"
    hooks.environ |= {"PAGERDUTY_API_TOKEN": "revoked", "PAGERDUTY_API_URL": hooks.pagerduty.url}
    hooks.configure(ROUTING)
    incident = hooks.fires("DiskFull")
    hooks.passes("1m")
    hooks.pagerduty.auto_resolves(page(hooks))
    before = count_queries(hooks)
    delivers(hooks)
    hooks.passes("1m")
    assert 1 <= count_queries(hooks) - before <= 4
    assert hooks.state(incident) == "open"
    assert hooks.paged() == ["on-call", "on-call"]


def test_the_webhook_of_an_auto_resolve_waits_a_minute_after_a_failed_check(hooks: Rig) -> None:
    hooks.environ |= {"PAGERDUTY_API_TOKEN": "rest-token", "PAGERDUTY_API_URL": hooks.pagerduty.url}
    hooks.configure(ROUTING)
    hooks.fires("DiskFull")
    hooks.passes("2m")
    hooks.pagerduty.auto_resolves(page(hooks))

    def post(body: bytes, headers: dict[str, str]) -> int:
        return hooks.client.post("/webhooks/pagerduty", data=body, headers=headers).status_code

    hooks.pagerduty.webhooks.deliver(post)
    hooks.works((TASKS,))
    before = count_queries(hooks)
    hooks.pagerduty.rest.odd_body = {"incidents": "none"}
    hooks.passes("30s")
    assert count_queries(hooks) - before <= 2
    hooks.pagerduty.rest.odd_body = None
    hooks.passes("1m")
    assert hooks.paged() == ["on-call", "on-call"]


@pytest.mark.parametrize("by", ["Payments service", ""])
def test_without_a_rest_token_the_webhook_alone_decides(hooks: Rig, by: str) -> None:
    incident = hooks.fires("DiskFull")
    hooks.passes("1m")
    hooks.pagerduty.auto_resolves(page(hooks), by=by)
    delivers(hooks)
    assert hooks.state(incident) == "open"
    assert hooks.paged() == ["on-call", "on-call"]
    delivers(hooks)
    hooks.passes("3m")
    assert hooks.paged() == ["on-call", "on-call"]


def test_the_resolve_of_a_person_resolves_the_incident(hooks: Rig) -> None:
    incident = hooks.fires("DiskFull")
    hooks.passes("1m")
    hooks.pagerduty.resolves(page(hooks), by="Alice Doe")
    delivers(hooks)
    assert hooks.state(incident) == "resolved"
    assert hooks.shows(incident)["resolved_by"] == "Alice Doe"


def test_our_own_resolve_is_not_an_automatic_one(hooks: Rig) -> None:
    incident = hooks.fires("DiskFull")
    hooks.passes("1m")
    hooks.ends("DiskFull")
    delivers(hooks)
    assert hooks.state(incident) == "resolved"
    assert hooks.paged() == ["on-call"]
    assert whats(hooks, incident).count("resolved_there") == 0


def test_the_resolve_of_another_integration_is_an_automatic_one(hooks: Rig) -> None:
    incident = hooks.fires("DiskFull")
    hooks.passes("1m")
    hooks.pagerduty.auto_resolves(page(hooks), by=INTEGRATION)
    delivers(hooks)
    assert hooks.state(incident) == "open"
    assert hooks.paged() == ["on-call", "on-call"]


def test_an_auto_resolve_of_an_acknowledged_incident_causes_no_page(rest: Rig) -> None:
    incident = rest.fires("DiskFull")
    rest.answers(incident, "acknowledge")
    rest.passes("1m")
    rest.pagerduty.auto_resolves(page(rest))
    rest.passes("2h")
    assert rest.state(incident) == "acknowledged"
    assert rest.paged() == ["on-call"]


def test_repeated_automatic_resolves_are_overruled_three_times_an_hour_and_then_reported(
    rest: Rig,
) -> None:
    rest.environ["PAGERDUTY_WEBHOOK_SECRET"] = SECRET
    rest.configure(ROUTING + '\nnotices: {channel: "#monitoring"}\n')
    incident = rest.fires("DiskFull")
    for _ in range(8):
        rest.passes("1m")
        for opened in rest.pagerduty.still_open(ONCALL):
            rest.pagerduty.auto_resolves(opened)
        delivers(rest)
    assert len(rest.pagerduty.opened(ONCALL)) == 4
    assert rest.state(incident) == "open"
    assert "team-lead" in rest.paged()
    assert sum("Something in PagerDuty resolves" in reply for reply in rest.replies()) == 1
    rest.passes("1m")
    assert sum("again and again" in m.words for m in rest.parents() if m.channel == "#monitoring") == 1
    channel = rest.client.get("/api/v1/status").json["channels"]["pagerduty"]
    assert (channel["state"], channel["reason"]) == ("failing", "resolved_there")
    rest.passes("1h")
    assert len(rest.pagerduty.opened(ONCALL)) > 4


# --- our resolve ---


def test_a_resolve_that_pagerduty_dropped_is_sent_again(rest: Rig) -> None:
    rest.fires("DiskFull")
    rest.passes("1m")
    rest.pagerduty.deaf.add(ONCALL)
    rest.ends("DiskFull")
    rest.passes("10s")
    rest.pagerduty.deaf.clear()
    assert len(rest.pagerduty.still_open()) == 1
    rest.passes("30s")
    assert rest.pagerduty.still_open() == []
    assert rest.events().count("resolve") == 2


def test_a_resolve_of_an_acknowledged_page_that_pagerduty_dropped_is_sent_again(rest: Rig) -> None:
    incident = rest.fires("DiskFull")
    rest.passes("1m")
    rest.answers(incident, "acknowledge")
    rest.pagerduty.deaf.add(ONCALL)
    rest.answers(incident, "resolve")
    rest.passes("10s")
    rest.pagerduty.deaf.clear()
    assert len(rest.pagerduty.still_open()) == 1
    rest.passes("30s")
    assert rest.pagerduty.still_open() == []
    assert rest.events().count("resolve") == 2


def test_a_resolve_dropped_three_times_is_reported(rest: Rig) -> None:
    incident = rest.fires("DiskFull")
    rest.passes("1m")
    rest.pagerduty.deaf.add(ONCALL)
    rest.ends("DiskFull")
    rest.passes("1h")
    assert rest.events().count("resolve") == 3
    texts = [reply for reply in rest.replies() if "resolve it by hand" in reply]
    assert len(texts) == 1
    assert page(rest).id in texts[0]
    assert "left_open" in whats(rest, incident)
    assert any(
        "still open after our resolves" in m.words for m in rest.parents() if m.channel == "#monitoring"
    )


def test_a_later_page_with_the_same_key_is_no_failed_resolve(rest: Rig) -> None:
    rest.fires("DiskFull")
    rest.passes("1m")
    rest.ends("DiskFull")
    rest.passes("11m")
    second = rest.fires("DiskFull")
    rest.passes("4m")
    assert rest.state(second) == "open"
    assert [incident.state for incident in rest.pagerduty.opened(ONCALL)] == ["resolved", "triggered"]


# --- without the REST token ---


def test_without_a_rest_token_a_duplicate_triggers_again_while_unacknowledged(rig: Rig) -> None:
    rig.pagerduty.deaf.add(ONCALL)
    start = rig.clock()
    incident = rig.fires("DiskFull", severity="warning")
    for _ in range(4):
        rig.passes("5m")
        rig.posts(rig.alert("DiskFull", severity="warning", at=start))
    rig.works()
    assert triggers(rig) == [0, 900]
    rig.answers(incident, "acknowledge")
    for _ in range(8):
        rig.passes("5m")
        rig.posts(rig.alert("DiskFull", severity="warning", at=start))
    rig.works()
    assert triggers(rig) == [0, 900]
    assert step(rig, incident)["state"] == "notified"


def _iso(moment: float) -> str:
    import datetime as dt

    return dt.datetime.fromtimestamp(moment, dt.UTC).isoformat()[:19]
