"""Every kind of delivery through every kind of failure: what is saved, and which notice, health and metric follow.

The subjects are those of the receiver, on a real Valkey; the channel is scripted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace as replace_fields
from prometheus_client import REGISTRY

from receiver.engine.dispatcher import Subject
from receiver.engine.notification import Notification
from receiver.engine.queue import WorkQueue
from receiver.errors import LeaseLost, PermanentDeliveryError, RefusalKind, TemporaryDeliveryError
from receiver.incidents.store import RedisIncidents
from receiver.model.actions import DeliveryAction, Page, Post, Reply, Update
from receiver.model.delivery import Delivery, Receipt
from receiver.model.incident import IncidentUpdate
from receiver.model.merge import merge
from receiver.model.routing import PAGERDUTY, SLACK, RouteSettings, Step, Target
from receiver.notices import NoticeMessage, NoticeNotification, NoticeSubject, RedisNotices
from receiver.reviews.model import (
    OPEN,
    REVIEWED,
    Review,
    ReviewItem,
    ReviewNotification,
    ReviewState,
    review_group_id,
)
from receiver.reviews.service import RedisReviews, ReviewSubject
from receiver.storage.connection import Client
from receiver.storms.model import Storm, StormNotification, new_storm_id, summarize_storm
from receiver.storms.reconciler import StormSubject
from receiver.storms.service import StormService
from receiver.storms.store import RedisStorms
from tests.builders import a_group, a_notification, a_responder, an_alert
from tests.rig import START, Clock
from tests.script_clocks import SHARED_CLOCK
from tests.support.dispatching import RecordedOutcomes, a_dispatcher, incident_subject

ALERTS = Target(SLACK, "#alerts-critical")
ON_CALL = Target(PAGERDUTY, "on-call")
STEP = Step("on-call", a_responder())
ARRIVED = Receipt(START, "C1:1.000001")


class Case:
    """One kind of delivery. *is_retried* where a permanent failure is retried, *has_notice* where it is
    reported.
    """

    action: DeliveryAction
    is_retried = False
    has_notice = True

    def load(self) -> tuple[Subject, Notification]:
        """Return the subject as it is now, and what to send."""
        raise NotImplementedError

    def saved(self) -> Delivery:
        """Return the delivery as it is saved."""
        raise NotImplementedError


class IncidentCase(Case):
    def __init__(self, redis: Client, clock: Clock, action: DeliveryAction) -> None:
        self.action, self.clock = action, clock
        self.store = RedisIncidents(redis, history_s=1000, script_clock=SHARED_CLOCK)
        group = a_group(an_alert("DiskFull"))
        loaded = self.store.load_latest([merge(None, group, _ROUTE, START).incident.group_id])[0]
        change = merge(None, group, _ROUTE, START)
        assert self.store.commit_updates([IncidentUpdate(loaded, change, (), START)]) == [True]
        self.id = change.incident.id

    def load(self) -> tuple[Subject, Notification]:
        incident = self.store.load_incident(self.id)
        return incident_subject(self.store, incident, self.clock), a_notification(incident, self.action)

    def saved(self) -> Delivery:
        return self.store.load_incident(self.id).deliveries[self.action.key]


_ROUTE = RouteSettings("alerts-critical", "#alerts-critical", "")


class IncidentEdit(IncidentCase):
    """A deleted message is posted again: its edit causes no notice."""

    def has_notice_of(self, kind: RefusalKind) -> bool:
        return kind is not RefusalKind.MESSAGE_GONE


class StormCase(Case):
    def __init__(self, redis: Client, clock: Clock, target_key: str, action: DeliveryAction) -> None:
        self.action = action
        self.store = RedisStorms(redis, history_s=1000, script_clock=SHARED_CLOCK)
        incidents = RedisIncidents(redis, history_s=1000, script_clock=SHARED_CLOCK)
        self.storms = StormService(self.store, incidents, WorkQueue(redis, script_clock=SHARED_CLOCK), clock)
        storm = Storm(new_storm_id(target_key, START), target_key, START)
        self.id = self.store.start_storm(storm, "", START)

    def load(self) -> tuple[Subject, Notification]:
        loaded = self.store.load_storm(self.id)
        notification = StormNotification(self.action, loaded.storm, summarize_storm([]), START)
        return StormSubject(self.storms, loaded), notification

    def saved(self) -> Delivery:
        return self.store.load_storm(self.id).storm.deliveries[self.action.key]


class ReviewCase(Case):
    group_id = review_group_id("alerts-info")

    def __init__(self, redis: Client, *, is_edit: bool) -> None:
        self.is_edit, self.store = is_edit, RedisReviews(redis)
        item = ReviewItem("DiskFull", "info", 1, 0, START)  # type: ignore[arg-type]
        review = Review("alerts-info", "#alerts-info", START - 86400, START, (item,))
        state = ReviewState(START, START).with_review(review)
        record = state.records[0]
        self.id, target = record.id, Target(SLACK, "#alerts-info")
        self.action = Post(key="review", instance=self.id, target=target, content_version=OPEN)
        if is_edit:
            record = replace_fields(record, delivery=Delivery(self.id, attempts=1, receipt=ARRIVED))
            state = state.with_record(record)
            self.action = Update(
                key="update",
                instance=self.id,
                target=target,
                content_version=REVIEWED,
                message=ARRIVED.reference,
            )
        assert self.store.save_if_unchanged(self.store.load_reviews(self.group_id), state)

    def load(self) -> tuple[Subject, Notification]:
        record = self.store.load_reviews(self.group_id).find_record(self.id)
        assert record is not None
        subject = ReviewSubject(self.store, self.group_id, record, fallback="")
        return subject, ReviewNotification(self.action, record)

    def saved(self) -> Delivery:
        record = self.store.load_reviews(self.group_id).find_record(self.id)
        assert record is not None
        return record.edit if self.is_edit else record.delivery


class NoticeCase(Case):
    """A notice is retried for a day, and never causes another one."""

    is_retried = True
    has_notice = False

    def __init__(self, redis: Client, clock: Clock) -> None:
        self.clock, self.store = clock, RedisNotices(redis, script_clock=SHARED_CLOCK)
        self.action = Post(key="notice", target=Target(SLACK, "#monitoring"))
        self.store.save_message(NoticeMessage("n1", ("a",), ("The page failed",)))

    def load(self) -> tuple[Subject, Notification]:
        message = self.store.load_message()
        subject = NoticeSubject(self.store, message, 0, self.clock)
        return subject, NoticeNotification(self.action, message)

    def saved(self) -> Delivery:
        """Return the delivery of the message; a posted message is replaced by an empty one."""
        message = self.store.load_message()
        return replace_fields(message.delivery, receipt=ARRIVED) if message.posted_at else message.delivery


CASES: dict[str, Callable[[Client, Clock], Case]] = {
    "incident message": lambda redis, clock: IncidentCase(redis, clock, Post(key="message", target=ALERTS)),
    "incident reply": lambda redis, clock: IncidentCase(
        redis,
        clock,
        Reply(key="resolved", target=ALERTS, message=ARRIVED.reference, reply_kind="resolved"),
    ),
    "incident edit": lambda redis, clock: IncidentEdit(
        redis, clock, Update(key="update", target=ALERTS, message=ARRIVED.reference)
    ),
    "incident page": lambda redis, clock: IncidentCase(
        redis, clock, Page(key="page:on-call", instance="1", target=ON_CALL, dedup_key="d", step=STEP)
    ),
    "storm message": lambda redis, clock: StormCase(
        redis, clock, "channel:#alerts-critical", Post(key="message", target=ALERTS)
    ),
    "storm page": lambda redis, clock: StormCase(
        redis, clock, "responder:on-call", Page(key="page:1", target=ON_CALL, dedup_key="d", step=STEP)
    ),
    "review": lambda redis, _: ReviewCase(redis, is_edit=False),
    "review edit": lambda redis, _: ReviewCase(redis, is_edit=True),
    "notice": NoticeCase,
}


@dataclass
class ScriptedChannel:
    """A channel that fails as the script says, first failure first, and then accepts everything."""

    failures: list[Exception] = field(default_factory=list)
    sent: list[Notification] = field(default_factory=list)
    arrived: Receipt | None = None  # what a search for an earlier attempt finds

    def send(self, notification: Notification) -> Receipt:
        self.sent.append(notification)
        if self.failures:
            raise self.failures.pop(0)
        return ARRIVED

    def find_receipt(self, notification: Notification) -> Receipt | None:
        assert notification.first_attempt_at > 0
        return self.arrived


class Scene:
    """One case, its channel, and a dispatcher whose outcomes can be read."""

    def __init__(self, case: Case, clock: Clock) -> None:
        self.case, self.clock = case, clock
        self.channel = ScriptedChannel()
        self.outcomes = RecordedOutcomes()
        queues = dict.fromkeys((SLACK, PAGERDUTY), self.channel)
        self.dispatcher = a_dispatcher(queues, clock, self.outcomes)
        self._before = {outcome: self._count(outcome) for outcome in _OUTCOMES}

    def dispatch(self) -> Delivery | None:
        subject, notification = self.case.load()
        return self.dispatcher.dispatch(subject, notification, "")

    def counted(self) -> dict[str, float]:
        """Return the outcomes that `receiver_deliveries_total` counted in this test."""
        counts = {outcome: self._count(outcome) - self._before[outcome] for outcome in _OUTCOMES}
        return {outcome: count for outcome, count in counts.items() if count}

    def _count(self, outcome: str) -> float:
        labels = {"channel": self.case.action.queue, "outcome": outcome}
        return REGISTRY.get_sample_value("receiver_deliveries_total", labels) or 0.0

    @property
    def health(self) -> Any:
        action = self.case.action
        return self.outcomes.health.targets.get((action.queue, action.target.address))


_OUTCOMES = ("delivered", "simulated", "temporary", "permanent")


@pytest.fixture(params=list(CASES))
def scene(request: pytest.FixtureRequest, redis_client: Client) -> Scene:
    clock = Clock()
    return Scene(CASES[request.param](redis_client, clock), clock)


def test_a_delivery_that_arrives_has_a_receipt(scene: Scene) -> None:
    assert scene.dispatch() is not None
    assert scene.case.saved().receipt == ARRIVED
    assert scene.counted() == {"delivered": 1}
    assert not scene.health.is_failing
    assert scene.outcomes.notices.texts == {}


def test_a_temporary_failure_is_retried_no_sooner_than_the_vendor_allows(scene: Scene) -> None:
    error = TemporaryDeliveryError("rate_limited", "slow down", retry_after=17.0)
    scene.channel.failures = [error]
    scene.dispatch()
    saved = scene.case.saved()
    assert (saved.attempts, saved.receipt, saved.failed_at) == (1, None, 0.0)
    assert (saved.reason, saved.maybe_sent) == ("rate_limited", False)
    assert saved.retry_at >= scene.clock() + 17.0
    assert scene.outcomes.rate_limiter.errors == [(scene.case.action.queue, error)]
    assert scene.counted() == {"temporary": 1}
    assert (scene.health.is_failing, scene.health.reason) == (True, "rate_limited")
    assert scene.outcomes.notices.texts == {}
    scene.dispatch()
    assert scene.case.saved().receipt == ARRIVED
    assert not scene.health.is_failing


@pytest.mark.parametrize(
    "kind", [RefusalKind.CONTENT, RefusalKind.CREDENTIALS, RefusalKind.TARGET_GONE, RefusalKind.MESSAGE_GONE]
)
def test_a_permanent_failure_is_reported_once(scene: Scene, kind: RefusalKind) -> None:
    scene.channel.failures = [PermanentDeliveryError("refused", "for good", kind=kind)]
    scene.dispatch()
    saved, case = scene.case.saved(), scene.case
    assert saved.reason == "refused"
    if case.is_retried:
        assert saved.failed_at == 0.0
        assert saved.retry_at > scene.clock()
    else:
        assert (saved.failed_at, saved.kind) == (scene.clock(), kind.value)
    assert scene.counted() == {"permanent": 1}
    assert (scene.health.is_failing, scene.health.reason) == (True, "refused")
    is_reported = case.has_notice_of(kind) if isinstance(case, IncidentEdit) else case.has_notice
    texts = list(scene.outcomes.notices.texts.values())
    assert len(texts) == is_reported
    assert all(f"to {saved.target} failed permanently: refused (" in text for text in texts)


def test_a_delivery_whose_response_was_lost_is_found_and_not_sent_twice(scene: Scene) -> None:
    scene.channel.failures = [TemporaryDeliveryError("no_answer", maybe_sent=True)]
    scene.dispatch()
    assert scene.case.saved().maybe_sent
    scene.channel.arrived = ARRIVED
    scene.dispatch()
    assert scene.case.saved().receipt == ARRIVED
    assert len(scene.channel.sent) == 1
    assert scene.counted() == {"temporary": 1, "delivered": 1}


def test_a_delivery_whose_response_was_lost_is_sent_again_if_it_is_not_found(scene: Scene) -> None:
    scene.channel.failures = [TemporaryDeliveryError("no_answer", maybe_sent=True)]
    scene.dispatch()
    scene.dispatch()
    assert scene.case.saved().receipt == ARRIVED
    assert len(scene.channel.sent) == 2


class Paused:
    """A subject whose process is paused after the attempt was saved."""

    def __init__(self, subject: Subject, clock: Clock) -> None:
        self._subject, self._clock = subject, clock

    def find_delivery(self, key: str) -> Delivery:
        return self._subject.find_delivery(key)

    def save_attempt(self, action: DeliveryAction, attempt: Delivery, worker: str) -> bool:
        is_saved = self._subject.save_attempt(action, attempt, worker)
        self._clock.moment += 10.0
        return is_saved

    def save_outcome(self, action: DeliveryAction, after: Delivery) -> None:
        self._subject.save_outcome(action, after)


def test_a_worker_that_was_paused_after_it_saved_the_attempt_does_not_send(scene: Scene) -> None:
    subject, notification = scene.case.load()
    with pytest.raises(LeaseLost):
        scene.dispatcher.dispatch(Paused(subject, scene.clock), notification, "")
    assert scene.channel.sent == []
    saved = scene.case.saved()
    assert (saved.attempts, saved.maybe_sent, saved.receipt) == (1, True, None)
    scene.dispatch()
    assert scene.case.saved().receipt == ARRIVED
    assert len(scene.channel.sent) == 1


def test_a_simulated_delivery_is_counted_as_such(scene: Scene) -> None:
    simulated = replace_fields(ARRIVED, is_simulated=True)
    scene.channel.send = lambda _: simulated  # type: ignore[method-assign]
    scene.dispatch()
    assert scene.counted() == {"simulated": 1}


def test_of_two_workers_only_one_sends_a_delivery_guarded_by_compare_and_set(redis_client: Client) -> None:
    """An incident is guarded by its lease, a notice by that of its task."""
    for name in ("storm message", "storm page"):
        clock = Clock()
        scene = Scene(CASES[name](redis_client, clock), clock)
        one, other = scene.case.load(), scene.case.load()
        assert scene.dispatcher.dispatch(*one, "w1") is not None
        assert scene.dispatcher.dispatch(*other, "w2") is None
        assert len(scene.channel.sent) == 1


def test_the_channel_gets_the_time_of_the_first_attempt(scene: Scene) -> None:
    scene.channel.failures = [TemporaryDeliveryError("server_error")]
    scene.dispatch()
    scene.clock.moment += 30.0
    scene.dispatch()
    assert [one.first_attempt_at for one in scene.channel.sent] == [scene.clock() - 30.0] * 2
