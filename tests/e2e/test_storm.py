"""A thousand new groups in ten seconds, behind a real pair of Alertmanagers: what people see of such a night.

The night is played once, from the first alert to the last message; each test looks at one thing in it.
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

from tests.e2e.outside import ALERTMANAGER, Alertmanagers, Outside
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
# The second step is due while the storm is on, the third after all is over. The limits are the vendors' own.
STORMY_ROUTING = ROUTING.replace("{notify: team-lead, after: 5m}", "{notify: team-lead, after: 20s}")
STORMY_ROUTING += "limits: {}\n"
# Each alert is a group of its own and told soon; no repeats, for they are no news.
EACH_ITS_OWN = "group_by: [alertname, instance]"
PACE = "group_wait: 100ms, group_interval: 3s, repeat_interval: 1h"

Row = dict[str, Any]


@dataclass
class Night:
    """What was seen. Incidents, messages and pages are those of the moment that is named."""

    slack: MockSlack
    pagerduty: MockPagerDuty
    began_at: float = 0.0  # the first alert was put into Alertmanager then
    lasted_s: float = 0.0
    warned_at: float = 0.0  # an alert for another channel was put in then
    outbreak: list[SlackMessage] = field(default_factory=list)  # when on-call had been told of everything
    steps: list[PagedIncident] = field(default_factory=list)  # when Team Lead had, too
    paged: list[PagedIncident] = field(default_factory=list)  # before the first alert ended
    before_answer: list[Row] = field(default_factory=list)
    after_answer: list[Row] = field(default_factory=list)
    summary_after_answer: str = ""
    end: list[Row] = field(default_factory=list)

    def pages(self, responder: str) -> list[PagedIncident]:
        """Return the pages from before the end. While all ends, one Alertmanager of the pair may send a late
        copy that fires after the other sent the resolve: the receiver pages that (docs/adr/0003).
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
        """Return the incidents that on-call was not paged for one by one: the storm's page counts them."""
        return without(rows, self.singles("on-call"))

    @property
    def summary(self) -> SlackMessage:
        (found,) = [root for root in self.slack.roots if "incidents in #alerts-critical:" in root.text]
        return found


def is_of_storm(page: PagedIncident) -> bool:
    return page.dedup_key.startswith("receiver-storm-")


def without(rows: list[Row], pages: list[PagedIncident]) -> list[Row]:
    """Return the incidents that none of *pages* is about alone."""
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
    """Plays the night by what people and Alertmanager do, and nothing else."""

    def __init__(self, outside: Outside, pair: Alertmanagers) -> None:
        self.night = Night(outside.slack, outside.pagerduty)
        self._outside = outside
        self._pair = pair
        self._alerts: list[dict[str, Any]] = []

    def run(self) -> Night:
        night, pagerduty = self.night, self._outside.pagerduty
        self._break_out()
        # Whose next step is Team Lead's was told to On-call; whose next is Manager's to Team Lead, too.
        self._see(MANY + 1, next_step="team-lead")
        night.outbreak = self._outside.slack.messages
        night.before_answer = self._see(MANY, next_step="manager")
        self._outside.sees(lambda: any(is_of_storm(page) for page in night.pages("team-lead")))
        night.steps = pagerduty.opened()
        self._acknowledge_in_pagerduty(night.storm_page("on-call"))
        counted = len(night.counted(night.before_answer))
        night.after_answer = self._see(counted, acknowledged_by="Alice Doe")
        self._outside.sees(lambda: "acknowledged" in night.summary.text)
        night.summary_after_answer = night.summary.text
        night.paged = pagerduty.opened()
        self._end()
        night.end = self._see(MANY + 1, state="resolved")
        self._outside.sees(lambda: not pagerduty.still_open(), within_s=30)
        only_resolved = re.compile(r": \d+ resolved · storm over$")
        self._outside.sees(lambda: only_resolved.search(night.summary.text), within_s=60)
        return night

    def _break_out(self) -> None:
        """Have a thousand alerts fire, evenly over the time, and in the middle of them one of another route."""
        began = time.monotonic()
        self.night.began_at = time.time()
        for first in range(0, MANY, AT_ONCE):
            numbers = range(first, first + AT_ONCE)
            self._fire([an_alert(n, ALERTS[n % len(ALERTS)], "critical") for n in numbers])
            if first == MANY // 2:
                self.night.warned_at = time.time()
                self._fire([an_alert(MANY, "SlowTests", "warning")])
            time.sleep(max(0.0, began + (first + AT_ONCE) / MANY * WITHIN_S - time.monotonic()))
        self.night.lasted_s = time.monotonic() - began

    def _fire(self, alerts: list[dict[str, Any]]) -> None:
        self._pair.send(*alerts)
        self._alerts += alerts

    def _end(self) -> None:
        now = dt.datetime.now(dt.UTC).isoformat()
        for first in range(0, len(self._alerts), 100):
            self._pair.send(*({**alert, "endsAt": now} for alert in self._alerts[first : first + 100]))

    def _acknowledge_in_pagerduty(self, page: PagedIncident) -> None:
        """Somebody takes it there, and PagerDuty tells by its signed webhook."""
        pagerduty = self._outside.pagerduty
        pagerduty.acknowledges(page, "Alice Doe")
        address = f"http://127.0.0.1:{self._outside.port}/webhooks/pagerduty"
        assert set(pagerduty.webhooks.deliver(post_to(address))) == {202}

    def _rows(self) -> list[Row]:
        found: list[Row] = []
        cursor = ""
        while True:
            page = self._outside.ask("GET", f"/api/v1/incidents?limit=200{cursor}")[1]
            found += page["incidents"]
            if not page["next_cursor"]:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    def _see(self, count: int, within_s: float = 40.0, **wanted: str) -> list[Row]:
        """Wait until *count* incidents are listed as *wanted*; return all that are listed then."""
        deadline = time.monotonic() + within_s
        while True:
            rows = self._rows()
            if sum(wanted.items() <= row.items() for row in rows) >= count:
                return rows
            found = Counter((row["state"], row["acknowledged_by"], row["next_step"]) for row in rows)
            assert time.monotonic() < deadline, f"{count} {wanted}? {found}\n{self._outside.describe()}"
            time.sleep(0.3)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    folder = tmp_path_factory.mktemp("storm")
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        slack.enforce_limits()
        pagerduty.enforce_limits()
        outside = Outside(folder, slack, pagerduty, STORMY_ROUTING)
        try:
            pair = Alertmanagers(folder, f"http://127.0.0.1:{outside.port}", route=EACH_ITS_OWN, pace=PACE)
            try:
                yield Play(outside, pair).run()
            finally:
                pair.stop()
        finally:
            outside.kill_everything()


def test_the_first_page_comes_within_two_seconds(night: Night) -> None:
    """Counted from before Alertmanager had the alert, so from before we could hear of it."""
    first = night.pages("on-call")[0].opened_at - night.began_at
    print(f"{MANY} groups in {night.lasted_s:.1f} s, the first page after {first:.2f} s")
    assert night.lasted_s < WITHIN_S + 2.0
    assert first < 2.0


def test_the_first_are_paged_one_by_one_and_one_page_counts_the_rest(night: Night) -> None:
    singles, page = night.singles("on-call"), night.storm_page("on-call")
    after = page.opened_at - night.began_at
    print(f"on-call: {len(singles)} pages of one incident each, and {page.summary!r} after {after:.1f} s")
    assert 10 <= len(singles) <= 20
    assert all(single.opened_at < page.opened_at for single in singles)
    assert after < WITHIN_S
    payload = page.history[0].body["payload"]
    assert page.summary.startswith(f"{payload['custom_details']['incidents']} incidents in #alerts-critical")
    assert payload["severity"] == "critical"


def test_one_message_speaks_for_all_and_is_brought_up_to_date(night: Night) -> None:
    roots = [one for one in night.outbreak if one.channel == "#alerts-critical" and not one.is_reply]
    print(
        f"in Slack when On-call had been told of all: {len(roots)} messages, {len(night.outbreak)} with replies"
    )
    assert [one.reference for one in roots].count(night.summary.reference) == 1
    assert len(roots) <= 10
    assert len(night.outbreak) <= 30
    assert 3 <= night.summary.edits <= 20
    spoken_for = MANY - len(roots) + 1
    assert f"{spoken_for} incidents in #alerts-critical:" in night.summary_after_answer
    assert f": {spoken_for} resolved · storm over" in night.summary.text


def test_another_channel_gets_its_own_at_once(night: Night) -> None:
    (message,) = [one for one in night.slack.roots if one.channel == "#alerts-warning"]
    after = float(message.ts) - night.warned_at
    print(f"the other channel's message after {after:.2f} s")
    assert "SlowTests" in message.text
    assert after < 2.0


def test_the_next_step_is_bundled_as_well(night: Night) -> None:
    team_lead = [NAMES[page.routing_key] for page in night.steps].count("team-lead")
    print(f"team-lead: {team_lead} pages, one of them {night.storm_page('team-lead').summary!r}")
    assert team_lead <= len(night.singles("on-call")) + 1
    assert [page for page in night.pagerduty.opened() if NAMES[page.routing_key] == "manager"] == []
    waiting = Counter(row["next_step"] for row in night.before_answer)
    assert waiting == {"manager": MANY, "team-lead": 1}  # the warning's second step is half an hour off


def test_acknowledging_the_storms_page_acknowledges_all_it_counts_and_nothing_else(night: Night) -> None:
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


def test_the_storms_page_is_resolved_with_the_last_of_them_and_so_is_all_else(night: Night) -> None:
    page = night.storm_page("on-call")
    assert [event.action for event in page.history] == ["trigger", "resolve"]  # no echo of the answer
    only_counted = without(night.end, night.pagerduty.opened())
    last = max(dt.datetime.fromisoformat(row["updated_at"]) for row in only_counted)
    assert page.history[-1].at >= last.timestamp()
    assert Counter(row["state"] for row in night.end) == {"resolved": MANY + 1}
    assert {one.state for one in night.pagerduty.opened()} == {"resolved"}


def test_nothing_is_said_twice(night: Night) -> None:
    pages = Counter((one.routing_key, one.dedup_key) for one in night.pagerduty.opened())
    assert set(pages.values()) == {1}
    said = Counter(json.dumps(message.metadata, sort_keys=True) for message in night.slack.messages)
    assert set(said.values()) == {1}


def test_the_vendors_limits_are_kept(night: Night) -> None:
    slack, pagerduty = night.slack, night.pagerduty
    print(f"429: {len(slack.limited)} of {len(slack.calls)} calls of Slack,")
    print(f"{len(pagerduty.limited)} of {len(pagerduty.requests)} of PagerDuty")
    assert len(slack.limited) <= len(slack.calls) / 20
    assert len(pagerduty.limited) <= len(pagerduty.requests) / 20
