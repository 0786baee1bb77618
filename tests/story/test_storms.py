"""More new incidents than can be sent one by one are bundled into one message and one page."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from receiver.app.worker import build_reconcilers
from tests.crashing_worker import CrashingWorker
from tests.mocks.pagerduty_account import PagedIncident
from tests.mocks.slack_workspace import SlackMessage
from tests.rig import NAMES, ROUTING, Rig
from tests.slack_people import SECRET, SlackPeople

# More than a channel accepts in half a minute, and PagerDuty at half its own limit. A thousand incidents at
# the limits of the vendors are tested in tests/e2e/test_storm.py.
MANY = 40
EVENTS_A_MINUTE = 60
LIMITS = f"limits: {{pagerduty: {EVENTS_A_MINUTE}/m}}\n"


@pytest.fixture(autouse=True)
def vendor_limits(rig: Rig) -> Iterator[None]:
    """The mock Slack and PagerDuty enforce their limits; the receiver must stay within them, with the storm's
    own messages and pages too.
    """
    rig.slack.enforce_limits()
    rig.pagerduty.enforce_limits(EVENTS_A_MINUTE)
    rig.configure(ROUTING + LIMITS)
    yield
    assert rig.slack.limited == []
    assert rig.pagerduty.limited == []


def fire_groups(rig: Rig, count: int = MANY, severity: str = "critical", first: int = 0) -> list[str]:
    """Fire *count* groups at once and let the worker process them; return the incidents."""
    ids = [
        rig.posts(rig.alert(f"Alert{n % 3}", severity, host=str(n)), group={"host": str(n)})["incidents"][0]
        for n in range(first, first + count)
    ]
    rig.works()
    return [str(one) for one in ids]


def resolve_groups(rig: Rig, count: int = MANY, severity: str = "critical", first: int = 0) -> None:
    for n in range(first, first + count):
        alert = rig.alert(f"Alert{n % 3}", severity, ended=True, at=rig.clock() - 1, host=str(n))
        rig.posts(alert, group={"host": str(n)})
    rig.works()


def storm(rig: Rig, target_key: str = "channel:#alerts-critical") -> dict[str, Any]:
    (found,) = [
        one for one in rig.client.get("/api/v1/storms").json["storms"] if one["target_key"] == target_key
    ]
    return dict(found)


def summaries(rig: Rig) -> list[SlackMessage]:
    return [parent for parent in rig.parents() if "in #alerts-critical:" in parent.text]


def pages(rig: Rig, responder: str = "on-call", action: str = "trigger") -> list[dict[str, Any]]:
    """Return the events of storm pages for a responder."""
    return [
        event.body
        for event in rig.pagerduty.events
        if NAMES[event.routing_key] == responder
        and event.action == action
        and event.body["dedup_key"].startswith("receiver-storm-")
    ]


def test_one_message_summarizes_all_incidents_and_is_updated(rig: Rig) -> None:
    fire_groups(rig)
    rig.passes("20s")
    (summary,) = summaries(rig)
    assert len(rig.parents()) < 10
    counted = storm(rig)["total"]
    assert "channel:#alerts-critical" in rig.client.get("/api/v1/status").json["storms"]
    assert f"{counted} incidents in #alerts-critical: {counted} open" in summary.text
    assert counted + len(rig.parents()) - 1 == MANY
    assert "× *Alert0*" in summary.words
    assert "critical" in summary.words
    assert "Newest: " in summary.words


def test_the_message_is_edited_seldom_however_much_happens(rig: Rig) -> None:
    for n in range(60):
        fire_groups(rig, count=5, first=5 * n)
        rig.passes("1s")
    (summary,) = summaries(rig)
    assert 5 <= summary.edits <= 13
    rig.passes("10s")
    assert f"{storm(rig)['total']} incidents" in summary.text


def test_the_first_critical_incidents_are_paged_at_once_and_one_page_counts_the_rest(rig: Rig) -> None:
    fire_groups(rig)
    rig.passes("1s")
    singles = len(rig.paged())
    assert 5 <= singles <= 8
    rig.passes("60s")
    (page,) = pages(rig)
    assert f"{MANY - singles} incidents in #alerts-critical: " in page["payload"]["summary"]
    assert page["payload"]["severity"] == "critical"
    assert len(rig.paged()) == singles + 1


def test_few_incidents_are_no_storm(rig: Rig) -> None:
    fire_groups(rig, count=12)
    rig.passes("1m")
    assert rig.client.get("/api/v1/storms").json == {"storms": []}
    assert len(rig.parents()) == 12
    assert len(rig.paged()) == 12


def test_each_incident_has_its_own_state_timers_and_web_page(rig: Rig) -> None:
    last = fire_groups(rig)[-1]
    rig.passes("10s")
    details = rig.shows(last)
    assert details["state"] == "open"
    assert details["storm"] == storm(rig)["id"]
    assert [step["state"] for step in details["escalation"]["steps"]] == ["notified", "waiting", "later"]
    texts = [event["text"] for event in details["timeline"]]
    assert "Bundled into a storm of #alerts-critical" in texts
    assert "Bundled into a storm of on-call" in texts
    assert rig.client.get(f"/incidents/{last}").status_code == 200
    page = rig.client.get(f"/storms/{details['storm']}")
    assert last in page.text
    assert "<h1>Storm of #alerts-critical</h1>" in page.text


def test_the_web_page_of_an_incident_does_not_show_the_storms_page_as_its_own(rig: Rig) -> None:
    ids = fire_groups(rig)
    rig.passes("20s")
    single, bundled = (
        next(one for one in ids if bool(rig.shows(one).get("storm")) is is_bundled)
        for is_bundled in (False, True)
    )
    words = "the page, as it would read now"
    assert words in rig.client.get(f"/incidents/{single}/sent").text
    assert words not in rig.client.get(f"/incidents/{bundled}/sent").text


def test_further_steps_are_bundled_into_one_page_for_their_responder(rig: Rig) -> None:
    fire_groups(rig)
    rig.passes("4m50s", every="3s")
    assert "team-lead" not in rig.paged()
    rig.passes("1m30s")
    own = rig.paged().count("on-call") - len(pages(rig))  # the incidents with their own pages
    assert rig.paged().count("team-lead") == own + 1
    (page,) = pages(rig, "team-lead")
    assert f"{MANY - own} incidents" in page["payload"]["summary"]
    rig.passes("5m", every="3s")
    assert rig.paged().count("manager") == own + 1


def test_a_step_is_mentioned_once_in_the_thread_of_the_storm(rig: Rig) -> None:
    fire_groups(rig)
    rig.passes("6m30s", every="3s")
    (summary,) = summaries(rig)
    mentions = [reply for reply in rig.slack.replies() if reply.thread_ts == summary.ts]
    (mention,) = [reply for reply in mentions if "@team-lead" in reply.words]
    assert f"{storm(rig)['total']} incidents" in mention.words


def test_a_responder_without_pagerduty_is_notified_in_the_thread_of_the_storm(rig: Rig) -> None:
    """The mention notifies the step, so the next one waits its full time."""
    pagerless = ROUTING.replace(
        '"@team-lead", pagerduty: {routing_key: "${PAGERDUTY_TEAM_LEAD_KEY}"}', '"@team-lead"'
    )
    rig.configure(pagerless + LIMITS)
    rig.reconcilers = build_reconcilers(rig.services)
    last = fire_groups(rig)[-1]
    rig.passes("5m30s", every="3s")
    steps = {step["step"]: step for step in rig.shows(last)["escalation"]["steps"]}
    assert steps["team-lead"]["state"] == "notified"
    assert len([reply for reply in rig.replies() if "incidents in this storm" in reply]) == 1


def test_acknowledging_the_storm_acknowledges_all_its_incidents(rig: Rig) -> None:
    ids = fire_groups(rig)
    rig.passes("30s")
    answer = rig.client.post(
        f"/api/v1/storms/{storm(rig, 'responder:on-call')['id']}/acknowledge", json={"by": "alice"}
    )
    assert answer.status_code == 200
    rig.passes("30s")
    states = [rig.shows(one)["acknowledged_by"] for one in ids]
    assert states.count("alice") == answer.json["total"]
    assert len(pages(rig, action="acknowledge")) == 1
    rig.passes("20m", every="10s")
    open_ones = MANY - answer.json["total"]
    assert rig.triggered().count("team-lead") <= open_ones + 1


def test_acknowledging_a_storm_twice_changes_nothing(rig: Rig) -> None:
    fire_groups(rig)
    rig.passes("30s")
    for by in ("alice", "bob"):
        one = storm(rig, "responder:on-call")
        rig.client.post(f"/api/v1/storms/{one['id']}/acknowledge", json={"by": by})
        rig.passes("10s")
    assert storm(rig, "responder:on-call")["acknowledged_by"] == "alice"
    assert len(pages(rig, action="acknowledge")) == 1


def test_acknowledging_a_storm_again_renews_the_incidents_acknowledged_with_it(rig: Rig) -> None:
    """An incident that a person acknowledged separately is not renewed."""
    hour = ROUTING.replace(
        "critical: [{notify: on-call}, {notify: team-lead, after: 5m}, {notify: manager, after: 5m}]",
        "critical: {ack_timeout: 1h, steps: [{notify: on-call}, {notify: team-lead, after: 5m}]}",
    )
    rig.configure(hour + LIMITS)
    rig.reconcilers = build_reconcilers(rig.services)
    ids = fire_groups(rig)
    rig.passes("30s")
    bundled = [one for one in ids if rig.shows(one)["storm"]]
    rig.answers(bundled[0], "acknowledge", "carol")
    one = storm(rig, "responder:on-call")["id"]
    for by in ("alice", "bob"):
        rig.client.post(f"/api/v1/storms/{one}/acknowledge", json={"by": by})
        rig.passes("50m", every="10s")
    counted = [rig.shows(one) for one in ids if rig.shows(one)["acknowledged_by"] == "bob"]
    assert len(counted) == storm(rig, "responder:on-call")["total"] - 1
    assert {one["state"] for one in counted} == {"acknowledged"}
    assert rig.state(bundled[0]) == "open"  # that acknowledgement timed out
    assert len(pages(rig, action="acknowledge")) == 2
    assert storm(rig, "responder:on-call")["acknowledged_by"] == "bob"


def test_when_all_incidents_are_acknowledged_the_storms_page_is_too(rig: Rig) -> None:
    ids = fire_groups(rig)
    rig.passes("30s")
    for one in ids:
        rig.client.post(f"/api/v1/incidents/{one}/acknowledge", json={"by": "alice"})
    rig.passes("11s")
    assert len(pages(rig, action="acknowledge")) == 1


def test_an_incident_that_joins_after_the_acknowledgement_is_in_the_next_page(rig: Rig) -> None:
    """At the earliest after two minutes, and with its own dedup key: otherwise it would page no one."""
    fire_groups(rig)
    rig.passes("20s")
    one = storm(rig, "responder:on-call")
    rig.client.post(f"/api/v1/storms/{one['id']}/acknowledge", json={"by": "alice"})
    rig.works()
    fire_groups(rig, count=40, first=MANY)
    rig.passes("90s")
    assert len(pages(rig)) == 1
    rig.passes("60s")
    first, second = pages(rig)
    assert first["dedup_key"] != second["dedup_key"]
    assert "40 incidents" in second["payload"]["summary"]


def test_the_storms_page_is_resolved_with_the_last_of_its_incidents(rig: Rig) -> None:
    fire_groups(rig)
    rig.passes("30s")
    resolve_groups(rig, count=MANY - 1)
    rig.passes("1m")
    assert pages(rig, action="resolve") == []
    resolve_groups(rig, count=1, first=MANY - 1)
    rig.passes("1m")
    assert len(pages(rig, action="resolve")) == 1
    assert rig.client.get("/api/v1/storms").json == {"storms": []}
    assert "resolved · storm over" in summaries(rig)[0].text
    assert all(incident.state == "resolved" for incident in rig.pagerduty.opened())


def test_when_a_storm_ends_its_firing_incidents_are_posted(rig: Rig) -> None:
    """As many as the channel accepts in half a minute get their own message; the others are counted."""
    fire_groups(rig)
    rig.passes("20s")
    resolve_groups(rig, count=10)
    before = len(rig.parents())
    rig.passes("3m")
    (summary,) = summaries(rig)
    assert "storm over" in summary.text
    (over,) = [reply.words for reply in rig.slack.replies() if "The storm is over" in reply.words]
    assert "20 incidents get messages of their own" in over
    assert f"{storm(rig)['open'] - 20} incidents more still firing" in over
    assert len(rig.parents()) == before + 20


def test_an_incident_resolved_before_it_had_its_own_message_gets_none(rig: Rig) -> None:
    """The storm's message shows it as resolved."""
    fire_groups(rig)
    rig.passes("33s")
    over = [reply for reply in rig.slack.replies() if "The storm is over" in reply.words]
    assert len(over) == 1
    before = len(rig.parents())
    resolve_groups(rig)
    rig.passes("2m")
    assert len(rig.parents()) == before
    assert f"{storm_total(summaries(rig)[0])} resolved · storm over" in summaries(rig)[0].text


def storm_total(summary: SlackMessage) -> str:
    return summary.text.split()[1]


def test_an_incident_that_got_its_own_message_is_updated(rig: Rig) -> None:
    ids = fire_groups(rig)
    rig.passes("5m", every="3s")
    own = next(
        one for one in ids if rig.shows(one)["deliveries"] and _link(rig, one) not in ("", _summary_link(rig))
    )
    rig.answers(own, "acknowledge")
    rig.passes("10s")
    assert any("Acknowledged by alice" in parent.text for parent in rig.parents())


def _link(rig: Rig, incident: str) -> str:
    return next((d["link"] or "" for d in rig.shows(incident)["deliveries"] if d["id"] == "message"), "")


def _summary_link(rig: Rig) -> str:
    return str(storm(rig)["link"])


def test_another_channel_is_not_affected(rig: Rig) -> None:
    fire_groups(rig)
    rig.fires("SlowTests", "warning")
    assert any("SlowTests" in parent.text for parent in rig.parents())


def test_an_alert_that_fires_again_after_the_storm_has_its_own_message(rig: Rig) -> None:
    fire_groups(rig)
    rig.passes("20s")
    resolve_groups(rig)
    rig.passes("2m")
    before = len(rig.parents())
    fire_groups(rig, count=1, first=MANY - 1)
    rig.passes("10s")
    assert len(rig.parents()) == before + 1


def test_a_second_storm_has_its_own_message(rig: Rig) -> None:
    fire_groups(rig)
    rig.passes("20s")
    resolve_groups(rig)
    rig.passes("30m", every="10s")
    fire_groups(rig)
    rig.passes("20s")
    assert len(summaries(rig)) == 2
    assert len(pages(rig)) == 2


def deliver_webhooks(rig: Rig) -> None:
    """Deliver PagerDuty's webhooks."""
    rig.pagerduty.webhooks.deliver(
        lambda body, headers: rig.client.post("/webhooks/pagerduty", data=body, headers=headers).status_code
    )


def storm_page(rig: Rig) -> PagedIncident:
    (found,) = [one for one in rig.pagerduty.opened() if one.dedup_key.startswith("receiver-storm-")]
    return found


@pytest.fixture
def rig_with_responses(rig: Rig) -> Rig:
    """The receiver with requests from Slack and PagerDuty enabled."""
    rig.environ |= {"PAGERDUTY_WEBHOOK_SECRET": "pagerduty-secret", "SLACK_SIGNING_SECRET": SECRET}
    rig.environ |= {"PAGERDUTY_API_TOKEN": "rest-token", "PAGERDUTY_API_URL": rig.pagerduty.url}
    rig.configure(ROUTING + 'pagerduty: {api_token: "${PAGERDUTY_API_TOKEN}"}\n' + LIMITS)
    rig.reconcilers = build_reconcilers(rig.services)
    return rig


def test_an_acknowledgement_in_pagerduty_acknowledges_all_incidents_without_an_echo(
    rig_with_responses: Rig,
) -> None:
    rig = rig_with_responses
    ids = fire_groups(rig)
    rig.passes("20s")
    counted = storm(rig, "responder:on-call")["total"]
    rig.pagerduty.acknowledges(storm_page(rig), "Alice Doe")
    deliver_webhooks(rig)
    rig.passes("30s")
    assert [rig.shows(one)["acknowledged_by"] for one in ids].count("Alice Doe") == counted
    assert pages(rig, action="acknowledge") == []


def test_an_acknowledgement_whose_webhook_was_lost_is_found_before_the_next_step(
    rig_with_responses: Rig,
) -> None:
    """PagerDuty's webhook was lost, so its state is checked before the next step: once for all incidents."""
    rig = rig_with_responses
    ids = fire_groups(rig)
    rig.passes("20s")
    counted = storm(rig, "responder:on-call")["total"]
    page = storm_page(rig)
    rig.pagerduty.acknowledges(page, "Alice Doe")
    rig.passes("10m", every="3s")
    assert [rig.shows(one)["acknowledged_by"] for one in ids].count("Alice Doe") == counted
    assert pages(rig, "team-lead") == []
    asked = [query.get("incident_key") for path, query in rig.pagerduty.rest.asked if path == "/incidents"]
    assert 1 <= asked.count([page.dedup_key]) < 10


def test_the_next_step_is_notified_if_the_storms_page_is_not_acknowledged(rig_with_responses: Rig) -> None:
    rig = rig_with_responses
    fire_groups(rig)
    rig.passes("10m", every="3s")
    assert len(pages(rig, "team-lead")) == 1


def test_a_resolve_in_pagerduty_resolves_all_incidents_manually(rig_with_responses: Rig) -> None:
    rig = rig_with_responses
    ids = fire_groups(rig)
    rig.passes("20s")
    counted = storm(rig, "responder:on-call")["total"]
    rig.pagerduty.resolves(storm_page(rig), "Alice Doe")
    deliver_webhooks(rig)
    rig.passes("30s")
    assert [rig.shows(one)["state"] for one in ids].count("resolved") == counted
    assert pages(rig, action="resolve") == []


def test_the_button_of_the_message_acknowledges_all_incidents(rig_with_responses: Rig) -> None:
    rig = rig_with_responses
    ids = fire_groups(rig)
    rig.passes("20s")
    people = SlackPeople(rig.client, rig.clock, rig.slack)
    answer = people.clicks("acknowledge_storm", storm(rig)["id"])
    assert answer.status_code == 200
    rig.passes("20s")
    assert [rig.shows(one)["state"] for one in ids].count("acknowledged") == storm(rig)["total"]
    assert "Acknowledged by alice" in summaries(rig)[0].words
    assert "Acknowledge all" not in summaries(rig)[0].words


def test_an_incident_unacknowledged_since_stays_open(rig: Rig) -> None:
    """The acknowledgement is applied to each member once; later changes to one of them are not overwritten."""
    last = fire_groups(rig)[-1]
    rig.passes("20s")
    rig.client.post(f"/api/v1/storms/{storm(rig)['id']}/acknowledge", json={"by": "alice"})
    rig.passes("10s")
    rig.answers(last, "unacknowledge")
    rig.passes("1m")
    assert rig.state(last) == "open"


def test_an_unknown_storm_is_not_found(rig: Rig) -> None:
    assert rig.client.post("/api/v1/storms/storm-nothing/acknowledge", json={}).status_code == 404
    assert rig.client.get("/storms/storm-nothing").status_code == 404


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_with_workers_killed_repeatedly_every_step_is_notified_once(rig: Rig, is_after: bool) -> None:
    """Each worker is killed after some round trips to Redis; `test_storm_crashes.py` tests every single one."""
    deaths = itertools.count()
    worker = CrashingWorker(
        rig, lambda instant: instant.trip % 37 == 0 and instant.is_after is is_after and next(deaths) < 60
    )
    for n in range(MANY):
        rig.posts(rig.alert(f"Alert{n % 3}", host=str(n)), group={"host": str(n)})
    worker.passes(60)
    assert len(worker.deaths) == 60
    assert len(summaries(rig)) == 1
    assert len(pages(rig)) == 1
    singles = rig.paged().count("on-call") - 1
    assert 5 <= singles <= 10
    assert singles + storm(rig, "responder:on-call")["total"] == MANY
    texts = [rig.shows(str(one["id"]))["escalation"]["steps"][0]["state"] for one in _all(rig)]
    assert texts == ["notified"] * MANY


def _all(rig: Rig) -> list[dict[str, Any]]:
    return list(rig.client.get("/api/v1/incidents?limit=200").json["incidents"])


def test_a_message_that_was_perhaps_sent_waits_for_its_token_in_a_storm(rig: Rig) -> None:
    """It is not bundled. Before, it was searched in a hot loop until it got a token."""
    rig.pagerduty.drop_answer()
    fire_groups(rig)
    rig.passes("1m")
    singles = [page for page in rig.pagerduty.opened() if not page.dedup_key.startswith("receiver-storm-")]
    assert (
        len(rig.pagerduty.triggers()) == len(singles) + 2
    )  # the storm's page, and the one that was sent again
    assert len(singles) + storm(rig, "responder:on-call")["total"] == MANY


def test_a_pause_that_delays_a_few_incidents_is_no_storm(rig: Rig) -> None:
    """The messages delayed by a 429 for a minute are not more than the channel accepts."""
    rig.slack.fail_next("chat.postMessage", status=429, error="ratelimited", retry_after=60)
    fire_groups(rig, count=5)
    rig.passes("10s")
    assert rig.client.get("/api/v1/storms").json == {"storms": []}
    rig.passes("2m")
    assert len(rig.parents()) == 5


def test_a_page_that_waits_for_its_storm_is_not_shown_as_delayed(rig: Rig) -> None:
    fire_groups(rig)
    rig.passes("30s")
    assert not [reply for reply in rig.replies() if "can't be reached" in reply]
    assert not [reply for reply in rig.replies() if "PagerDuty" in reply]
