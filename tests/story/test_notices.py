"""Troubles of the receiver itself are posted once each in the channel of `notices`."""

from __future__ import annotations

import io
import re
from dataclasses import replace as replace_fields
from typing import Any, ClassVar

import pytest
from gunicorn.http.errors import InvalidChunkSize
from msgspec.structs import replace

from receiver.app.channels import (
    build_channels,
    build_dispatcher,
    build_notice_service,
    build_rate_limiter,
)
from receiver.app.worker import build_reconcilers
from receiver.errors import StoreError
from receiver.model.routing import SLACK
from receiver.notices import Notice, RejectedWebhooks, render_lines
from tests.rig import ROUTING, Rig
from tests.story.outage import NOTICES, in_channel
from tests.story.test_clock_steps import sets_back

MONITORING = "#monitoring"


@pytest.fixture
def rig(rig: Rig) -> Rig:
    rig.configure(NOTICES + ROUTING)
    return rig


def notices_posted(rig: Rig) -> list[str]:
    return [message.text for message in in_channel(rig, MONITORING)]


class MalformedBody(io.BytesIO):
    """A chunked body with malformed chunks, which gunicorn detects while it is read."""

    def readinto(self, _: object) -> int:
        raise InvalidChunkSize(b"xyz")

    def read(self, _: int | None = -1) -> bytes:
        raise InvalidChunkSize(b"xyz")


NONSENSE: dict[str, Any] = {"data": b"nonsense"}
NO_CHUNKS: dict[str, Any] = {
    "input_stream": MalformedBody(),
    "environ_overrides": {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
}


def refuse_webhook(rig: Rig, body: dict[str, Any] = NONSENSE) -> None:
    """Post a malformed body, and save its notice."""
    assert rig.client.post("/webhooks/alertmanager", **body).status_code == 400
    rig.services.rejected_webhooks.save_notices()


def test_a_permanent_failure_is_reported_once(rig: Rig) -> None:
    rig.slack.archive("#alerts-critical")
    incident = rig.fires("DiskFull")
    rig.passes("3h")
    (text,) = notices_posted(rig)
    assert "Message to slack:#alerts-critical failed permanently: is_archived" in text
    assert "DiskFull" in text
    assert incident in text


def test_a_late_delivery_is_not_reported(rig: Rig) -> None:
    rig.slack.fail_next("chat.postMessage", status=503, times=8)
    rig.fires("DiskFull")
    rig.passes("10m")
    assert notices_posted(rig) == []


def test_many_notices_are_a_few_messages(rig: Rig) -> None:
    rig.slack.archive("#alerts-critical")
    for n in range(40):
        rig.posts(rig.alert(f"DiskFull{n}"))
    rig.works()
    rig.passes("10m")
    first, *_ = notices_posted(rig)
    assert first.count("failed permanently: is_archived") == 10 + 1
    assert "more: Message to slack:#alerts-critical failed permanently: is_archived" in first
    assert len(notices_posted(rig)) <= 2


def test_a_notice_that_can_not_be_posted_is_retried_and_not_multiplied(rig: Rig) -> None:
    rig.slack.archive("#alerts-critical")
    rig.slack.archive(MONITORING)
    rig.fires("DiskFull")
    rig.passes("1h")
    attempts = [c for c in rig.slack.calls_of("chat.postMessage") if c.arguments["channel"] == MONITORING]
    assert 10 < len(attempts) < 25  # from five seconds to five minutes apart
    rig.slack.workspace.archived.discard("monitoring")
    rig.passes("10m")
    assert len(notices_posted(rig)) == 1


def test_after_the_clock_was_set_back_a_notice_is_retried_at_once(rig: Rig) -> None:
    rig.slack.archive("#alerts-critical")
    rig.slack.archive(MONITORING)
    rig.fires("DiskFull")
    rig.passes("10m")
    rig.slack.workspace.archived.discard("monitoring")
    sets_back(rig)
    rig.passes("10s")
    assert len(notices_posted(rig)) == 1


def test_the_pause_between_notices_does_not_grow_when_the_clock_is_set_back(rig: Rig) -> None:
    refuse_webhook(rig)
    rig.passes("1m")
    sets_back(rig, 2 * 3600.0)
    refuse_webhook(rig)
    rig.passes("1m")
    assert len(notices_posted(rig)) == 2


def test_a_notice_whose_response_was_lost_is_found_again(rig: Rig) -> None:
    rig.slack.fail_next("chat.postMessage", error="is_archived")
    rig.posts(rig.alert("DiskFull"))
    rig.works(("slack", "pagerduty"))
    rig.slack.drop_answer("chat.postMessage", times=1)
    rig.clock.moment += 2
    rig.works(("tasks",))
    rig.passes("10m")
    assert len(notices_posted(rig)) == 1


def test_a_notice_is_dropped_after_a_day(rig: Rig) -> None:
    rig.slack.archive("#alerts-critical")
    rig.slack.archive(MONITORING)
    rig.fires("DiskFull")
    rig.passes("25h")
    rig.slack.workspace.archived.discard("monitoring")
    rig.passes("1h")
    assert notices_posted(rig) == []


def test_without_a_channel_for_notices_nothing_is_stored(rig: Rig) -> None:
    rig.configure(ROUTING)
    rig.slack.archive("#alerts-critical")
    rig.fires("DiskFull")
    rig.passes("10m")
    assert notices_posted(rig) == []
    assert rig.services.notices.list_pending() == ({}, 0)


def test_without_slack_a_notice_is_simulated(rig: Rig) -> None:
    rig.environ["SLACK_BOT_TOKEN"] = ""
    rig.configure(NOTICES + ROUTING)
    rig.refuses("on-call")
    rig.fires("DiskFull")
    rig.passes("1m")
    simulated = [one for one in rig.services.simulated.list_newest(50) if one["key"] == "notice"]
    assert "invalid_routing_key" in simulated[0]["text"]


def test_the_notice_of_a_hostile_alert_mentions_no_one(rig: Rig) -> None:
    rig.refuses("on-call")
    rig.fires("<!channel> @here")
    rig.passes("1m")
    (message,) = in_channel(rig, MONITORING)
    assert message.pings == []


def test_a_deleted_message_that_is_posted_again_causes_no_notice(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.passes("5s")
    rig.slack.delete_message(rig.parents()[0])
    rig.answers(incident, "acknowledge")
    rig.passes("10m")
    assert notices_posted(rig) == []


def test_refused_webhooks_are_reported_at_most_once_an_hour(rig: Rig) -> None:
    refuse_webhook(rig)
    for _ in range(5):
        rig.passes("5m")
        refuse_webhook(rig)
    rig.passes("10m")
    (text,) = notices_posted(rig)
    assert "webhook" in text
    assert "its alerts are lost" in text


def test_a_webhook_with_malformed_chunks_is_reported_too(rig: Rig) -> None:
    refuse_webhook(rig, NO_CHUNKS)
    rig.passes("1m")
    (text,) = notices_posted(rig)
    assert "its alerts are lost" in text


def test_webhooks_refused_since_the_last_notice_are_counted_in_the_next(rig: Rig) -> None:
    refuse_webhook(rig)
    rig.passes("30m")
    refuse_webhook(rig)
    rig.passes("31m")
    refuse_webhook(rig)
    rig.passes("1m")
    assert len(notices_posted(rig)) == 2
    assert "(and 1 more since the last notice)" in notices_posted(rig)[1]


def test_webhooks_refused_between_two_savings_are_counted_too(rig: Rig) -> None:
    for _ in range(3):
        rig.client.post("/webhooks/alertmanager", data=b"nonsense")
    refuse_webhook(rig)
    rig.passes("61m")
    refuse_webhook(rig)
    rig.passes("1m")
    assert "(and 3 more since the last notice)" in notices_posted(rig)[1]


def test_an_unavailable_redis_neither_delays_nor_fails_the_refusal() -> None:
    class Away:
        counts: ClassVar[list[int]] = []

        def save_notice(self, *_: object, count: int, **__: object) -> bool:
            self.counts.append(count)
            raise StoreError("away")

    lost = RejectedWebhooks(Away(), lambda: 1000.0)
    for _ in range(100):
        lost.record_rejection("no JSON", "10.0.0.1")
    assert Away.counts == []
    for _ in range(2):
        with pytest.raises(StoreError):
            lost.save_notices()
    assert Away.counts == [100, 100]


def test_beyond_ten_lines_notices_are_counted_by_subject() -> None:
    notices = [Notice(f"n{n}", n, "page: no" if n % 2 else "message: no") for n in range(15)]
    lines = render_lines(notices, left_out=3)
    assert lines[:10] == tuple(f"n{n}" for n in range(10))
    assert lines[10:] == ("3 more: message: no", "2 more: page: no", "3 more of other kinds")


def test_a_thousand_notices_over_five_minutes_are_six_messages_and_each_is_counted_once(rig: Rig) -> None:
    for n in range(1000):
        rig.clock.moment += 0.3
        rig.services.notices.save_notice(f"problem {n}", f"problem {n}", rig.clock(), about="swarm")
        if n % 20 == 0:
            rig.works(("tasks",))
    rig.passes("5m")
    texts = notices_posted(rig)
    assert len(texts) <= 6
    counted = sum(int(more) for text in texts for more in re.findall(r"(\d+) more: swarm", text))
    assert counted + sum(text.count("problem") for text in texts) == 1000


def test_after_a_kill_between_saving_the_notice_and_the_failure_it_is_posted_once(rig: Rig) -> None:
    class Killed:
        """Saves the notice, and is killed then."""

        def save_notice(self, *args: Any, **more: Any) -> bool:
            rig.services.notices.save_notice(*args, **more)
            raise StoreError("killed")

    services = rig.services
    dying = build_reconcilers(
        replace_fields(services, notices=Killed()),  # type: ignore[arg-type]
        keys=rig.keys,
    )
    rig.slack.archive("#alerts-critical")
    rig.posts(rig.alert("DiskFull"))
    incident = services.work_queue.claim(SLACK, "dying", rig.clock(), 1).entries[0]
    with pytest.raises(StoreError):
        dying.reconcile(incident, SLACK, "dying")
    rig.passes("10m")
    assert len(notices_posted(rig)) == 1
    assert [d["state"] for d in rig.shows(incident)["deliveries"] if d["id"] == "message"] == ["failed"]


def test_a_worker_killed_while_posting_makes_the_next_one_search_first(rig: Rig) -> None:
    rig.services.notices.save_notice("a problem", "a problem", rig.clock())
    rig.clock.moment += 2
    limiter = build_rate_limiter(rig.services)
    dispatcher = build_dispatcher(rig.services, build_channels(rig.services, rig.keys), limiter)
    service = build_notice_service(rig.services, dispatcher, limiter)
    rig.slack.drop_answer("chat.postMessage")
    service.run_due(rig.clock())
    message = rig.services.notices.load_message()
    rig.services.notices.save_message(
        replace(message, delivery=replace(message.delivery, retry_at=0.0))
    )  # it was killed before it saved the failure
    assert service.run_due(rig.clock()) == message.delivery.last_attempt_at + 15
    rig.clock.moment += 15
    service.run_due(rig.clock())
    assert notices_posted(rig) == ["🛠 a problem"]
    assert rig.services.notices.list_pending() == ({}, 0)
