"""SIGHUP with real processes: changed secrets in mounted files, and a configuration that is refused."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.model.alert import fingerprint
from tests.cli.running import RECEIVER, TIMEOUT_S, Running, clean_environ, wait_until
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
    wait_until(running.is_ready, running.log)
    assert fire(running, "Before", "hook-old") == 200
    assert ask(running, "GET", "/", "api-old") == 200
    wait_until(pagerduty.triggers, running.log)

    write(running.folder, "new", NEW_KEY)
    running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(running.events("configuration reloaded")) == 2, running.log)
    wait_until(lambda: fire(running, "After", "hook-new") == 200, running.log)
    wait_until(lambda: fire(running, "After", "hook-old") in (401, 429), running.log)
    wait_until(lambda: ask(running, "GET", "/", "api-new") == 200, running.log)
    wait_until(lambda: ask(running, "GET", "/", "api-old") in (401, 429), running.log)
    wait_until(lambda: len(pagerduty.triggers()) == 2, running.log)
    assert [event.routing_key for event in pagerduty.triggers()] == [OLD_KEY, NEW_KEY]

    # Until it has ended, the former web process still accepts the former tokens.
    wait_until(lambda: "Worker exiting" in running.log(), running.log)

    (running.folder / "hook").write_text("")
    running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: running.events("configuration refused"), running.log)
    assert fire(running, "After", "hook-new") == 200

    for secret in ("hook-old", "hook-new", "api-old", "api-new", OLD_KEY, NEW_KEY):
        assert secret not in running.log() + running.output()


# --- a configuration that is refused ---

PLAIN = """\
version: 1
routes:
  - {match: [], channel: "#alerts"}
"""


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Running]:
    (tmp_path / "routing.yaml").write_text(PLAIN)
    running = Running(tmp_path)
    yield running
    if running.process.poll() is None:
        running.kill()


def get(running: Running, path: str) -> str:
    with urllib.request.urlopen(running.address + path, timeout=10) as answer:
        return answer.read().decode()


def config(running: Running) -> dict[str, str]:
    return dict(json.loads(get(running, "/api/v1/status"))["config"])


def reload_metric(running: Running) -> float:
    (line,) = [
        line
        for line in get(running, "/metrics").splitlines()
        if line.startswith("receiver_config_last_reload_successful ")
    ]
    return float(line.split()[1])


def test_a_refused_reload_is_reported_until_one_succeeds(plain: Running) -> None:
    wait_until(plain.is_ready, plain.log)
    before = config(plain)
    assert before["error"] is None
    assert reload_metric(plain) == 1

    (plain.folder / "routing.yaml").write_text(PLAIN + "colour: red\n")
    plain.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "worker on" in (config(plain)["error"] or ""), plain.log)
    error = config(plain)["error"]
    assert error.startswith("routing.yaml:4: unknown key 'colour'")
    assert "web on " in error
    assert config(plain)["loaded_at"] == before["loaded_at"]
    assert reload_metric(plain) == 0
    assert "A new configuration was refused." in get(plain, "/")

    (plain.folder / "routing.yaml").write_text(PLAIN.replace("#alerts", "#elsewhere"))
    plain.process.send_signal(signal.SIGHUP)
    wait_until(lambda: plain.is_ready() and config(plain)["error"] is None, plain.log)
    wait_until(lambda: plain.is_ready() and config(plain)["loaded_at"] > before["loaded_at"], plain.log)
    assert reload_metric(plain) == 1
    assert "refused" not in get(plain, "/")


def test_with_a_faulty_secret_web_process_and_worker_refuse_the_reload(tmp_path: Path) -> None:
    """Only the web process uses the webhook token; the worker must refuse the configuration, too."""
    (tmp_path / "routing.yaml").write_text(PLAIN)
    (tmp_path / "hook").write_text("hook-token")
    running = Running(tmp_path, RECEIVER_WEBHOOK_TOKEN="${file:hook}")
    try:
        wait_until(running.is_ready, running.log)
        (tmp_path / "hook").write_text("")
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "worker on" in (config(running)["error"] or ""), running.log)
        assert "web on" in config(running)["error"]
        assert "RECEIVER_WEBHOOK_TOKEN" in config(running)["error"]
    finally:
        running.end()


def test_a_web_process_reports_the_refused_reload_of_a_worker_on_another_host(
    plain: Running, tmp_path: Path
) -> None:
    """A worker with its own configuration on the same Redis, as on another host; later it is killed."""
    wait_until(plain.is_ready, plain.log)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "routing.yaml").write_text(PLAIN)
    log = elsewhere / "log"
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [*RECEIVER, "worker"],
            cwd=elsewhere,
            env=clean_environ(REDIS_URL=f"unix://{tmp_path}/.receiver/valkey.sock"),
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: "worker started" in log.read_text(), log.read_text)
        (elsewhere / "routing.yaml").write_text("version: 2\n")
        worker.send_signal(signal.SIGHUP)
        wait_until(lambda: config(plain)["error"], log.read_text)
        assert config(plain)["error"].endswith(f"(process {worker.pid})]")
        assert "web on" not in config(plain)["error"]
        assert reload_metric(plain) == 0
    finally:
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait(TIMEOUT_S)
    wait_until(lambda: config(plain)["error"] is None, log.read_text)
    assert reload_metric(plain) == 1


def test_the_time_of_the_last_webhook_survives_a_kill_of_all_processes(plain: Running) -> None:
    wait_until(plain.is_ready, plain.log)
    assert "no webhook has come yet" in get(plain, "/")
    assert ask(plain, "POST", "/webhooks/alertmanager?source=eu", "", {"alerts": []}) == 200

    def moments() -> dict[str, str]:
        return dict(json.loads(get(plain, "/api/v1/status"))["last_webhook_at"])

    (moment,) = moments().values()
    import redis

    with redis.Redis(unix_socket_path=str(plain.folder / ".receiver/valkey.sock")) as client:
        wait_until(lambda: client.hlen("rcv:webhooks"), plain.log)
    plain.kill()
    wait_until(lambda: not plain.left_over(), lambda: str(plain.left_over()))
    again = Running(plain.folder)
    try:
        wait_until(again.is_ready, again.log)
        assert dict(json.loads(get(again, "/api/v1/status"))["last_webhook_at"]) == {"eu": moment}
        assert "last webhook" in get(again, "/")
        assert 'receiver_last_webhook_timestamp_seconds{source="eu"}' in get(again, "/metrics")
    finally:
        again.end()
