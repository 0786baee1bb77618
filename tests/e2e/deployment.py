"""A receiver as real processes between real Alertmanagers and the mock Slack and PagerDuty."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.cli.running import Running, wait_until
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.rig import KEYS, NAMES, ROUTING, UNLIMITED
from tests.slack_people import SECRET as SLACK_SECRET
from tests.support.ports import free_port

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")

QUICK_ROUTING = ROUTING.replace("after: 5m", "after: 4s").replace("after: 30m", "after: 4s")


class Deployment:
    """Starts, kills and restarts the receiver; the results are read from the mocks."""

    def __init__(
        self,
        folder: Path,
        slack: MockSlack,
        pagerduty: MockPagerDuty,
        routing: str = ROUTING,
        *,
        port: int = 0,
        workers: int = 1,
        **environ: str,
    ) -> None:
        """*workers* is the number of web processes: each takes a second of CPU time to start."""
        self.folder = folder
        self.slack = slack
        self.pagerduty = pagerduty
        self.port = port or free_port()
        self.workers = workers
        self.environ = environ
        (folder / "routing.yaml").write_text(routing if "limits:" in routing else routing + UNLIMITED)
        (folder / "runbooks").mkdir(exist_ok=True)
        self.receiver = self._start()

    def _start(self) -> Running:
        running = Running(
            self.folder,
            "--listen",
            f"127.0.0.1:{self.port}",
            "--workers",
            str(self.workers),
            SLACK_BOT_TOKEN="xoxb-test",
            SLACK_API_URL=self.slack.url,
            SLACK_SIGNING_SECRET=SLACK_SECRET,
            PAGERDUTY_EVENTS_URL=self.pagerduty.url,
            PAGERDUTY_API_URL=self.pagerduty.url,
            PAGERDUTY_API_TOKEN="rest-token",
            PAGERDUTY_WEBHOOK_SECRET="pagerduty-secret",
            **KEYS,
            **self.environ,
        )
        try:
            wait_until(running.is_ready, running.log)
        except AssertionError:
            running.kill()
            raise
        return running

    def kill_everything(self) -> None:
        """Kill with kill -9, first the supervisor and then all processes that are left."""
        self.receiver.process.kill()
        for line in self.receiver.left_over():
            with suppress(ProcessLookupError):
                os.kill(int(line.partition(" ")[0]), signal.SIGKILL)
        self.receiver.process.wait(10)

    def start_again(self) -> None:
        self.receiver = self._start()

    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(
                "POST", "/webhooks/alertmanager", json.dumps(body), {"Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            return dict(json.loads(answer.read()))
        finally:
            connection.close()

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Send a request to the API; return status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, json.dumps(body or {}), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, dict(json.loads(answer.read()))
        finally:
            connection.close()

    def post_at_once(self, bodies: list[dict[str, Any]]) -> None:
        """Post all of *bodies* at the same instant, each on its own connection."""
        start = threading.Barrier(len(bodies))

        def post(body: dict[str, Any]) -> None:
            start.wait(10)
            self.post(body)

        threads = [threading.Thread(target=post, args=(body,)) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

    def paged(self) -> list[str]:
        return [NAMES[incident.routing_key] for incident in self.pagerduty.opened()]

    def paged_at(self) -> dict[str, float]:
        return {NAMES[incident.routing_key]: incident.opened_at for incident in self.pagerduty.opened()}

    def wait_for(self, is_so: Callable[[], object], within_s: float = 15.0) -> None:
        """Wait until *is_so* returns true; otherwise fail with the received messages and pages."""
        deadline = time.monotonic() + within_s
        while not is_so():
            assert time.monotonic() < deadline, self.describe()
            time.sleep(0.02)

    def describe(self) -> str:
        messages = [(message.channel, message.text[:80]) for message in self.slack.messages]
        events = [(event.action, NAMES[event.routing_key]) for event in self.pagerduty.events]
        return f"Slack: {messages}\nPagerDuty: {events}\n{self.receiver.log()[-3000:]}"


# Short intervals of Alertmanager's notifications, so that a test gets repeated ones too.
QUICK_PACE = "group_wait: 500ms, group_interval: 1s, repeat_interval: 2s"


class Alertmanagers:
    """A pair of real Alertmanagers that gossip with each other and post to the receiver."""

    def __init__(
        self,
        folder: Path,
        url: str,
        ports: list[int] | None = None,
        *,
        route: str = "group_by: [alertname]",
        pace: str = QUICK_PACE,
    ) -> None:
        self.ports = ports or [free_port(), free_port()]
        cluster = [free_port(), free_port()]
        self._config, self._url, self._pace = folder / "alertmanager.yml", url, pace
        config = self._config
        self._write_config(route)
        self._processes = []
        for n in (0, 1):
            log = (folder / f"alertmanager-{n}.log").open("wb")
            command = [
                str(ALERTMANAGER),
                f"--config.file={config}",
                f"--storage.path={folder}/alertmanager-{n}",
                f"--web.listen-address=127.0.0.1:{self.ports[n]}",
                f"--web.external-url=http://alertmanager-{n}:9093",
                "--web.route-prefix=/",
                f"--cluster.listen-address=127.0.0.1:{cluster[n]}",
                "--cluster.advertise-address=127.0.0.1:" + str(cluster[n]),
                f"--cluster.peer=127.0.0.1:{cluster[1 - n]}",
                "--cluster.peer-timeout=300ms",
                "--cluster.settle-timeout=500ms",
                "--cluster.gossip-interval=50ms",
            ]
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log))
            log.close()
        wait_until(lambda: all(self._answers(port) for port in self.ports))

    def _write_config(self, route: str, receivers: Sequence[str] = ("the.receiver",)) -> None:
        """Write a route with its children, and *receivers*, which all use our webhook."""
        webhook = f"{{url: '{self._url}/webhooks/alertmanager', send_resolved: true}}"
        named = ", ".join(f"{{name: {name}, webhook_configs: [{webhook}]}}" for name in receivers)
        self._config.write_text(
            f"route: {{receiver: {receivers[0]}, {route}, {self._pace}}}\nreceivers: [{named}]\n"
        )

    def reload(
        self, route: str = "group_by: [alertname]", receivers: Sequence[str] = ("the.receiver",)
    ) -> None:
        """Let both reload their configuration; with another route the groups get other keys."""
        self._write_config(route, receivers)
        for port in self.ports:
            assert self._request(port, "POST", "/-/reload", None) == 200

    def refused(self) -> list[float]:
        """Return the number of failed notification attempts of each Alertmanager."""
        return [self._count_refused(port) for port in self.ports]

    @staticmethod
    def _count_refused(port: int) -> float:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        name = 'alertmanager_notification_requests_failed_total{integration="webhook"}'
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def _answers(self, port: int) -> bool:
        try:
            return self._request(port, "GET", "/-/ready", None) == 200
        except OSError:
            return False

    @staticmethod
    def _request(port: int, method: str, path: str, body: object) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
            return connection.getresponse().status
        finally:
            connection.close()

    def send(self, *alerts: dict[str, Any]) -> None:
        """Send the alerts to both, as Prometheus does."""
        for port in self.ports:
            assert self._request(port, "POST", "/api/v2/alerts", list(alerts)) == 200

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
