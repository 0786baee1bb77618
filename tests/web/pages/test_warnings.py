"""Warnings at the top of the pages."""

from __future__ import annotations

import re

from tests.rig import ROUTING, Rig
from tests.web.locations import leads_to, list_links, resolve


def titles(rig: Rig, path: str = "/") -> list[str]:
    rig.services.work_queue.record_heartbeat("worker", rig.clock())
    return re.findall(r'<div class="banner \w+"><p><strong>([^<]+)</strong>', rig.client.get(path).text)


def test_there_is_no_warning_while_everything_works(rig: Rig) -> None:
    rig.fires("DiskFull")
    assert titles(rig) == []


def test_an_outage_of_slack_and_pagerduty_is_a_warning_on_every_page_with_state(rig: Rig) -> None:
    rig.slack.fail_next(status=503, times=1000)
    incident = rig.fires("DiskFull")
    rig.passes("1m")
    assert "Slack is failing." in titles(rig)
    assert "Slack is failing." in titles(rig, f"/incidents/{incident}")


def test_the_warning_of_permanent_failures_links_the_page_to_retry_them(rig: Rig) -> None:
    rig.refuses("on-call")
    incident = rig.fires("DiskFull")
    page = rig.client.get("/").text
    assert "1 delivery failed permanently." in page
    assert f'<a href="./incidents/{incident}#deliveries">DiskFull: page to on-call</a>' in page
    rig.pagerduty.routing_keys = None
    page_of_it = rig.client.get(f"/incidents/{incident}")
    links = [resolve(page_of_it, link) for link in list_links(page_of_it)]
    response = rig.submits(next(link for link in links if re.fullmatch(r"/deliveries/[^/]+/retry", link)))
    assert leads_to(response) == f"/incidents/{incident}#deliveries"
    assert rig.paged() == ["on-call"]
    assert "failed permanently." not in rig.client.get("/").text


def test_stale_incidents_are_counted_and_can_be_listed(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.clock.moment += 9 * 3600
    rig.fires("Fresh")
    assert "1 incident is stale." in titles(rig)
    page = rig.client.get("/?state=stale").text
    assert "DiskFull" in page
    assert "Fresh" not in page


def test_simulated_channels_are_named(rig: Rig) -> None:
    rig.environ |= {"SLACK_BOT_TOKEN": "", "PAGERDUTY_MANAGER_KEY": ""}
    rig.configure(ROUTING)
    assert titles(rig) == ["Simulated: Slack; PagerDuty for Manager."]


def test_warnings_are_ordered_by_severity(rig: Rig) -> None:
    rig.environ["PAGERDUTY_MANAGER_KEY"] = ""
    rig.configure(ROUTING)
    rig.refuses("on-call")
    rig.fires("DiskFull")
    rig.clock.moment += 9 * 3600
    levels = re.findall(r'<div class="banner (\w+)">', rig.client.get("/").text)
    assert levels == sorted(levels, key=["alarm", "warn", "note"].index)
    assert set(levels) == {"alarm", "warn", "note"}
