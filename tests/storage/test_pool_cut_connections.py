"""A connection that is closed after Redis executed a command, before its answer: the command is sent twice."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.engine.jobs import JobQueue
from receiver.engine.queue import WorkQueue
from receiver.model.delivery import Delivery
from receiver.model.incident import TimelineEvent
from receiver.storage.connection import Client, connect
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.rig import START, Clock, Rig
from tests.script_clocks import SHARED_CLOCK


class Cutter:
    """A proxy on a Unix socket that, on request, drops an answer of Redis and closes the connection."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self._target = redis_url.removeprefix("unix://")
        path = folder / "cut.sock"
        self.url = f"unix://{path}"
        self.spared = 0  # so many answers are forwarded first
        self.cuts_left = 0
        self.cut = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client_side, _ = self._listener.accept()
                server_side = socket.socket(socket.AF_UNIX)
                server_side.connect(self._target)
                threading.Thread(
                    target=self._forward_commands, args=(client_side, server_side), daemon=True
                ).start()
                threading.Thread(
                    target=self._forward_answers, args=(server_side, client_side), daemon=True
                ).start()

    def _forward_commands(self, client_side: socket.socket, server_side: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client_side.recv(65536):
                server_side.sendall(data)
            server_side.shutdown(socket.SHUT_RDWR)

    def _forward_answers(self, server_side: socket.socket, client_side: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server_side.recv(65536):
                is_refusal = data.startswith(b"-")  # NOSCRIPT: the script was not executed
                if self.spared and not is_refusal:
                    self.spared -= 1
                elif self.cuts_left and not is_refusal:
                    self.cuts_left -= 1
                    self.cut += 1
                    break
                client_side.sendall(data)
        with contextlib.suppress(OSError):
            client_side.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def cutter(tmp_path: Path, valkey_url: str, redis_client: Client) -> Iterator[Cutter]:
    cutter = Cutter(tmp_path, valkey_url)
    yield cutter
    cutter.close()


@pytest.fixture
def rig(tmp_path: Path, cutter: Cutter) -> Iterator[Rig]:
    clock = Clock()
    with MockSlack(clock=clock) as slack, MockPagerDuty(clock=clock) as pagerduty:
        yield Rig(tmp_path, cutter.url, slack, pagerduty, clock)


@pytest.mark.parametrize("answers_before", [0, 1])
def test_an_alert_saved_twice_is_one_incident(rig: Rig, cutter: Cutter, answers_before: int) -> None:
    """The second commit finds the group changed by the first, reads it again and counts a duplicate."""
    rig.posts(rig.alert("Warm"))  # loads the scripts
    rig.works()
    cutter.cuts_left = 2 if answers_before == 0 else 1
    answer = rig.client.post("/webhooks/alertmanager", json=rig.payload(rig.alert("DiskFull")))
    assert answer.status_code in (200, 503)
    assert cutter.cut
    cutter.cuts_left = 0
    assert rig.posts(rig.alert("DiskFull"))["new"] in (0, 1)
    rig.works()
    assert rig.triggered() == ["on-call"] * 2
    assert len(rig.parents()) == 2


# A worker gets so many answers until everything is sent.
@pytest.mark.parametrize("number", range(24))
def test_whichever_answer_to_the_worker_is_lost_everything_is_sent_once(
    rig: Rig, cutter: Cutter, number: int
) -> None:
    incident = rig.posts(rig.alert("DiskFull"))["incidents"][0]
    cutter.spared, cutter.cuts_left = number, 1
    rig.works()
    rig.clock.moment += 3.0  # a lease whose answer was lost has expired
    rig.works()
    assert cutter.cut == 1
    texts = [event["text"] for event in rig.shows(incident)["timeline"]]
    assert len(texts) == len(set(texts)), texts
    assert rig.triggered() == ["on-call"]
    assert len(rig.parents()) == 1


def test_a_delivery_saved_twice_is_shown_once(rig: Rig, cutter: Cutter) -> None:
    incident = rig.fires("DiskFull")
    before = len(rig.shows(incident)["timeline"])
    event = TimelineEvent(START, "delivered", "Something arrived")
    cutter.cuts_left = 1
    rig.services.incidents.record_delivery(incident, "test", Delivery("x", attempts=1), events=(event,))
    assert cutter.cut == 1
    assert len(rig.shows(incident)["timeline"]) == before + 1


def test_a_signature_stored_twice_is_not_a_replay(cutter: Cutter) -> None:
    """Else a click whose signature was stored twice would be refused as a replay of itself."""
    job_queue = JobQueue(connect(cutter.url), script_clock=SHARED_CLOCK)
    cutter.cuts_left = 1
    assert job_queue.record_once("slack", "signature", 60)
    assert cutter.cut == 1
    assert not job_queue.record_once("slack", "signature", 60)


def test_a_lease_whose_reply_was_lost_expires(cutter: Cutter) -> None:
    work_queue = WorkQueue(connect(cutter.url), script_clock=SHARED_CLOCK)
    work_queue.enqueue("slack", "a-1", START)
    work_queue.claim("slack", "w0", START - 1, 1)
    cutter.cuts_left = 1
    assert work_queue.claim("slack", "w1", START, 1).entries == ()
    assert work_queue.claim("slack", "w1", START + 3, 1).entries == ("a-1",)
