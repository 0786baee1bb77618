"""Secrets in mounted files that change: after SIGHUP the new one is valid, and the old one not."""

from __future__ import annotations

import http.client
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.domain.alert import fingerprint
from tests.cli.running import Running, until
from tests.mocks.pagerduty import MockPagerDuty
from tests.rig import KEYS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals as Linux does")

ROUTING = """\
version: 1
responders:
  on-call: {pagerduty: {routing_key: "${file:pager}"}}
escalations:
  critical: [{notify: on-call}]
routes:
  - {match: [], channel: "#alerts", escalation: critical}
"""
OLD_KEY, NEW_KEY = list(KEYS.values())[:2]


@pytest.fixture
def pagerduty() -> Iterator[MockPagerDuty]:
    with MockPagerDuty() as pagerduty:
        yield pagerduty


@pytest.fixture
def running(tmp_path: Path, pagerduty: MockPagerDuty) -> Iterator[Running]:
    (tmp_path / "routing.yaml").write_text(ROUTING)
    write(tmp_path, "old", OLD_KEY)
    running = Running(
        tmp_path,
        RECEIVER_WEBHOOK_TOKEN="${file:hook}",
        RECEIVER_API_TOKEN=f"${{file:{tmp_path}/api}}",
        PAGERDUTY_EVENTS_URL=pagerduty.url,
    )
    yield running
    if running.process.poll() is None:
        running.kill()


def write(folder: Path, age: str, key: str) -> None:
    (folder / "hook").write_text(f"hook-{age}\n")
    (folder / "api").write_text(f"api-{age}\n")
    (folder / "pager").write_text(f"{key}\n")


def ask(running: Running, method: str, path: str, token: str, body: object = None) -> int:
    connection = http.client.HTTPConnection(running.address.removeprefix("http://"), timeout=10)
    try:
        connection.request(method, path, json.dumps(body), {"Authorization": f"Bearer {token}"})
        return connection.getresponse().status
    finally:
        connection.close()


def fire(running: Running, name: str, token: str) -> int:
    labels = {"alertname": name, "severity": "critical"}
    alert = {"status": "firing", "labels": labels, "fingerprint": fingerprint(labels)}
    body = {"version": "4", "groupKey": name, "alerts": [alert], "groupLabels": {"alertname": name}}
    return ask(running, "POST", "/webhooks/alertmanager", token, body)


def test_a_secret_in_a_file_is_read_again_on_sighup(running: Running, pagerduty: MockPagerDuty) -> None:
    until(running.is_ready, running.log)
    assert fire(running, "Before", "hook-old") == 200
    assert ask(running, "GET", "/", "api-old") == 200
    until(pagerduty.triggers, running.log)

    write(running.folder, "new", NEW_KEY)
    running.process.send_signal(signal.SIGHUP)
    until(lambda: len(running.events("configuration reloaded")) == 2, running.log)
    until(lambda: fire(running, "After", "hook-new") == 200, running.log)
    until(lambda: fire(running, "After", "hook-old") in (401, 429), running.log)
    until(lambda: ask(running, "GET", "/", "api-new") == 200, running.log)
    until(lambda: ask(running, "GET", "/", "api-old") in (401, 429), running.log)
    until(lambda: len(pagerduty.triggers()) == 2, running.log)
    assert [event.routing_key for event in pagerduty.triggers()] == [OLD_KEY, NEW_KEY]

    # Until it has gone, the web worker from before knows the former tokens.
    until(lambda: "Worker exiting" in running.log(), running.log)

    (running.folder / "hook").write_text("")
    running.process.send_signal(signal.SIGHUP)
    until(lambda: running.events("configuration refused"), running.log)
    assert fire(running, "After", "hook-new") == 200

    for secret in ("hook-old", "hook-new", "api-old", "api-new", OLD_KEY, NEW_KEY):
        assert secret not in running.log() + running.said()
