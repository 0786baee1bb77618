"""A worker may die at any instruction: what was noted decides what the next one does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from receiver.app.channels import build_channels
from receiver.app.worker import build_worker_services
from receiver.engine.ports import Channel
from receiver.engine.queue import LEASE_S
from receiver.errors import ClaimLost
from receiver.model.routing import PAGERDUTY, SLACK
from tests.rig import Rig


class Killed(BaseException):
    """What happens to a process in the middle of a line."""


@dataclass
class Deadly:
    """A channel in whose hands the worker dies, before or after it sent, or searching for an earlier try."""

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
    """Have a worker take what is due in *lane* and die in the channel's hands."""
    channels = build_channels(rig.services, rig.keys)
    channels[queue] = Deadly(channels[queue], when)
    dying = build_worker_services(rig.services, channels, rig.keys).reconciler
    for incident in rig.services.work_queue.claim(queue, "dying", rig.clock(), 10).incidents:
        with pytest.raises(Killed):
            dying.reconcile(incident, queue, "dying")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("queue", [SLACK, PAGERDUTY])
def test_killed_while_sending_the_first_news(rig: Rig, queue: str, when: str) -> None:
    rig.posts(rig.alert("DiskFull"))
    rig.clock.moment += 1
    kill_in(rig, queue, when)
    rig.passes("3s")
    assert len(rig.roots()) == 1
    assert rig.paged() == ["on-call"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_notifying_the_next_step(rig: Rig, when: str) -> None:
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


def test_killed_with_an_incident_leased(rig: Rig) -> None:
    rig.posts(rig.alert("DiskFull"))
    rig.services.work_queue.claim(SLACK, "dead", rig.clock(), 10)
    rig.services.work_queue.claim(PAGERDUTY, "dead", rig.clock(), 10)
    rig.works()
    assert rig.roots() == []
    rig.passes("3s")
    assert len(rig.roots()) == 1
    assert rig.paged() == ["on-call"]


def test_a_restart_neither_postpones_nor_doubles_a_step(rig: Rig) -> None:
    rig.fires("DiskFull")
    for _ in range(5):
        rig.passes("50s")
        rig.worker_services = build_worker_services(rig.services)
    rig.passes("49s")
    assert rig.triggered() == ["on-call"]
    rig.passes("1s")
    assert rig.triggered() == ["on-call", "team-lead"]


def test_everything_down_over_a_due_step(rig: Rig) -> None:
    """Overdue steps are told at once; the one after waits its full time, it had no time before."""
    rig.fires("DiskFull")
    rig.clock.moment += 3600
    rig.works()
    assert rig.paged() == ["on-call", "team-lead"]
    rig.passes("4m59s")
    assert rig.paged() == ["on-call", "team-lead"]
    rig.passes("1s")
    assert rig.paged() == ["on-call", "team-lead", "manager"]


def test_a_worker_whose_lease_ran_out_sends_nothing_more(rig: Rig) -> None:
    """It slept through its lease; another has taken over."""
    rig.posts(rig.alert("DiskFull"))
    incident = rig.services.work_queue.claim(SLACK, "asleep", rig.clock(), 1).incidents[0]
    rig.clock.moment += LEASE_S
    rig.services.work_queue.claim(SLACK, "awake", rig.clock(), 1)
    with pytest.raises(ClaimLost):
        rig.worker_services.reconciler.reconcile(incident, SLACK, "asleep")
    assert rig.slack.messages == []


def test_a_page_that_died_on_its_way_is_sent_when_it_fires_again(rig: Rig) -> None:
    """Whether the page had arrived was not known, yet the one who reopened took it for open and woke nobody."""
    rig.posts(rig.alert("DiskFull"))
    rig.clock.moment += 1
    kill_in(rig, PAGERDUTY, "before")
    rig.posts(rig.alert("DiskFull", ended=True, at=rig.clock() - 1))
    rig.posts(rig.alert("DiskFull"))
    rig.passes("3s")
    assert rig.paged() == ["on-call"]


def test_a_page_that_arrived_unnoticed_wakes_nobody_twice_when_it_fires_again(rig: Rig) -> None:
    rig.posts(rig.alert("DiskFull"))
    rig.clock.moment += 1
    kill_in(rig, PAGERDUTY, "after")
    rig.posts(rig.alert("DiskFull", ended=True, at=rig.clock() - 1))
    rig.posts(rig.alert("DiskFull"))
    rig.passes("3s")
    assert rig.paged() == ["on-call"]
    assert len(rig.pagerduty.opened()) == 1


def test_a_message_found_after_two_deaths_shows_how_it_ended(rig: Rig) -> None:
    """The first try arrived and showed it open, the second one was to show it resolved and died before: what
    was found was taken for the second, and the message stayed open for ever.
    """
    rig.posts(rig.alert("DiskFull"))
    rig.clock.moment += 1
    kill_in(rig, SLACK, "after")
    rig.posts(rig.alert("DiskFull", ended=True, at=rig.clock() - 1))
    rig.clock.moment += 3
    kill_in(rig, SLACK, "searching")
    rig.passes("10s")
    assert len(rig.roots()) == 1
    assert "esolved" in rig.roots()[0].text


@dataclass
class Sleepy:
    """A store after whose answer the process is stopped for a while, once."""

    rig: Rig
    seconds: float

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rig.services.incidents, name)

    def record_delivery(self, *args: Any, **options: Any) -> None:
        self.rig.services.incidents.record_delivery(*args, **options)
        self.rig.clock.moment += self.seconds
        self.seconds = 0.0


def test_a_worker_that_slept_between_noting_a_page_and_sending_it_sends_nothing(rig: Rig) -> None:
    """Meanwhile it resolved, and another told the pager so: sent now, the page would stay open for ever."""
    rig.posts(rig.alert("DiskFull"))
    rig.works((SLACK,))
    rig.clock.moment += 1
    (incident,) = rig.services.work_queue.claim(PAGERDUTY, "asleep", rig.clock(), 1).incidents
    services = replace(rig.services, incidents=Sleepy(rig, 10.0))  # type: ignore[arg-type]
    asleep = build_worker_services(services, keys=rig.keys).reconciler
    with pytest.raises(ClaimLost):
        asleep.reconcile(incident, PAGERDUTY, "asleep")
    assert rig.pagerduty.events == []
    rig.passes("5s")
    assert rig.paged() == ["on-call"]
