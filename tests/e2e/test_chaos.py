"""kill -9 of any process at any instant while alerts arrive: nothing is lost, hardly anything doubled.

The commit determines the order of kills, or CHAOS_SEED does; CHAOS_SECONDS sets how long it lasts.
"""

from __future__ import annotations

import datetime as dt
import http.client
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.bodies import a_body
from tests.e2e.deployment import QUICK_ROUTING, Deployment
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.rig import NAMES
from tests.sampling import build_random

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="kills as Linux does"),
    pytest.mark.timeout(400),
]

SEED = int(os.environ.get("CHAOS_SEED") or build_random("chaos").randrange(1_000_000))
SECONDS = float(os.environ.get("CHAOS_SECONDS", "20"))
ALERTS_PER_S = 4.0
# This test does not measure rate limits, so they are high.
LIMITS = "limits: {slack_posts: 100/s, slack_updates: 6000/m, pagerduty: 6000/m}\n"


class Sender:
    """Posts alerts as Alertmanager does: a body that gets no 200 is sent again until it does."""

    def __init__(self, port: int, rng: random.Random) -> None:
        self.accepted: list[str] = []
        self.ended: set[str] = set()
        self._port = port
        self._rng = rng
        self._threads: list[threading.Thread] = []

    def send(self, name: str, *, ends_after_s: float | None) -> None:
        """Fire an alert and resolve it after *ends_after_s*, unless that is None; returns at once."""
        thread = threading.Thread(target=self._live, args=(name, ends_after_s), daemon=True)
        self._threads.append(thread)
        thread.start()

    def wait(self) -> None:
        for thread in self._threads:
            thread.join(120)

    def _live(self, name: str, ends_after_s: float | None) -> None:
        started = dt.datetime.now(dt.UTC)
        self._post_until_accepted(a_body(name, started=started))
        self.accepted.append(name)
        if ends_after_s is not None:
            time.sleep(ends_after_s)
            self._post_until_accepted(a_body(name, started=started, ended=dt.datetime.now(dt.UTC)))
            self.ended.add(name)

    def _post_until_accepted(self, body: dict[str, object]) -> None:
        deadline = time.monotonic() + 110
        while not self._is_accepted(body):
            assert time.monotonic() < deadline, "the webhook is never accepted"
            time.sleep(0.3 + self._rng.random() * 0.5)

    def _is_accepted(self, body: dict[str, object]) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/webhooks/alertmanager", json.dumps(body), headers)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class Killer:
    """Kills one process after the other, in an order given by its seed."""

    def __init__(self, deployment: Deployment, rng: random.Random) -> None:
        self.killed: list[str] = []
        self._deployment = deployment
        self._rng = rng

    def kill_one(self) -> None:
        whom = self._rng.choices(
            ("worker", "web", "gunicorn worker", "valkey", "supervisor"), (6, 3, 3, 3, 1)
        )[0]
        if whom == "supervisor":
            self._deployment.receiver.process.kill()
            self._deployment.receiver.process.wait(10)
            self._deployment.start_again()
        else:
            process = self._find(whom)
            if process is None:
                return
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.killed.append(whom)

    def _find(self, whom: str) -> int | None:
        receiver = self._deployment.receiver
        if whom != "gunicorn worker":
            return receiver.process_of(whom)
        children = list_children(receiver.process_of("web"))
        return self._rng.choice(children) if children else None


def list_children(process: int) -> list[int]:
    try:
        pids = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:  # it has ended, and its successor has not started yet
        return []
    return sorted(int(part) for part in pids)


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        deployment = Deployment(tmp_path, slack, pagerduty, QUICK_ROUTING + LIMITS, workers=2)
        yield deployment
        deployment.kill_everything()


def test_processes_killed_at_any_instant_lose_nothing_and_double_hardly_anything(
    deployment: Deployment,
) -> None:
    rng = random.Random(SEED)
    sender, killer = Sender(deployment.port, random.Random(SEED + 1)), Killer(deployment, rng)
    started, sent, next_kill_at = time.monotonic(), 0, 1.0
    while (passed := time.monotonic() - started) < SECONDS:
        if sent < passed * ALERTS_PER_S:
            sender.send(f"Alert{sent}", ends_after_s=rng.uniform(0, 6) if rng.random() < 0.4 else None)
            sent += 1
        if passed >= next_kill_at:
            killer.kill_one()
            next_kill_at = time.monotonic() - started + rng.uniform(0.3, 2.5)
        time.sleep(0.02)
    sender.wait()

    lasting = set(sender.accepted) - sender.ended
    assert len(sender.accepted) == sent
    deployment.wait_for(lambda: count_paged(deployment, lasting) == 3 * len(lasting), within_s=90)
    deployment.wait_for(lambda: not still_open(deployment, sender.ended), within_s=30)
    deployment.wait_for(lambda: len(find_roots(deployment)) == sent, within_s=30)
    deployment.wait_for(
        lambda: all(is_shown_resolved(deployment, name) for name in sender.ended), within_s=60
    )
    time.sleep(3)

    print(f"{sent} alerts, {len(killer.killed)} kills {sorted(killer.killed)}, seed {SEED}")
    print(f"Slack: {len(deployment.slack.messages)} messages, {count_doubled(deployment)} doubled")
    assert set(find_roots(deployment)) == set(sender.accepted)
    assert count_doubled(deployment) <= len(deployment.slack.messages) / 100
    assert count_paged(deployment, lasting) == 3 * len(lasting)
    assert not doubled_pages(deployment), "PagerDuty saw a second incident"


def find_roots(deployment: Deployment) -> dict[str, int]:
    """Return the number of messages for each alert."""
    found: dict[str, int] = {}
    for parent in deployment.slack.parents:
        name = find_name(parent.words)
        found[name] = found.get(name, 0) + 1
    return found


def find_name(words: str) -> str:
    return next(
        (part.strip("*:,()") for part in words.split() if part.strip("*:,()").startswith("Alert")), ""
    )


def count_doubled(deployment: Deployment) -> int:
    """Return how many messages and replies have the marker of another one."""
    marks = [json.dumps(message.metadata, sort_keys=True) for message in deployment.slack.messages]
    return len(marks) - len(set(marks))


def is_shown_resolved(deployment: Deployment, name: str) -> bool:
    return any(
        find_name(parent.words) == name and "esolved" in parent.text for parent in deployment.slack.parents
    )


def names_paged(deployment: Deployment) -> dict[tuple[str, str], int]:
    """Return how often PagerDuty paged each responder for each alert."""
    woken: dict[tuple[str, str], int] = {}
    for incident in deployment.pagerduty.opened():
        key = (find_name(incident.summary), NAMES[incident.routing_key])
        woken[key] = woken.get(key, 0) + 1
    return woken


def count_paged(deployment: Deployment, alerts: set[str]) -> int:
    return sum(name in alerts for name, _ in names_paged(deployment))


def doubled_pages(deployment: Deployment) -> dict[tuple[str, str], int]:
    return {key: times for key, times in names_paged(deployment).items() if times > 1}


def still_open(deployment: Deployment, alerts: set[str]) -> list[str]:
    return [one.summary for one in deployment.pagerduty.still_open() if find_name(one.summary) in alerts]
