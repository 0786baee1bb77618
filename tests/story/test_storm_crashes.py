"""A worker may be killed at any instant of a storm: every step is notified, and nothing is sent twice.

A small storm runs once to record the instants at which a kill has another effect, and then once for each of
some of them, a few of each act, chosen by the commit; `make test-exhaustive` runs all of them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from receiver.storage.connection import Client
from tests.crashing_worker import CrashingWorker, KillPoint, RecordedRun
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.pagerduty_account import PagedIncident
from tests.mocks.slack import MockSlack
from tests.rig import NAMES, ROUTING, Clock, Rig
from tests.sampling import SEED_VARIABLE, Budget, find_seed, is_exhaustive, sample, shuffle
from tests.simulation.connections import load_scripts
from tests.story.outage import with_fallback
from tests.valkey import find_keys_without_expiry

pytestmark = pytest.mark.timeout(3600)

SAMPLED = 3  # instants of each act
COUNT = 4
# Two incidents have their own message before the storm starts, two their own page; the second step is due
# during the storm. PagerDuty's REST API is available, since its webhooks do not name the page.
SMALL = """
pagerduty: {api_token: "${PAGERDUTY_API_TOKEN}"}
limits: {slack_posts: 1/s, pagerduty: 20/m}
"""
ROUTING_OF_STEPS = ROUTING.replace(
    "after: 5m}, {notify: manager, after: 5m}", "after: 5s}, {notify: manager, after: 10m}"
)
STORMS_AFTER_S = 1.5
CHANNEL, ON_CALL, TEAM_LEAD = "channel:#alerts-critical", "responder:on-call", "responder:team-lead"


class StormRun:
    """A storm from its first alert to its end, with assertions after each act."""

    def __init__(self, rig: Rig, should_die: Callable[[KillPoint], bool]) -> None:
        self.rig = rig
        self.worker = CrashingWorker(rig, should_die)
        self.incidents: list[str] = []

    def run(self, last: Callable[[StormRun], None]) -> None:
        """Run up to the act *last*, and then the end."""
        for act in dict.fromkeys([*ACTS[: ACTS.index(last) + 1], StormRun.ends]):
            act(self)
            self._assert_nothing_sent_twice()

    def breaks_out(self) -> None:
        self.incidents = [self._posts(n)["incidents"][0] for n in range(COUNT)]
        self._waits_until(lambda: self._has_notified("on-call"))
        own = [parent for parent in self.rig.parents() if "in #alerts-critical:" not in parent.text]
        assert len(own) + self._storm(CHANNEL)["total"] == COUNT
        assert len(self._pages("on-call")) + self._storm(ON_CALL)["total"] == COUNT
        assert self._storm_page("on-call").state == "triggered"

    def escalates(self) -> None:
        # A mention notifies the step, too; its page may be sent later.
        self._waits_until(lambda: self._has_notified("team-lead") and self._pages("team-lead", of_storm=True))
        assert len(self._pages("team-lead")) + self._storm(TEAM_LEAD)["total"] == COUNT
        assert self._storm_page("team-lead").state == "triggered"

    def is_acknowledged(self) -> None:
        """Acknowledge the page of the storm in PagerDuty and deliver its webhook."""
        counted = self._storm(ON_CALL)["total"]
        self.rig.pagerduty.acknowledges(self._storm_page("on-call"), "Alice Doe")
        self.rig.pagerduty.webhooks.deliver(self._post_to_receiver)
        self._waits_until(lambda: self._storm(ON_CALL)["open"] == 0)
        who = [self.rig.shows(one)["acknowledged_by"] for one in self.incidents]
        assert who.count("Alice Doe") == counted
        if self._storm(TEAM_LEAD)["open"] == 0:  # otherwise it also counts an incident with its own page
            self._waits_until(lambda: self._storm_page("team-lead").state == "acknowledged")

    def ends(self) -> None:
        for n in range(COUNT):
            self._posts(n, ended=True)
        self._waits_until(lambda: self.rig.client.get("/api/v1/storms").json == {"storms": []}, within_s=60)
        self._waits_until(lambda: self.rig.pagerduty.still_open() == [])
        self._waits_until(lambda: all(parent.text.startswith("✅") for parent in self.rig.parents()))
        assert {self.rig.state(one) for one in self.incidents} == {"resolved"}
        assert sum("resolved · storm over" in parent.text for parent in self.rig.parents()) == 1

    def _waits_until(self, is_so: Callable[[], object], within_s: float = 25.0) -> None:
        end = self.rig.clock() + within_s
        while not is_so():
            assert self.rig.clock() < end, f"not so within {within_s} s"
            self.worker.passes(1)

    def _posts(self, number: int, *, ended: bool = False) -> dict[str, Any]:
        alert = self.rig.alert(
            f"Alert{number % 2}", ended=ended, at=self.rig.clock() - ended, host=str(number)
        )
        return self.rig.posts(alert, group={"host": str(number)})

    def _post_to_receiver(self, body: bytes, headers: dict[str, str]) -> int:
        return self.rig.client.post("/webhooks/pagerduty", data=body, headers=headers).status_code

    def _has_notified(self, step: str) -> bool:
        """Return whether the step was notified of each incident: by its own page or by that of the storm."""
        details = [self.rig.shows(one)["escalation"]["steps"] for one in self.incidents]
        return all({one["step"]: one["state"] for one in steps}[step] == "notified" for steps in details)

    def _assert_nothing_sent_twice(self) -> None:
        opened = Counter((one.routing_key, one.dedup_key) for one in self.rig.pagerduty.opened())
        assert set(opened.values()) == {1}
        counts = Counter(json.dumps(one.metadata, sort_keys=True) for one in self.rig.slack.messages)
        assert set(counts.values()) == {1}

    def _storm(self, target_key: str) -> dict[str, Any]:
        (found,) = [
            one
            for one in self.rig.client.get("/api/v1/storms").json["storms"]
            if one["target_key"] == target_key
        ]
        return dict(found)

    def _pages(self, responder: str, *, of_storm: bool = False) -> list[PagedIncident]:
        return [
            page
            for page in self.rig.pagerduty.opened()
            if NAMES[page.routing_key] == responder
            and page.dedup_key.startswith("receiver-storm-") == of_storm
        ]

    def _storm_page(self, responder: str) -> PagedIncident:
        (page,) = self._pages(responder, of_storm=True)
        return page


class RefusedStormRun(StormRun):
    """The same, but PagerDuty refuses on-call's routing key: the manager is the fallback responder."""

    def begins(self) -> None:
        """Up to the first incidents that join the storm of on-call."""
        self.rig.refuses("on-call")
        self.incidents = [self._posts(n)["incidents"][0] for n in range(COUNT)]
        self._waits_until(lambda: self._has_storm("responder:on-call"))

    def _has_storm(self, target_key: str) -> bool:
        return any(
            one["target_key"] == target_key for one in self.rig.client.get("/api/v1/storms").json["storms"]
        )

    def is_refused(self) -> None:
        self._waits_until(lambda: all(self._is_refused(one) for one in self.incidents))
        self._waits_until(lambda: self._has_notified("on-call"))
        self._waits_until(lambda: len(self._pages("manager")) + self._counted() == COUNT)
        # A page of the manager notifies the step, too; the reply in the thread may be posted later, and one
        # covers all.
        self._waits_until(lambda: all(self._is_notified(one) for one in self.incidents))
        texts = [reply for reply in self.rig.replies() if "not paged" in reply]
        assert len(texts) == 1

    def _is_notified(self, incident: str) -> bool:
        rows = {row["id"]: row["state"] for row in self.rig.shows(incident)["deliveries"]}
        return rows.get("page_delayed:on-call") == "delivered"

    def _counted(self) -> int:
        """Return the number of incidents that the storm of the manager counts, 0 before it has paged."""
        if not self._pages("manager", of_storm=True):
            return 0
        return int(self._storm("responder:manager")["total"])

    def _is_refused(self, incident: str) -> bool:
        rows = {row["id"]: row for row in self.rig.shows(incident)["deliveries"]}
        page = rows.get("page:on-call", {"state": ""})
        return bool(page["state"] == "failed" and page["target"] == "pagerduty:on-call")


ACTS = (StormRun.breaks_out, StormRun.escalates, StormRun.is_acknowledged, StormRun.ends)


@pytest.fixture
def stage(tmp_path: Path, valkey_url: str, redis_client: Client) -> Callable[..., Any]:
    """Return a function that sets up everything again for one run."""
    load_scripts(redis_client)  # otherwise the first run would have additional round trips

    @contextmanager
    def open_(routing: str = ROUTING_OF_STEPS) -> Iterator[Rig]:
        redis_client.flushall()
        clock = Clock()
        with MockSlack(clock=clock) as slack, MockPagerDuty(clock=clock) as pagerduty:
            rig = Rig(
                tmp_path,
                valkey_url,
                slack,
                pagerduty,
                clock,
                PAGERDUTY_API_TOKEN="rest-token",
                PAGERDUTY_API_URL=pagerduty.url,
                PAGERDUTY_WEBHOOK_SECRET="pagerduty-secret",
            )
            rig.storms_after_s = STORMS_AFTER_S
            rig.configure(routing + SMALL)
            yield rig
        assert find_keys_without_expiry(redis_client) == []

    return open_


@pytest.fixture
def choose_instants(budget: Budget) -> Callable[[str, list[KillPoint]], Iterator[KillPoint]]:
    """Return a function that chooses the instants of an act: a sample, or as many as time allows."""

    def choose(act: str, instants: list[KillPoint]) -> Iterator[KillPoint]:
        assert len(instants) > 10
        chosen = shuffle(instants, act) if is_exhaustive() else sample(instants, SAMPLED, act)
        return budget.limit(chosen)

    return choose


@contextmanager
def report_instant(instant: KillPoint) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        error.add_note(f"killed {instant}; again with {SEED_VARIABLE}={find_seed()}")
        raise


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_a_kill_at_any_instant_of_a_storm_loses_nothing(
    stage: Callable[[], Any], choose_instants: Callable[..., Any], act: Callable[[StormRun], None]
) -> None:
    with stage() as rig:
        recorded_run = RecordedRun(rig)
        storm_run = StormRun(rig, recorded_run)
        for one in ACTS[: ACTS.index(act)]:
            one(storm_run)
        before = len(recorded_run.instants)
        act(storm_run)
        instants = recorded_run.instants[before:]
    for instant in choose_instants(act.__name__, instants):
        with stage() as rig, report_instant(instant):
            storm_run = StormRun(rig, instant.__eq__)
            storm_run.run(act)
            assert storm_run.worker.deaths == [instant]


def test_a_kill_at_any_instant_of_a_refused_storm_loses_nothing(
    stage: Callable[..., Any], choose_instants: Callable[..., Any]
) -> None:
    with stage(with_fallback("manager")) as rig:
        recorded_run = RecordedRun(rig)
        storm_run = RefusedStormRun(rig, recorded_run)
        storm_run.begins()
        before = len(recorded_run.instants)
        storm_run.is_refused()
        instants = recorded_run.instants[before:]
    for instant in choose_instants("is_refused", instants):
        with stage(with_fallback("manager")) as rig, report_instant(instant):
            storm_run = RefusedStormRun(rig, instant.__eq__)
            storm_run.begins()
            storm_run.is_refused()
            storm_run._assert_nothing_sent_twice()
            assert storm_run.worker.deaths == [instant]
