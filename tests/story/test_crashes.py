"""A worker may be killed at any instruction: the next one continues from the stored attempts and receipts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from receiver.app.channels import build_channels
from receiver.app.worker import build_reconcilers
from receiver.engine.ports import Channel
from receiver.engine.queue import LEASE_S
from receiver.errors import LeaseLost
from receiver.model.routing import PAGERDUTY, SLACK
from tests.rig import Rig


class Killed(BaseException):
    """Raised to kill the worker in the middle of its work."""


@dataclass
class KillingChannel:
    """A channel that kills its worker before or after sending, or while searching for an earlier attempt."""

    channel: Channel
    when: str

    def send(self, notification: Any) -> Any:
        if self.when == "before":
            raise Killed
        self.channel.send(notification)
        raise Killed

    def find_receipt(self, notification: Any) -> Any:
        if self.when == "searching":
            raise Killed
        return self.channel.find_receipt(notification)


def kill_in(rig: Rig, queue: str, when: str) -> None:
    """Let a worker claim what is due in *queue* and be killed by the channel."""
    channels = build_channels(rig.services, rig.keys)
    channels[queue] = KillingChannel(channels[queue], when)
    dying = build_reconcilers(rig.services, channels, rig.keys)
    for incident in rig.services.work_queue.claim(queue, "dying", rig.clock(), 10).entries:
        with pytest.raises(Killed):
            dying.reconcile(incident, queue, "dying")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("queue", [SLACK, PAGERDUTY])
def test_a_worker_killed_while_sending_the_first_message_or_page(rig: Rig, queue: str, when: str) -> None:
    rig.posts(rig.alert("DiskFull"))
    rig.clock.moment += 1
    kill_in(rig, queue, when)
    rig.passes("3s")
    assert len(rig.parents()) == 1
    assert rig.paged() == ["on-call"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_killed_while_notifying_the_next_step(rig: Rig, when: str) -> None:
    rig.fires("DiskFull")
    rig.passes("4m59s")
    rig.clock.moment += 1
    kill_in(rig, PAGERDUTY, when)
    assert rig.paged() == (["on-call"] if when == "before" else ["on-call", "team-lead"])
    rig.passes("3s")
    assert rig.paged() == ["on-call", "team-lead"]
    rig.passes("4m56s")
    assert rig.paged() == ["on-call", "team-lead"]
    rig.passes("3s")
    assert rig.paged() == ["on-call", "team-lead", "manager"]


def test_a_worker_killed_with_an_incident_leased(rig: Rig) -> None:
    rig.posts(rig.alert("DiskFull"))
    rig.services.work_queue.claim(SLACK, "dead", rig.clock(), 10)
    rig.services.work_queue.claim(PAGERDUTY, "dead", rig.clock(), 10)
    rig.works()
    assert rig.parents() == []
    rig.passes("3s")
    assert len(rig.parents()) == 1
    assert rig.paged() == ["on-call"]


def test_a_restart_neither_postpones_nor_doubles_a_step(rig: Rig) -> None:
    rig.fires("DiskFull")
    for _ in range(5):
        rig.passes("50s")
        rig.reconcilers = build_reconcilers(rig.services)
    rig.passes("49s")
    assert rig.triggered() == ["on-call"]
    rig.passes("1s")
    assert rig.triggered() == ["on-call", "team-lead"]


def test_a_step_that_was_due_during_an_outage_is_notified_at_once(rig: Rig) -> None:
    """Overdue steps are notified at once; the step after them waits its full time."""
    rig.fires("DiskFull")
    rig.clock.moment += 3600
    rig.works()
    assert rig.paged() == ["on-call", "team-lead"]
    rig.passes("4m59s")
    assert rig.paged() == ["on-call", "team-lead"]
    rig.passes("1s")
    assert rig.paged() == ["on-call", "team-lead", "manager"]


def test_a_worker_whose_lease_has_expired_sends_nothing(rig: Rig) -> None:
    """It was paused for longer than its lease; another worker has claimed the incident."""
    rig.posts(rig.alert("DiskFull"))
    incident = rig.services.work_queue.claim(SLACK, "asleep", rig.clock(), 1).entries[0]
    rig.clock.moment += LEASE_S
    rig.services.work_queue.claim(SLACK, "awake", rig.clock(), 1)
    with pytest.raises(LeaseLost):
        rig.reconcilers.reconcile(incident, SLACK, "asleep")
    assert rig.slack.messages == []


def test_a_page_whose_worker_was_killed_before_sending_is_sent_when_the_incident_reopens(rig: Rig) -> None:
    """Before, the reopened incident counted the attempt as an open page and paged no one."""
    rig.posts(rig.alert("DiskFull"))
    rig.clock.moment += 1
    kill_in(rig, PAGERDUTY, "before")
    rig.posts(rig.alert("DiskFull", ended=True, at=rig.clock() - 1))
    rig.posts(rig.alert("DiskFull"))
    rig.passes("3s")
    assert rig.paged() == ["on-call"]


def test_a_page_whose_worker_was_killed_after_sending_is_not_sent_twice_when_the_incident_reopens(
    rig: Rig,
) -> None:
    rig.posts(rig.alert("DiskFull"))
    rig.clock.moment += 1
    kill_in(rig, PAGERDUTY, "after")
    rig.posts(rig.alert("DiskFull", ended=True, at=rig.clock() - 1))
    rig.posts(rig.alert("DiskFull"))
    rig.passes("3s")
    assert rig.paged() == ["on-call"]
    assert len(rig.pagerduty.opened()) == 1


def test_a_message_found_after_two_kills_shows_the_resolved_state(rig: Rig) -> None:
    """The first attempt posted the open state, the second died before it could post the resolved one.

    Before, the found message counted as that of the second attempt, and showed the open state for ever.
    """
    rig.posts(rig.alert("DiskFull"))
    rig.clock.moment += 1
    kill_in(rig, SLACK, "after")
    rig.posts(rig.alert("DiskFull", ended=True, at=rig.clock() - 1))
    rig.clock.moment += 3
    kill_in(rig, SLACK, "searching")
    rig.passes("10s")
    assert len(rig.parents()) == 1
    assert "esolved" in rig.parents()[0].text


@dataclass
class PausingStore:
    """A store that pauses its process once, after its response."""

    rig: Rig
    seconds: float

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rig.services.incidents, name)

    def record_delivery(self, *args: Any, **options: Any) -> None:
        self.rig.services.incidents.record_delivery(*args, **options)
        self.rig.clock.moment += self.seconds
        self.seconds = 0.0


def test_a_worker_paused_between_saving_a_page_attempt_and_sending_it_sends_nothing(rig: Rig) -> None:
    """Meanwhile another worker sent the resolve: a page sent now would stay open for ever."""
    rig.posts(rig.alert("DiskFull"))
    rig.works((SLACK,))
    rig.clock.moment += 1
    (incident,) = rig.services.work_queue.claim(PAGERDUTY, "asleep", rig.clock(), 1).entries
    services = replace(rig.services, incidents=PausingStore(rig, 10.0))  # type: ignore[arg-type]
    asleep = build_reconcilers(services, keys=rig.keys)
    with pytest.raises(LeaseLost):
        asleep.reconcile(incident, PAGERDUTY, "asleep")
    assert rig.pagerduty.events == []
    rig.passes("5s")
    assert rig.paged() == ["on-call"]
