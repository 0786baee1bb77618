"""The time of the last webhook in status, metrics and dashboard; it is saved outside of the requests."""

from __future__ import annotations

import re

import pytest
from prometheus_client import REGISTRY

from receiver import metrics
from receiver.errors import StoreError
from receiver.last_webhooks import MAX_SOURCES
from receiver.storage.keys import LAST_WEBHOOKS
from receiver.web.pages.blueprint import format_age
from tests.rig import ROUTING, START, Rig

HOOK = "/webhooks/alertmanager"


def moments(rig: Rig) -> dict[str, str]:
    return dict(rig.client.get("/api/v1/status").json["last_webhook_at"])


def gauge(rig: Rig, source: str) -> float | None:
    assert rig.client.get("/metrics").status_code == 200
    return REGISTRY.get_sample_value("receiver_last_webhook_timestamp_seconds", {"source": source})


def page_text(rig: Rig, path: str = "/") -> str:
    (found,) = re.findall(r'<p class="webhooks">(.*?)</p>', rig.client.get(path).text)
    return re.sub(r"<[^>]+>", "", found)


# --- status and metrics ---


def test_before_the_first_webhook_there_is_no_time(rig: Rig) -> None:
    assert moments(rig) == {}
    rig.configure(ROUTING)
    assert moments(rig) == {}


def test_each_source_has_its_time(rig: Rig) -> None:
    rig.posts(rig.alert("A"))
    rig.clock.moment += 40
    rig.posts(rig.alert("B"), source="eu")
    assert moments(rig) == {"": "2026-11-23T12:00:00.000Z", "eu": "2026-11-23T12:00:40.000Z"}
    assert gauge(rig, "") == START
    assert gauge(rig, "eu") == START + 40


def test_duplicates_and_empty_webhooks_count_and_refused_ones_do_not(rig: Rig) -> None:
    rig.posts(rig.alert("A"))
    for seconds, body, status in (
        (10, rig.payload(rig.alert("A")), 200),
        (20, {**rig.payload(), "alerts": []}, 200),
        (30, {"alerts": "none"}, 400),
    ):
        rig.clock.moment = START + seconds
        assert rig.client.post(HOOK, json=body).status_code == status
    rig.client.post("/webhook", json=rig.payload(rig.alert("A")))
    assert moments(rig) == {"": "2026-11-23T12:00:20.000Z"}


def test_a_saved_time_survives_a_restart_and_is_visible_to_other_processes(rig: Rig) -> None:
    rig.posts(rig.alert("A"))
    before = rig.services
    rig.configure(ROUTING)  # another process
    assert moments(rig) == {}
    before.last_webhooks.save_times()
    assert moments(rig) == {"": "2026-11-23T12:00:00.000Z"}


def test_a_repeated_webhook_costs_no_further_round_trip(rig: Rig) -> None:
    """Counted by Redis itself."""
    rig.posts(rig.alert("A"))
    client = rig.services.work_queue._redis
    before = client.info("stats")["total_reads_processed"]
    rig.posts(rig.alert("A"))
    assert client.info("stats")["total_reads_processed"] - before - 1 == 1


def test_the_times_of_a_hundred_webhooks_are_saved_at_once(rig: Rig) -> None:
    for n in range(100):
        rig.services.last_webhooks.record_webhook(f"source-{n % 3}", START + n)
    client = rig.services.work_queue._redis
    before = client.info("stats")["total_reads_processed"]
    rig.services.last_webhooks.save_times()
    assert client.info("stats")["total_reads_processed"] - before - 1 == 1
    before = client.info("stats")["total_reads_processed"]
    rig.services.last_webhooks.save_times()
    assert client.info("stats")["total_reads_processed"] - before - 1 == 0


def test_a_time_that_could_not_be_saved_is_saved_later(rig: Rig) -> None:
    rig.posts(rig.alert("A"))
    rig.services.work_queue._redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreError):
            rig.services.last_webhooks.save_times()
    finally:
        rig.services.work_queue._redis.config_set("maxmemory", 0)
    assert moments(rig) == {"": "2026-11-23T12:00:00.000Z"}
    rig.services.last_webhooks.save_times()
    rig.configure(ROUTING)
    assert moments(rig) == {"": "2026-11-23T12:00:00.000Z"}


# --- names from outside ---


def test_of_many_sources_the_newest_are_stored(rig: Rig) -> None:
    for n in range(200):
        rig.clock.moment = START + n
        rig.posts(rig.alert("A"), source=f"s{n:03}")
        if n % 10 == 0:
            rig.services.last_webhooks.save_times()
    rig.services.last_webhooks.save_times()
    assert rig.services.work_queue._redis.hlen(LAST_WEBHOOKS) == MAX_SOURCES
    assert len(moments(rig)) == MAX_SOURCES
    rig.clock.moment = START + 300
    rig.posts(rig.alert("A"))
    assert moments(rig)[""] == "2026-11-23T12:05:00.000Z"


def test_a_long_and_hostile_name_is_cut_and_escaped(rig: Rig) -> None:
    rig.posts(rig.alert("A"), source="%3Cscript%3E%0A" + "x" * 2000)
    (source,) = moments(rig)
    assert len(source) <= 100
    assert "<script>" not in rig.client.get("/").text.replace('<script src="/static', "")
    assert gauge(rig, source) == START


def test_metrics_have_a_hundred_sources_at_most(rig: Rig) -> None:
    known = len(metrics._sources)
    metrics.record_last_webhooks({f"many-{n}": START + n for n in range(300)})
    assert len(metrics._sources) == max(known, 100)
    assert gauge(rig, metrics.OTHER_SOURCES) == START + 299


# --- the page ---


def test_the_dashboard_shows_the_time_of_the_last_webhook(rig: Rig) -> None:
    rig.fires("A")
    rig.clock.moment += 40
    assert page_text(rig) == "last webhook 40 s ago"
    assert "Point Alertmanager" not in rig.client.get("/").text


def test_several_sources_are_shown_separately(rig: Rig) -> None:
    rig.posts(rig.alert("A"), source="eu")
    rig.clock.moment += 3600
    assert page_text(rig) == "last webhook from eu 1 h ago"
    rig.posts(rig.alert("A"))
    assert page_text(rig) == "last webhook from the address without a source 0 s ago, from eu 1 h ago"


def test_before_the_first_webhook_the_dashboard_shows_the_webhook_url(rig: Rig) -> None:
    assert page_text(rig) == "no webhook has come yet"
    page = rig.client.get("/").text
    assert "Nothing is open." in page
    assert "url: 'http://localhost/webhooks/alertmanager'" in page
    assert "RECEIVER_WEBHOOK_TOKEN" not in page
    rig.environ |= {"PUBLIC_URL": "https://ops.example/receiver", "RECEIVER_WEBHOOK_TOKEN": "t0ken"}
    rig.configure(ROUTING)
    page = rig.client.get("/", headers={"Host": "ops.example"}).text
    assert "https://ops.example/receiver/webhooks/alertmanager" in page
    assert "RECEIVER_WEBHOOK_TOKEN" in page
    assert "t0ken" not in page


def test_after_the_first_webhook_an_empty_dashboard_shows_its_age(rig: Rig) -> None:
    rig.posts(rig.alert("A"))
    rig.ends("A")
    page = rig.client.get("/").text
    assert "Nothing is open." in page
    assert "No webhook has come yet" not in page
    assert page_text(rig) == "last webhook 0 s ago"


def test_an_open_page_gets_newer_times_without_a_reload(rig: Rig) -> None:
    rig.fires("A")
    answer = rig.client.get("/")
    stamp = re.search(r'data-stamp="(\w+)"', answer.text)
    assert stamp is not None
    rig.clock.moment += 40
    rig.posts(rig.alert("A"))
    again = rig.client.get("/", headers={"X-Receiver-Stamp": stamp[1]})
    assert again.status_code == 204
    assert again.headers["X-Receiver-Webhooks"] == "2026-11-23T12:00:40.000Z"
    rig.posts(rig.alert("A"), source="eu")
    assert rig.client.get("/", headers={"X-Receiver-Stamp": stamp[1]}).status_code == 200


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (172_799, "47 h"),
        (172_800, "2 d"),
        (1e7, "115 d"),
    ],
)
def test_an_age_is_shown_in_one_unit(seconds: float, expected: str) -> None:
    assert format_age(seconds) == f"{expected} ago"
