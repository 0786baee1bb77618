"""How gunicorn stops and reloads: running requests are finished, a faulty configuration is refused."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import clean_environ, wait_until

SERVING = Path(__file__).parent / "serving.py"


class Serving:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configure("first")
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(SERVING)], cwd=folder, env=clean_environ(TMPDIR=str(folder)), stderr=log
            )
        wait_until((folder / "port").exists, self.log)
        self.port = int((folder / "port").read_text())

    def configure(self, text: str) -> None:
        (self.folder / "routing").write_text(text)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def ask(self, path: str = "/") -> str:
        connection = self.connect()
        connection.request("GET", path)
        return connection.getresponse().read().decode()

    def exchange(self, request: bytes) -> bytes:
        """Send the bytes and return everything that is received until the connection is closed."""
        response = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=15) as client:
            try:
                client.sendall(request)
                client.shutdown(socket.SHUT_WR)
                while data := client.recv(65536):
                    response += data
            except OSError:  # the server has closed the connection
                pass
        return response


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    serving = Serving(tmp_path)
    serving.ask()
    yield serving
    serving.process.kill()
    serving.process.wait(5)


def test_a_running_request_is_finished_before_the_server_stops(serving: Serving) -> None:
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(serving.ask("/slow")))
    asking.start()
    wait_until((serving.folder / "asked").exists, serving.log)
    serving.process.send_signal(signal.SIGTERM)
    asking.join(10)
    assert answers[0].startswith("first")
    assert serving.process.wait(10) == 0


def test_idle_connections_do_not_delay_the_stop(serving: Serving) -> None:
    idle = [serving.connect() for _ in range(5)]
    for connection in idle:
        connection.request("GET", "/")
        connection.getresponse().read()
    started = time.monotonic()
    serving.process.send_signal(signal.SIGTERM)
    serving.process.wait(10)
    assert time.monotonic() - started < 3
    assert "Traceback" not in serving.log()


def test_a_reload_refuses_a_faulty_configuration_and_applies_a_valid_one(serving: Serving) -> None:
    before = serving.ask()
    serving.configure("faulty")
    serving.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "configuration refused" in serving.log(), serving.log)
    assert serving.ask().split()[0] == "first"
    assert before.split()[0] == "first"

    serving.configure("second")
    serving.process.send_signal(signal.SIGHUP)
    wait_until(lambda: serving.ask().startswith("second"), serving.log)


def test_no_request_is_rejected_during_a_reload(serving: Serving) -> None:
    serving.configure("second")
    serving.process.send_signal(signal.SIGHUP)
    answers = [serving.ask()]
    while not answers[-1].startswith("second"):
        answers.append(serving.ask())
        assert len(answers) < 10_000
    assert all(response.split()[0] in {"first", "second"} for response in answers)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_the_workers_end_when_their_master_is_killed(serving: Serving) -> None:
    workers = {int(serving.ask().split()[1]) for _ in range(20)}
    serving.process.kill()
    serving.process.wait(5)

    def is_alive(worker: int) -> bool:
        try:
            return bool(Path(f"/proc/{worker}/cmdline").read_bytes())
        except OSError:
            return False

    wait_until(lambda: not any(is_alive(worker) for worker in workers), serving.log)


def test_the_metrics_folder_is_removed_at_the_stop(serving: Serving) -> None:
    assert list(serving.folder.glob("receiver-metrics-*"))
    serving.process.send_signal(signal.SIGTERM)
    serving.process.wait(10)
    assert not list(serving.folder.glob("receiver-metrics-*"))


def test_no_control_file_is_left_in_the_folder(serving: Serving) -> None:
    assert not list(serving.folder.glob("*.ctl"))
    assert not list(serving.folder.glob("*.sock"))


@pytest.mark.parametrize("module", ["receiver.web.gunicorn", "receiver.cli.run"])
def test_master_and_supervisor_import_no_client_of_other_servers(module: str) -> None:
    """gevent must patch the sockets of these modules in the workers first; the supervisor uses no memory for them."""
    code = f"import sys, {module}; print(sorted({{'redis', 'requests', 'urllib3'}} & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == "[]"
