"""kill -9 of any process at any instant, while alerts keep coming: nothing lost, hardly anything doubled.

The commit chooses the order of kills, or CHAOS_SEED does; CHAOS_SECONDS lets it last longer.
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
from tests.e2e.outside import QUICK_ROUTING, Outside
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
# What they would take in a minute must not be what this test measures.
LIMITS = "limits: {slack_posts: 100/s, slack_updates: 6000/m, pagerduty: 6000/m}\n"


class Sender:
    """Posts alerts as Alertmanager does: what is not answered 200 comes again until it is."""

    def __init__(self, port: int, rng: random.Random) -> None:
        self.accepted: list[str] = []
        self.ended: set[str] = set()
        self._port = port
        self._rng = rng
        self._threads: list[threading.Thread] = []

    def send(self, name: str, *, ends_after_s: float | None) -> None:
        """Let an alert fire, and end after a while, if it does; returns at once."""
        thread = threading.Thread(target=self._live, args=(name, ends_after_s), daemon=True)
        self._threads.append(thread)
        thread.start()

    def wait(self) -> None:
        for thread in self._threads:
            thread.join(120)

    def _live(self, name: str, ends_after_s: float | None) -> None:
        started = dt.datetime.now(dt.UTC)
        self._post_until_taken(a_body(name, started=started))
        self.accepted.append(name)
        if ends_after_s is not None:
            time.sleep(ends_after_s)
            self._post_until_taken(a_body(name, started=started, ended=dt.datetime.now(dt.UTC)))
            self.ended.add(name)

    def _post_until_taken(self, body: dict[str, object]) -> None:
        deadline = time.monotonic() + 110
        while not self._is_taken(body):
            assert time.monotonic() < deadline, "nobody takes it"
            time.sleep(0.3 + self._rng.random() * 0.5)

    def _is_taken(self, body: dict[str, object]) -> bool:
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
    """Kills one process after the other, as its seed says."""

    def __init__(self, outside: Outside, rng: random.Random) -> None:
        self.killed: list[str] = []
        self._outside = outside
        self._rng = rng

    def kill_one(self) -> None:
        whom = self._rng.choices(
            ("worker", "web", "gunicorn worker", "valkey", "supervisor"), (6, 3, 3, 3, 1)
        )[0]
        if whom == "supervisor":
            self._outside.receiver.process.kill()
            self._outside.receiver.process.wait(10)
            self._outside.start_again()
        else:
            process = self._find(whom)
            if process is None:
                return
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.killed.append(whom)

    def _find(self, whom: str) -> int | None:
        receiver = self._outside.receiver
        if whom != "gunicorn worker":
            return receiver.process_of(whom)
        children = list_children(receiver.process_of("web"))
        return self._rng.choice(children) if children else None


def list_children(process: int) -> list[int]:
    try:
        words = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:  # it is dead, and its successor not born yet
        return []
    return sorted(int(word) for word in words)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        outside = Outside(tmp_path, slack, pagerduty, QUICK_ROUTING + LIMITS)
        yield outside
        outside.kill_everything()


def test_processes_killed_at_any_instant_lose_nothing_and_double_hardly_anything(outside: Outside) -> None:
    rng = random.Random(SEED)
    sender, killer = Sender(outside.port, random.Random(SEED + 1)), Killer(outside, rng)
    begun, sent, next_kill_at = time.monotonic(), 0, 1.0
    while (passed := time.monotonic() - begun) < SECONDS:
        if sent < passed * ALERTS_PER_S:
            sender.send(f"Alert{sent}", ends_after_s=rng.uniform(0, 6) if rng.random() < 0.4 else None)
            sent += 1
        if passed >= next_kill_at:
            killer.kill_one()
            next_kill_at = time.monotonic() - begun + rng.uniform(0.3, 2.5)
        time.sleep(0.02)
    sender.wait()

    lasting = set(sender.accepted) - sender.ended
    assert len(sender.accepted) == sent
    outside.sees(lambda: count_paged(outside, lasting) == 3 * len(lasting), within_s=90)
    outside.sees(lambda: not still_open(outside, sender.ended), within_s=30)
    outside.sees(lambda: len(find_roots(outside)) == sent, within_s=30)
    outside.sees(lambda: all(is_shown_resolved(outside, name) for name in sender.ended), within_s=60)
    time.sleep(3)

    print(f"{sent} alerts, {len(killer.killed)} kills {sorted(killer.killed)}, seed {SEED}")
    print(f"Slack: {len(outside.slack.messages)} messages, {count_doubled(outside)} doubled")
    assert set(find_roots(outside)) == set(sender.accepted)
    assert count_doubled(outside) <= len(outside.slack.messages) / 100
    assert count_paged(outside, lasting) == 3 * len(lasting)
    assert not doubled_pages(outside), "PagerDuty saw a second incident"


def find_roots(outside: Outside) -> dict[str, int]:
    """Return the alerts that have a message, and how many each."""
    found: dict[str, int] = {}
    for root in outside.slack.roots:
        name = find_name(root.words)
        found[name] = found.get(name, 0) + 1
    return found


def find_name(words: str) -> str:
    return next(
        (word.strip("*:,()") for word in words.split() if word.strip("*:,()").startswith("Alert")), ""
    )


def count_doubled(outside: Outside) -> int:
    """Return how many messages and replies carry a mark that another one carries."""
    marks = [json.dumps(message.metadata, sort_keys=True) for message in outside.slack.messages]
    return len(marks) - len(set(marks))


def is_shown_resolved(outside: Outside, name: str) -> bool:
    return any(find_name(root.words) == name and "esolved" in root.text for root in outside.slack.roots)


def names_paged(outside: Outside) -> dict[tuple[str, str], int]:
    """Return how often PagerDuty woke each responder for each alert."""
    woken: dict[tuple[str, str], int] = {}
    for incident in outside.pagerduty.opened():
        key = (find_name(incident.summary), NAMES[incident.routing_key])
        woken[key] = woken.get(key, 0) + 1
    return woken


def count_paged(outside: Outside, alerts: set[str]) -> int:
    return sum(name in alerts for name, _ in names_paged(outside))


def doubled_pages(outside: Outside) -> dict[tuple[str, str], int]:
    return {key: times for key, times in names_paged(outside).items() if times > 1}


def still_open(outside: Outside, alerts: set[str]) -> list[str]:
    return [one.summary for one in outside.pagerduty.still_open() if find_name(one.summary) in alerts]
