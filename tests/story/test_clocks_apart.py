"""A web process and workers on hosts whose clocks differ: no action is late, and the difference is reported.

Redis and the worker have the same clock here; that of the web process is ahead of it or behind.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from receiver.app.services import Services, build_services
from receiver.app.worker import build_reconcilers
from receiver.engine.reconcilers import Reconcilers
from receiver.model.actions import CreateSilence
from receiver.model.escalation import evaluate_incident
from receiver.model.incident import Person
from receiver.model.plan import plan, resolve_policy
from receiver.model.routing import ALERTMANAGER, PAGERDUTY
from receiver.web.app import create_app
from tests.mocks.alertmanager import MockAlertmanager
from tests.rig import QUEUES, ROUTING, Rig
from tests.sampling import is_exhaustive, sample
from tests.script_clocks import SkewedClock
from tests.story.outage import NOTICES, in_channel

ALL_APART = (-3600.0, -30.0, -3.0, -0.3, 0.3, 3.0, 30.0, 3600.0)


def build_apart(rig: Rig, seconds: float) -> Services:
    """Return the services of a process whose clock is *seconds* ahead of that of the rig and Redis."""

    def clock() -> float:
        return rig.clock() + seconds

    settings, routing = rig.services.settings, rig.services.routing
    return build_services(settings, routing, clock, script_clock=SkewedClock(clock, rig.clock))


@pytest.fixture(params=ALL_APART if is_exhaustive() else sample(ALL_APART, 2, "clocks apart"))
def apart(request: pytest.FixtureRequest) -> float:
    return float(request.param)


@pytest.fixture
def rig(rig: Rig, apart: float) -> Rig:
    rig.client = create_app(build_apart(rig, apart), rate_limits=None).test_client()
    return rig


def test_an_alert_is_posted_and_paged_at_once(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.passes("500ms")
    assert rig.paged() == ["on-call"]
    assert len(rig.parents()) == 1


def test_a_page_waits_for_its_message_half_a_second_at_most(rig: Rig) -> None:
    rig.posts(rig.alert("DiskFull"))
    rig.works((PAGERDUTY,))
    rig.clock.moment += 0.5
    rig.works((PAGERDUTY,))
    assert rig.paged() == ["on-call"]


def test_the_next_step_is_late_by_the_difference_at_most(rig: Rig, apart: float) -> None:
    rig.fires("DiskFull")
    rig.passes("4m59s")
    assert rig.paged() == ["on-call"]
    rig.clock.moment += max(0.0, apart)
    rig.passes("2s")
    assert rig.paged() == ["on-call", "team-lead"]


def test_an_acknowledgement_is_sent_at_once_and_stays(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.passes("1s")
    rig.answers(incident, "acknowledge")
    rig.passes("1s")
    assert rig.events() == ["trigger", "acknowledge"]
    rig.passes("1h")
    assert rig.paged() == ["on-call"]
    rig.answers(incident, "resolve")
    rig.passes("1s")
    assert rig.pagerduty.still_open() == []


def test_after_an_unacknowledge_the_step_is_notified_again_at_once(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.passes("1s")
    rig.answers(incident, "acknowledge")
    rig.passes("1s")
    rig.answers(incident, "unacknowledge")
    rig.passes("1s")
    assert rig.paged() == ["on-call", "on-call"]


def test_an_alert_that_fires_again_is_notified_at_once(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.passes("1s")
    rig.ends("DiskFull")
    rig.passes("5s")
    assert rig.pagerduty.still_open() == []
    rig.clock.moment += 10.0
    answer = rig.posts(rig.alert("DiskFull"))
    assert answer["incidents"] == [incident]
    rig.works()
    rig.passes("1s")
    assert rig.paged() == ["on-call", "on-call"]


def test_a_failed_page_is_retried_without_waiting_for_the_other_clock(rig: Rig) -> None:
    rig.pagerduty.stop()
    rig.fires("DiskFull")
    rig.pagerduty.start()
    rig.passes("3s")
    assert rig.paged() == ["on-call"]


def test_the_receiver_is_ready_and_reports_which_clocks_differ(rig: Rig, apart: float) -> None:
    rig.services.work_queue.record_heartbeat("run.host-b", rig.clock())
    assert rig.client.get("/readyz").json == {"ready": True, "workers": 1}
    status = rig.client.get("/api/v1/status").json
    assert status["workers"] == 1
    found = {row["process"].partition(" ")[0]: row["ahead_s"] for row in status["clocks"]}
    assert found == ({"web": apart, "worker": 0.0} if abs(apart) > 2 else {})
    assert ("Clocks differ." in rig.client.get("/").text) == (abs(apart) > 2)


def test_two_workers_whose_clocks_differ_share_the_work(rig: Rig, apart: float) -> None:
    """Each claims entries when they are due, and neither retries in a hot loop.

    The length of a wait that one worker starts and the other ends may differ by the difference of their
    clocks: if that is more than the five minutes of a step, the next step is early.
    """
    other = build_apart(rig, apart)
    reconcilers = build_reconcilers(other)
    rig.pagerduty.fail_next(500, times=6)
    rig.posts(rig.alert("DiskFull"))
    tries = []
    for n in range(1000):
        services, handler = ((rig.services, rig.reconcilers), (other, reconcilers))[n % 2]
        for queue in QUEUES:
            claims = services.work_queue.claim(queue, f"w{n % 2}", services.clock(), 1)
            for incident in claims.entries:
                before = len(rig.pagerduty.requests)
                dues = handler.reconcile(incident, queue, f"w{n % 2}")
                assert services.work_queue.release(queue, f"w{n % 2}", incident, dues)
                if queue == PAGERDUTY and len(rig.pagerduty.requests) > before:
                    tries.append(rig.clock())
        rig.clock.moment += 0.1
    steps = len(rig.paged())
    assert rig.paged() == ["on-call", "team-lead", "manager"][:steps]
    assert steps == 1 or abs(apart) > 300
    assert len(tries) == 6 + steps
    first = tries[:7]
    assert sum(later - former < 0.3 for former, later in pairwise(first)) <= 1, tries


def work_off(
    services: Services, reconcilers: Reconcilers, name: str, queues: tuple[str, ...] = QUEUES
) -> None:
    """Let a worker process all that is due in *queues*."""
    for _ in range(100):
        claimed = 0
        for queue in queues:
            for entry in services.work_queue.claim(queue, name, services.clock(), 1).entries:
                claimed += 1
                services.work_queue.release(queue, name, entry, reconcilers.reconcile(entry, queue, name))
        if not claimed:
            return
    raise AssertionError("the work queue never becomes idle")


def test_a_silence_that_one_worker_created_is_checked_at_once_by_the_other(rig: Rig, apart: float) -> None:
    with MockAlertmanager(clock=rig.clock) as alertmanager:
        rig.configure(ROUTING + f'alertmanager: {{url: "{alertmanager.url}"}}\n')
        alertmanager.fires(alertname="DiskFull", severity="critical")
        incident = rig.fires("DiskFull")
        other = build_apart(rig, apart)
        other.incident_service.silence(incident, Person("alice"), 3600.0, "known", other.clock())
        reconcilers = build_reconcilers(other)
        (entry,) = other.work_queue.claim(ALERTMANAGER, "other", other.clock(), 1).entries
        loaded = other.incidents.load_incident(entry)
        policy = resolve_policy(other.routing, loaded)
        deliveries = reconcilers.incidents.deliveries
        before = plan(loaded, policy, other.clock())
        for action in before.actions:
            if isinstance(action, CreateSilence):
                view = evaluate_incident(loaded, policy, other.clock())
                outcome = deliveries.dispatch(action, view, "other")
                other.incidents.save_outcome(deliveries.build_outcome_call(outcome, before, 0))
        other.work_queue.release(ALERTMANAGER, "other", entry, {ALERTMANAGER: other.clock()})
        before = len(alertmanager.requests)
        work_off(rig.services, rig.reconcilers, "rig")
        assert len(alertmanager.requests) - before < 10
        if abs(apart) < 3600:  # else it would begin or end at an unintended time
            assert rig.shows(incident)["suppressed"] is not None


def test_a_notice_of_the_web_process_is_posted_without_delay(rig: Rig, apart: float) -> None:
    rig.configure(NOTICES + ROUTING)
    other = build_apart(rig, apart)
    other.notices.save_notice("lost", "A webhook was refused", other.clock())
    rig.passes("10s")
    assert [message.text for message in in_channel(rig, "#monitoring")]


def test_a_missing_heartbeat_is_noticed_whichever_worker_checks(rig: Rig, apart: float) -> None:
    rig.configure(
        ROUTING
        + """
heartbeats:
  - {match: ['alertname="Watchdog"'], every: 5m, grace: 2m, notify: team-lead}
"""
    )
    other = build_apart(rig, apart)
    workers = ((rig.services, rig.reconcilers), (other, build_reconcilers(other)))
    rig.reconcilers.periodic_tasks.enqueue_all(rig.services.work_queue)
    rig.posts(rig.alert("Watchdog", "none"))
    for n in range(120):  # every 15 s for half an hour
        work_off(*workers[n % 2], f"w{n % 2}")
        rig.clock.moment += 15.0
        if n == 10:
            assert rig.paged() == []
    rig.clock.moment += abs(apart)
    for n in range(60):
        work_off(*workers[n % 2], f"w{n % 2}")
        rig.clock.moment += 15.0
    assert "team-lead" in rig.paged()
