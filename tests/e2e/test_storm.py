"""A thousand new groups in ten seconds, behind a real pair of Alertmanagers: the resulting messages and
pages.

The storm runs once, from the first alert to the last message; each test checks one aspect of it.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.deployment import ALERTMANAGER, Alertmanagers, Deployment
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.pagerduty_account import PagedIncident
from tests.mocks.pagerduty_webhooks import post_to
from tests.mocks.slack import MockSlack
from tests.mocks.slack_workspace import SlackMessage
from tests.rig import NAMES, ROUTING

pytestmark = [
    pytest.mark.alone,
    pytest.mark.needs_alertmanager,
    pytest.mark.skipif(ALERTMANAGER is None, reason="no prometheus-alertmanager on the path"),
    pytest.mark.timeout(300),
]

MANY = 1000
WITHIN_S = 10.0
AT_ONCE = 10
ALERTS = ("DiskFull", "HighCPUUsage", "InstanceDown", "PodCrashLooping", "SlowQueries")
# The second step is due during the storm, the third after its end. The rate limits are those of the vendors.
STORMY_ROUTING = ROUTING.replace("{notify: team-lead, after: 5m}", "{notify: team-lead, after: 20s}")
STORMY_ROUTING += "limits: {}\n"
# Each alert is its own group and is sent soon; there are no repeated notifications.
EACH_ITS_OWN = "group_by: [alertname, instance]"
PACE = "group_wait: 100ms, group_interval: 3s, repeat_interval: 1h"

Row = dict[str, Any]


@dataclass
class Night:
    """What was recorded: incidents, messages and pages, each at the time given beside it."""

    slack: MockSlack
    pagerduty: MockPagerDuty
    began_at: float = 0.0  # when the first alert was sent to Alertmanager
    lasted_s: float = 0.0
    warned_at: float = 0.0  # when an alert for another channel was sent to Alertmanager
    outbreak: list[SlackMessage] = field(
        default_factory=list
    )  # when on-call had been notified of all incidents
    steps: list[PagedIncident] = field(default_factory=list)  # when the team lead had been, too
    paged: list[PagedIncident] = field(default_factory=list)  # before the first alert was resolved
    before_answer: list[Row] = field(default_factory=list)
    after_answer: list[Row] = field(default_factory=list)
    summary_after_answer: str = ""
    end: list[Row] = field(default_factory=list)

    def pages(self, responder: str) -> list[PagedIncident]:
        """Return the pages from before the resolves.

        While the alerts resolve, one Alertmanager of the pair may send a late firing copy after the other
        sent the resolve: the receiver pages for that (docs/adr/0003).
        """
        opened = self.paged or self.pagerduty.opened()
        return [page for page in opened if NAMES[page.routing_key] == responder]

    def singles(self, responder: str) -> list[PagedIncident]:
        """Return the pages for one incident each."""
        return [page for page in self.pages(responder) if not is_of_storm(page)]

    def storm_page(self, responder: str) -> PagedIncident:
        (page,) = [page for page in self.pages(responder) if is_of_storm(page)]
        return page

    def counted(self, rows: list[Row]) -> list[Row]:
        """Return the incidents without a page of their own for on-call: the page of the storm counts them."""
        return without(rows, self.singles("on-call"))

    @property
    def summary(self) -> SlackMessage:
        (found,) = [
            parent for parent in self.slack.parents if "incidents in #alerts-critical:" in parent.text
        ]
        return found


def is_of_storm(page: PagedIncident) -> bool:
    return page.dedup_key.startswith("receiver-storm-")


def without(rows: list[Row], pages: list[PagedIncident]) -> list[Row]:
    """Return the incidents without a page of their own among *pages*."""
    single = {page.summary.rpartition(": ")[2] for page in pages}
    return [row for row in rows if row["summary"] not in single]


def an_alert(number: int, name: str, severity: str) -> dict[str, Any]:
    now = dt.datetime.now(dt.UTC)
    return {
        "labels": {"alertname": name, "severity": severity, "instance": f"host-{number}"},
        "annotations": {"summary": f"host-{number} has it"},
        "startsAt": now.isoformat(),
        "endsAt": (now + dt.timedelta(minutes=10)).isoformat(),
        "generatorURL": "http://prometheus:9090/graph",
    }


class Play:
    """Runs the storm only by actions of people and of Alertmanager."""

    def __init__(self, deployment: Deployment, pair: Alertmanagers) -> None:
        self.night = Night(deployment.slack, deployment.pagerduty)
        self._deployment = deployment
        self._pair = pair
        self._alerts: list[dict[str, Any]] = []

    def run(self) -> Night:
        night, pagerduty = self.night, self._deployment.pagerduty
        self._break_out()
        # An incident whose next step is the team lead was notified to on-call; one whose next step is the
        # manager also to the team lead.
        self._see(MANY + 1, next_step="team-lead")
        night.outbreak = self._deployment.slack.messages
        night.before_answer = self._see(MANY, next_step="manager")
        self._deployment.wait_for(lambda: any(is_of_storm(page) for page in night.pages("team-lead")))
        night.steps = pagerduty.opened()
        self._acknowledge_in_pagerduty(night.storm_page("on-call"))
        counted = len(night.counted(night.before_answer))
        night.after_answer = self._see(counted, acknowledged_by="Alice Doe")
        self._deployment.wait_for(lambda: "acknowledged" in night.summary.text)
        night.summary_after_answer = night.summary.text
        night.paged = pagerduty.opened()
        self._end()
        night.end = self._see(MANY + 1, state="resolved")
        self._deployment.wait_for(lambda: not pagerduty.still_open(), within_s=30)
        only_resolved = re.compile(r": \d+ resolved · storm over$")
        self._deployment.wait_for(lambda: only_resolved.search(night.summary.text), within_s=60)
        return night

    def _break_out(self) -> None:
        """Fire a thousand alerts, evenly over the time, and in the middle of them one of another route."""
        started = time.monotonic()
        self.night.began_at = time.time()
        for first in range(0, MANY, AT_ONCE):
            numbers = range(first, first + AT_ONCE)
            self._fire([an_alert(n, ALERTS[n % len(ALERTS)], "critical") for n in numbers])
            if first == MANY // 2:
                self.night.warned_at = time.time()
                self._fire([an_alert(MANY, "SlowTests", "warning")])
            time.sleep(max(0.0, started + (first + AT_ONCE) / MANY * WITHIN_S - time.monotonic()))
        self.night.lasted_s = time.monotonic() - started

    def _fire(self, alerts: list[dict[str, Any]]) -> None:
        self._pair.send(*alerts)
        self._alerts += alerts

    def _end(self) -> None:
        now = dt.datetime.now(dt.UTC).isoformat()
        for first in range(0, len(self._alerts), 100):
            self._pair.send(*({**alert, "endsAt": now} for alert in self._alerts[first : first + 100]))

    def _acknowledge_in_pagerduty(self, page: PagedIncident) -> None:
        """Acknowledge the page in PagerDuty, which sends its signed webhook."""
        pagerduty = self._deployment.pagerduty
        pagerduty.acknowledges(page, "Alice Doe")
        address = f"http://127.0.0.1:{self._deployment.port}/webhooks/pagerduty"
        assert set(pagerduty.webhooks.deliver(post_to(address))) == {202}

    def _rows(self) -> list[Row]:
        found: list[Row] = []
        cursor = ""
        while True:
            page = self._deployment.ask("GET", f"/api/v1/incidents?limit=200{cursor}")[1]
            found += page["incidents"]
            if not page["next_cursor"]:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    def _see(self, count: int, within_s: float = 40.0, **wanted: str) -> list[Row]:
        """Wait until *count* incidents match *wanted*; return all of these."""
        deadline = time.monotonic() + within_s
        while True:
            rows = self._rows()
            if sum(wanted.items() <= row.items() for row in rows) >= count:
                return rows
            found = Counter((row["state"], row["acknowledged_by"], row["next_step"]) for row in rows)
            assert time.monotonic() < deadline, f"{count} {wanted}? {found}\n{self._deployment.describe()}"
            time.sleep(0.3)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    folder = tmp_path_factory.mktemp("storm")
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        slack.enforce_limits()
        pagerduty.enforce_limits()
        deployment = Deployment(folder, slack, pagerduty, STORMY_ROUTING, workers=2)
        try:
            pair = Alertmanagers(folder, f"http://127.0.0.1:{deployment.port}", route=EACH_ITS_OWN, pace=PACE)
            try:
                yield Play(deployment, pair).run()
            finally:
                pair.stop()
        finally:
            deployment.kill_everything()


def test_the_first_page_is_sent_within_two_seconds(night: Night) -> None:
    """Measured from before the alert was sent to Alertmanager."""
    first = night.pages("on-call")[0].opened_at - night.began_at
    print(f"{MANY} groups in {night.lasted_s:.1f} s, the first page after {first:.2f} s")
    assert night.lasted_s < WITHIN_S + 2.0
    assert first < 2.0


def test_the_first_incidents_are_paged_one_by_one_and_one_page_counts_the_rest(night: Night) -> None:
    singles, page = night.singles("on-call"), night.storm_page("on-call")
    after = page.opened_at - night.began_at
    print(f"on-call: {len(singles)} pages of one incident each, and {page.summary!r} after {after:.1f} s")
    assert 10 <= len(singles) <= 20
    assert all(single.opened_at < page.opened_at for single in singles)
    assert after < WITHIN_S
    payload = page.history[0].body["payload"]
    assert page.summary.startswith(f"{payload['custom_details']['incidents']} incidents in #alerts-critical")
    assert payload["severity"] == "critical"


def test_one_message_summarizes_all_incidents_and_is_updated(night: Night) -> None:
    parents = [one for one in night.outbreak if one.channel == "#alerts-critical" and not one.is_reply]
    print(
        f"in Slack when On-call had been told of all: {len(parents)} messages, {len(night.outbreak)} with replies"
    )
    assert [one.reference for one in parents].count(night.summary.reference) == 1
    assert len(parents) <= 10
    assert len(night.outbreak) <= 30
    assert 3 <= night.summary.edits <= 20
    spoken_for = MANY - len(parents) + 1
    assert f"{spoken_for} incidents in #alerts-critical:" in night.summary_after_answer
    assert f": {spoken_for} resolved · storm over" in night.summary.text


def test_another_channel_gets_its_message_at_once(night: Night) -> None:
    (message,) = [one for one in night.slack.parents if one.channel == "#alerts-warning"]
    after = float(message.ts) - night.warned_at
    print(f"the other channel's message after {after:.2f} s")
    assert "SlowTests" in message.text
    assert after < 2.0


def test_the_next_step_is_bundled_too(night: Night) -> None:
    team_lead = [NAMES[page.routing_key] for page in night.steps].count("team-lead")
    print(f"team-lead: {team_lead} pages, one of them {night.storm_page('team-lead').summary!r}")
    assert team_lead <= len(night.singles("on-call")) + 1
    assert [page for page in night.pagerduty.opened() if NAMES[page.routing_key] == "manager"] == []
    waiting = Counter(row["next_step"] for row in night.before_answer)
    assert waiting == {
        "manager": MANY,
        "team-lead": 1,
    }  # the second step of the warning is due in half an hour


def test_acknowledging_the_storms_page_acknowledges_the_incidents_it_counts_and_no_other(
    night: Night,
) -> None:
    counted = {row["id"] for row in night.counted(night.after_answer)}
    stand = Counter(
        (row["id"] in counted, row["state"], row["acknowledged_by"], row["next_step"])
        for row in night.after_answer
    )
    singles = len(night.singles("on-call"))
    assert stand == {
        (True, "acknowledged", "Alice Doe", None): MANY + 1 - singles,
        (False, "open", None, "manager"): singles,
    }


def test_the_storms_page_is_resolved_with_its_last_incident_and_all_else_is_resolved(night: Night) -> None:
    page = night.storm_page("on-call")
    assert [event.action for event in page.history] == [
        "trigger",
        "resolve",
    ]  # no echo of the acknowledgement
    only_counted = without(night.end, night.pagerduty.opened())
    last = max(dt.datetime.fromisoformat(row["updated_at"]) for row in only_counted)
    assert page.history[-1].at >= last.timestamp()
    assert Counter(row["state"] for row in night.end) == {"resolved": MANY + 1}
    assert {one.state for one in night.pagerduty.opened()} == {"resolved"}


def test_no_message_is_posted_twice(night: Night) -> None:
    pages = Counter((one.routing_key, one.dedup_key) for one in night.pagerduty.opened())
    assert set(pages.values()) == {1}
    counts = Counter(json.dumps(message.metadata, sort_keys=True) for message in night.slack.messages)
    assert set(counts.values()) == {1}


def test_the_vendors_rate_limits_are_respected(night: Night) -> None:
    slack, pagerduty = night.slack, night.pagerduty
    print(f"429: {len(slack.limited)} of {len(slack.calls)} calls of Slack,")
    print(f"{len(pagerduty.limited)} of {len(pagerduty.requests)} of PagerDuty")
    assert len(slack.limited) <= len(slack.calls) / 20
    assert len(pagerduty.limited) <= len(pagerduty.requests) / 20
