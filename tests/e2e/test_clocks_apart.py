"""A web process and workers on hosts whose clocks are 30 s apart, as real processes on one Redis."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import RECEIVER, clean_environ
from tests.e2e.bodies import a_body
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.redis_servers import Server, needs_redis, wait_until
from tests.rig import KEYS, ROUTING, UNLIMITED
from tests.support.ports import free_port

pytestmark = [
    needs_redis,
    pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD and glibc are Linux' own"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed (Debian: apt install gcc)"),
]
SOURCE = Path(__file__).parents[1] / "support" / "shifted_clock.c"
APART_S = 30


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("shim") / "shifted_clock.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", str(built), str(SOURCE), "-ldl"], check=True)
    return built


class Hosts:
    """Processes that share one Redis, each with its own clock."""

    def __init__(self, folder: Path, shim: Path, slack: MockSlack, pagerduty: MockPagerDuty) -> None:
        self.folder = folder
        self.slack, self.pagerduty = slack, pagerduty
        self.redis = Server(folder / "redis").start()
        self.port = free_port()
        self._shim = shim
        self._processes: list[subprocess.Popen[bytes]] = []
        (folder / "routing.yaml").write_text(ROUTING + UNLIMITED)
        (folder / "runbooks").mkdir()

    def start(self, *arguments: str, ahead_s: int = 0) -> subprocess.Popen[bytes]:
        environ = clean_environ(
            REDIS_URL=self.redis.url,
            SLACK_BOT_TOKEN="xoxb-test",
            SLACK_API_URL=self.slack.url,
            PAGERDUTY_EVENTS_URL=self.pagerduty.url,
            **KEYS,
        )
        if ahead_s:
            environ |= {"LD_PRELOAD": str(self._shim), "LD_SHIFTED_CLOCK_S": str(ahead_s)}
        log = self.folder / f"log-{len(self._processes)}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*RECEIVER, *arguments], cwd=self.folder, env=environ, stdout=output, stderr=output
            )
        self._processes.append(process)
        return process

    def start_web(self, ahead_s: int = 0) -> None:
        self.start("web", "--listen", f"127.0.0.1:{self.port}", "--workers", "1", ahead_s=ahead_s)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, dict(json.loads(answer.read()))
        finally:
            connection.close()

    def is_ready(self) -> bool:
        try:
            return self.ask("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def log(self) -> str:
        logs = [(self.folder / f"log-{n}").read_text()[-2000:] for n in range(len(self._processes))]
        ends = [f"process {n}, exit status {one.poll()}" for n, one in enumerate(self._processes)]
        return "\n".join(f"{end}\n{log}" for end, log in zip(ends, logs, strict=True))

    def post(self, name: str) -> None:
        status, answer = self.ask("POST", "/webhooks/alertmanager", a_body(name))
        assert status == 200, answer

    def end(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            try:
                process.wait(12)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
        self.redis.kill()


@pytest.fixture
def hosts(tmp_path: Path, shim: Path) -> Iterator[Hosts]:
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        hosts = Hosts(tmp_path, shim, slack, pagerduty)
        try:
            yield hosts
        finally:
            hosts.end()


@pytest.mark.parametrize("ahead_s", [APART_S, -APART_S])
def test_with_differing_clocks_pages_are_prompt_and_the_difference_is_reported(
    hosts: Hosts, ahead_s: int
) -> None:
    hosts.start("worker")
    hosts.start_web(ahead_s)
    wait_until(hosts.is_ready, hosts.log)
    hosts.post("Warm")  # loads all modules and scripts
    wait_until(lambda: len(hosts.pagerduty.opened()) == 1, hosts.log)
    started = time.monotonic()
    hosts.post("DiskFull")
    wait_until(lambda: len(hosts.pagerduty.opened()) == 2, hosts.log)
    assert time.monotonic() - started < 2.0
    wait_until(lambda: len(hosts.slack.parents) == 2, hosts.log, 3.0)
    for _ in range(10):
        assert hosts.ask("GET", "/readyz")[0] == 200
        time.sleep(0.2)
    clocks = hosts.ask("GET", "/api/v1/status")[1]["clocks"]
    ahead = {row["process"].partition(" ")[0]: row["ahead_s"] for row in clocks}
    assert ahead == {"web": pytest.approx(ahead_s, abs=1.0), "worker": pytest.approx(0.0, abs=1.0)}


def test_equal_clocks_are_not_reported(hosts: Hosts) -> None:
    hosts.start("worker")
    hosts.start_web()
    wait_until(hosts.is_ready, hosts.log)
    assert hosts.ask("GET", "/api/v1/status")[1]["clocks"] == []


@pytest.mark.parametrize("ahead_s", [APART_S, -APART_S])
def test_the_leases_of_a_killed_worker_expire_within_three_seconds(hosts: Hosts, ahead_s: int) -> None:
    killed = hosts.start("worker", ahead_s=ahead_s)
    hosts.start_web()
    wait_until(hosts.is_ready, hosts.log)
    hosts.post("Warm")
    wait_until(lambda: len(hosts.pagerduty.opened()) == 1, hosts.log)
    other = hosts.start("worker")
    wait_until(lambda: hosts.ask("GET", "/readyz")[1]["workers"] == 2, hosts.log)
    other.send_signal(signal.SIGSTOP)  # so that the page is not its own
    hosts.pagerduty.hang(30.0)
    hosts.post("DiskFull")
    wait_until(lambda: len(hosts.pagerduty.triggers()) == 2, hosts.log)
    other.send_signal(signal.SIGCONT)
    time.sleep(3.0)
    assert len(hosts.pagerduty.triggers()) == 2  # the lease is respected, whatever the clocks show
    killed.send_signal(signal.SIGKILL)
    started = time.monotonic()
    wait_until(lambda: len(hosts.pagerduty.triggers()) == 3, hosts.log)
    assert time.monotonic() - started < 3.0
    assert len(hosts.pagerduty.opened()) == 2
