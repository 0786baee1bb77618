"""Faults that similar programs had: each test checks that the receiver does not have one of them."""

from __future__ import annotations

import threading

import pytest

from receiver.app.worker import build_reconcilers
from receiver.model.routing import PAGERDUTY, SLACK
from tests.rig import ROUTING, Rig


def test_the_same_new_alert_from_both_of_a_pair_at_the_same_instant_is_one_incident(rig: Rig) -> None:
    """Seen elsewhere: two incidents, two messages, two pages."""
    body = rig.payload(rig.alert("DiskFull"))
    start = threading.Barrier(8)
    answers: list[int] = []

    def post() -> None:
        client = rig.client.application.test_client()
        start.wait(10)
        answers.append(client.post("/webhooks/alertmanager", json=body).status_code)

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    rig.works()
    assert answers == [200] * 8
    assert len(rig.parents()) == 1
    assert rig.triggered() == ["on-call"]


def test_no_page_waits_for_a_message_to_slack(rig: Rig) -> None:
    """Seen elsewhere: the page is behind the message in one queue, and Slack never responds."""
    for n in range(10):
        rig.posts(rig.alert(f"Alert{n}"))
    rig.clock.moment += 1
    rig.works((PAGERDUTY,))  # no worker processes the Slack queue
    assert rig.paged() == ["on-call"] * 10
    rig.clock.moment += 300
    rig.works((PAGERDUTY,))
    assert rig.paged() == ["on-call"] * 10 + ["team-lead"] * 10
    assert rig.parents() == []


def test_an_incident_leased_for_slack_can_be_paged(rig: Rig) -> None:
    """Seen elsewhere: the worker that talks to Slack holds the only lease of the incident."""
    rig.posts(rig.alert("DiskFull"))
    rig.clock.moment += 1
    assert rig.services.work_queue.claim(SLACK, "stuck in Slack", rig.clock(), 1).entries
    rig.works((PAGERDUTY,))
    assert rig.paged() == ["on-call"]


def test_a_due_step_is_notified_before_alerts_that_arrived_later(rig: Rig) -> None:
    """Seen elsewhere: a storm of new alerts is processed first, and the team lead is notified an hour later."""
    waiting = rig.fires("DiskFull")
    rig.clock.moment += 301
    for n in range(20):
        rig.posts(rig.alert(f"Alert{n}"))
    taken = rig.services.work_queue.claim(PAGERDUTY, "rig", rig.clock(), 1).entries
    assert taken == (waiting,)


def test_an_alert_that_fired_and_resolved_behind_a_backlog_is_resolved_everywhere(rig: Rig) -> None:
    """Seen elsewhere: the resolve is dropped as nothing was sent yet, then the trigger is sent."""
    for n in range(20):
        rig.posts(rig.alert(f"Alert{n}"))
    rig.posts(rig.alert("DiskFull"))
    rig.clock.moment += 0.5
    rig.posts(rig.alert("DiskFull", ended=True, at=rig.clock() - 0.5))
    rig.passes("10m")
    assert (
        len([parent for parent in rig.parents() if "DiskFull" in parent.words and "esolved" in parent.text])
        == 1
    )
    assert len(rig.pagerduty.still_open()) == 3 * 20
    assert not any("DiskFull" in incident.summary for incident in rig.pagerduty.still_open())


def test_duplicates_while_a_step_is_pending_add_no_timers(rig: Rig) -> None:
    """Seen elsewhere: each duplicate starts its own timer."""
    alert = rig.alert("DiskFull")
    rig.posts(alert)
    rig.works()
    for _ in range(29):
        rig.passes("10s")
        rig.posts(alert)
        rig.works()
    rig.passes("10s")
    assert rig.triggered() == ["on-call", "team-lead"]
    rig.passes("30m")
    assert rig.triggered() == ["on-call", "team-lead", "manager"]
    assert len([reply for reply in rig.replies() if "Manager" in reply]) == 1


def test_a_restart_does_not_restart_the_wait_of_a_step(rig: Rig) -> None:
    """Seen elsewhere: timers are in memory, and each deployment delays every step by five minutes."""
    rig.fires("DiskFull")
    for _ in range(10):
        rig.passes("29s")
        rig.reconcilers = build_reconcilers(rig.services)
    assert rig.triggered() == ["on-call"]
    rig.passes("10s")
    assert rig.triggered() == ["on-call", "team-lead"]


def test_a_step_that_could_not_be_delivered_is_not_skipped(rig: Rig) -> None:
    """Seen elsewhere: marked as done before it was sent, and skipped when that failed."""
    rig.pagerduty.fail_next(503, times=3)
    rig.fires("DiskFull")
    assert rig.triggered() == []
    rig.passes("10s")
    assert rig.triggered() == ["on-call"]


def test_a_page_whose_response_was_lost_pages_once(rig: Rig) -> None:
    rig.pagerduty.drop_answer()
    rig.fires("DiskFull")
    rig.passes("10s")
    assert rig.paged() == ["on-call"]


def test_a_reply_whose_response_was_lost_is_posted_once(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.passes("4m59s")
    before = len(rig.replies())
    rig.slack.drop_answer("chat.postMessage")
    rig.passes("10s")
    assert len(rig.replies()) == before + 1


def test_a_200_without_ok_is_retried_until_it_succeeds(rig: Rig) -> None:
    """Seen elsewhere: only the HTTP status was checked."""
    rig.slack.fail_next("chat.postMessage", error="internal_error", times=3)
    rig.fires("DiskFull")
    assert rig.parents() == []
    rig.passes("10s")
    assert len(rig.parents()) == 1


def test_after_a_kill_between_save_and_response_the_alert_is_sent_once(rig: Rig) -> None:
    """Seen elsewhere: saved but not enqueued, and the repeated webhook is a duplicate that starts nothing."""
    alert = rig.alert("DiskFull")
    rig.posts(alert)  # and the process is killed before the response and before a worker runs
    rig.clock.moment += 2
    assert rig.posts(alert)["duplicates"] == 1
    rig.works()
    assert len(rig.parents()) == 1
    assert rig.triggered() == ["on-call"]


def test_after_a_reload_a_part_of_the_group_does_not_resolve_the_rest(rig: Rig) -> None:
    first, second = rig.alert("DiskFull", instance="db-1"), rig.alert("DiskFull", instance="db-2")
    rig.posts(first, second)
    rig.passes("10s")
    before = rig.visible_output()
    rig.posts(second)
    rig.posts(first)
    rig.passes("30s")
    assert rig.visible_output() == before
    rig.posts(rig.alert("DiskFull", instance="db-1", ended=True, at=rig.clock() - 30))
    rig.passes("30s")
    assert "resolve" not in rig.events()


@pytest.mark.parametrize("times", [1, 3])
def test_a_repeated_resolve_after_the_next_firing_resolves_nothing(rig: Rig, times: int) -> None:
    """A copy of the former resolve, from the other Alertmanager, must not resolve the new firing."""
    start = rig.clock()
    rig.fires("DiskFull")
    rig.passes("1m")
    old_end = rig.alert("DiskFull", ended=True, at=start)
    rig.posts(old_end)
    rig.works()
    rig.passes("1m")
    incident = rig.fires("DiskFull")
    for _ in range(times):
        rig.posts(old_end)
        rig.works()
    assert rig.state(incident) == "open"
    assert len(rig.pagerduty.still_open()) == 1


def test_both_alertmanagers_send_the_alert_after_a_503(rig: Rig) -> None:
    """After a 5xx neither knows that the other succeeded, so both send."""
    body = rig.payload(rig.alert("DiskFull"))
    home = rig.environ["REDIS_URL"]
    rig.environ["REDIS_URL"] = "unix:///nowhere/valkey.sock"
    rig.configure(ROUTING)
    for _ in (1, 2):
        assert rig.client.post("/webhooks/alertmanager", json=body).status_code == 503
    rig.environ["REDIS_URL"] = home
    rig.configure(ROUTING)
    for replica in (1, 2):
        sent = {**body, "externalURL": f"http://alertmanager-{replica}:9093"}
        assert rig.client.post("/webhooks/alertmanager", json=sent).status_code == 200
    rig.passes("10s")
    assert len(rig.parents()) == 1
    assert rig.triggered() == ["on-call"]
