"""What is measured, as processes of our own on 127.0.0.1: started, waited for, and stopped by their id."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from redis import Redis

from bench.floor import WORKERS
from receiver.process import kill_process_group, start_child
from receiver.standalone.valkey import EmbeddedValkey
from receiver.web.server.listen import ListenAddress, open_listener

ROOT = Path(__file__).resolve().parent.parent
ROUTING = ROOT / "routing.yaml"
READY_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 10.0


@contextmanager
def valkey(folder: Path) -> Iterator[str]:
    """Run a Valkey as `receiver run` does; give its address."""
    folder.mkdir()
    server = EmbeddedValkey(folder)
    process = server.start()
    try:
        server.wait_ready(process)
        # Writing its file anew, once it has grown to 64 MB, would fall into a round of one side only.
        with Redis.from_url(server.url) as client:
            client.config_set("auto-aof-rewrite-percentage", 0)
        yield server.url
    finally:
        _stop(process)


@contextmanager
def floor(folder: Path) -> Iterator[int]:
    """Run the floor on a Valkey of its own; give its port."""
    with valkey(folder) as url, _web(["-m", "bench.floor"], folder, {"REDIS_URL": url}) as port:
        yield port


@contextmanager
def receiver_web(folder: Path) -> Iterator[int]:
    """Run the receiver's web side alone on a Valkey of its own; give its port."""
    with valkey(folder) as url, _web(_web_command(ROUTING), folder, {"REDIS_URL": url}) as port:
        yield port


@contextmanager
def receiver_whole(folder: Path, routing: Path, **environ: str) -> Iterator[int]:
    """Run the receiver's web side and a worker on a Valkey of their own; give its port."""
    with valkey(folder) as url:
        settings = {"REDIS_URL": url, **environ}
        worker = ["-m", "receiver", "worker", "--config", str(routing)]
        with (
            _process(worker, folder / "worker", settings),
            _web(_web_command(routing), folder, settings) as port,
        ):
            yield port


def _web_command(routing: Path) -> list[str]:
    return ["-m", "receiver", "web", "--config", str(routing), "--workers", str(WORKERS), "--fd"]


@contextmanager
def _web(command: Sequence[str], folder: Path, environ: dict[str, str]) -> Iterator[int]:
    """Run a web side that takes its socket's number as the last argument, until it answers anything."""
    with open_listener(ListenAddress("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        number = listener.fileno()
        with _process([*command, str(number)], folder / "web", environ, fds=[number]):
            listener.close()
            asked = HTTPConnection("127.0.0.1", port, timeout=READY_TIMEOUT_S)
            asked.request("GET", "/healthz")
            asked.getresponse().read()
            asked.close()
            yield port


@contextmanager
def _process(
    command: Sequence[str], folder: Path, environ: dict[str, str], fds: Sequence[int] = ()
) -> Iterator[None]:
    """Run Python with *command*; its log is shown when something goes wrong meanwhile."""
    folder.mkdir()
    # Nothing of the user's own settings: a bench must reach no real Slack.
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    ours = {"PYTHONPATH": str(ROOT), "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    log = folder / "log"
    with log.open("wb") as output:
        process = start_child(
            [sys.executable, *command], {**kept, **ours, **environ}, pass_fds=fds, output=output
        )
    try:
        yield
    except BaseException:
        sys.stderr.write(log.read_text()[-4000:])
        raise
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        kill_process_group(process)
