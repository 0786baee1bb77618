"""Commands in broken surroundings: empty variables, and folders that are not writable."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.running import RECEIVER, ROUTING, TIMEOUT_S, Running, call, clean_environ, wait_until

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="looks at /proc, and limits files as Linux does"
)

# Our variables, gunicorn's, and those of Python, systemd and a shell.
VARIABLES = [
    "WEB_CONCURRENCY",
    "PORT",
    "SENDFILE",
    "GUNICORN_PID",
    "GUNICORN_FD",
    "GUNICORN_CMD_ARGS",
    "LISTEN_PID",
    "LISTEN_FDS",
    "FORWARDED_ALLOW_IPS",
    "PROMETHEUS_MULTIPROC_DIR",
    "prometheus_multiproc_dir",
    "RECEIVER_RUN_ID",
    "SLACK_BOT_TOKEN",
    "PUBLIC_URL",
    "RECEIVER_API_TOKEN",
    "TMPDIR",
    "HOME",
    "USER",
    "XDG_RUNTIME_DIR",
    "NOTIFY_SOCKET",
]
NOWHERE = "redis://127.0.0.1:1"


def no_files() -> None:
    """Forbid this process to write into any file, as on a full disk; this applies to root, too."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def end(folder: Path, *arguments: str, limit: Callable[[], None] | None = None, **environ: str) -> str:
    """Return the standard error output of `receiver ARGUMENTS`, which must fail to start."""
    (folder / "routing.yaml").write_text(ROUTING)
    ended = subprocess.run(
        [*RECEIVER, *arguments],
        cwd=folder,
        env=clean_environ(**environ),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        preexec_fn=limit,
    )
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


class Web:
    """`receiver web` in *folder*."""

    def __init__(self, folder: Path, **environ: str) -> None:
        (folder / "routing.yaml").write_text(ROUTING)
        self._log = folder.parent / f"{folder.name}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*RECEIVER, "web", "--listen", "127.0.0.1:0", "--workers", "1"],
                cwd=folder,
                env=clean_environ(REDIS_URL=NOWHERE, **environ),
                stdout=log,
                stderr=log,
            )

    def log(self) -> str:
        return self._log.read_text()

    def serves_and_ends(self) -> bool:
        try:
            wait_until(lambda: "Booting worker" in self.log() or self.process.poll() is not None, self.log)
            self.process.send_signal(signal.SIGTERM)
            return self.process.wait(TIMEOUT_S) == 0
        finally:
            self.process.kill()


@pytest.fixture
def empty_folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "empty"
    folder.mkdir()
    yield folder
    assert [path.name for path in folder.iterdir()] == ["routing.yaml"]


def test_web_treats_empty_variables_as_unset(empty_folder: Path) -> None:
    web = Web(empty_folder, **dict.fromkeys(VARIABLES, ""))
    assert web.serves_and_ends(), web.log()
    assert "Traceback" not in web.log()


@pytest.mark.parametrize("value", ["0", "-1", "many", "\u0663"])
def test_invalid_gunicorn_variables_do_not_stop_web(empty_folder: Path, value: str) -> None:
    names = ("WEB_CONCURRENCY", "GUNICORN_PID", "LISTEN_PID", "LISTEN_FDS")
    web = Web(empty_folder, **dict.fromkeys(names, value))
    assert web.serves_and_ends(), web.log()


def test_an_invalid_proxy_is_a_fault_that_names_the_variable(tmp_path: Path) -> None:
    error = end(tmp_path, "web", REDIS_URL=NOWHERE, FORWARDED_ALLOW_IPS="10.0.0.5, proxy")
    assert error.startswith("environment:1: FORWARDED_ALLOW_IPS holds something that is no address")
    assert "expected " in error


def test_run_treats_empty_variables_as_unset(tmp_path: Path) -> None:
    running = Running(tmp_path, **dict.fromkeys(VARIABLES, ""))
    try:
        wait_until(running.is_ready, running.log)
    finally:
        running.end()
    assert "Traceback" not in running.log()
    assert not list(tmp_path.glob("*.db"))


def test_web_without_a_writable_folder_reports_it(tmp_path: Path) -> None:
    error = end(tmp_path, "web", "--listen", "127.0.0.1:0", REDIS_URL=NOWHERE, limit=no_files)
    assert error.startswith("Error: no folder for temporary files can be written")
    assert "Set TMPDIR" in error


@pytest.mark.parametrize("command", ["web", "worker"])
@pytest.mark.parametrize("name", ["PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"])
def test_an_invalid_metrics_folder_is_named(tmp_path: Path, command: str, name: str) -> None:
    environ = {"REDIS_URL": NOWHERE, name: str(tmp_path / "nowhere")}
    error = end(tmp_path, command, **environ)
    assert error.startswith(f"Error: {name} names a folder that can't be written")
    assert str(tmp_path / "nowhere") in error


def test_web_keeps_its_metrics_in_memory_without_a_temporary_folder(tmp_path: Path) -> None:
    script = (
        "import os, tempfile\n"
        "from receiver.web.process_environment import provide_metrics_dir, remove_metrics_dir\n"
        "tempfile._candidate_tempdir_list = lambda: ['/nowhere']\n"
        "environ = {}\n"
        "provide_metrics_dir(environ)\n"
        "print(environ['PROMETHEUS_MULTIPROC_DIR'])\n"
        "remove_metrics_dir(environ)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("/dev/shm/receiver-metrics-")
    assert not Path(done.stdout.strip()).exists()


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("routing.yaml/deeper", "Not a directory"),
        ("/proc/nowhere", "No such file or directory"),
        ("full", "File exists"),
    ],
)
def test_run_without_a_usable_data_folder_reports_it(tmp_path: Path, folder: str, expected: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "metrics").write_text("a file in the place of the folder")
    error = end(tmp_path, "run", "--listen", "127.0.0.1:0", "--data-dir", folder, REDIS_URL=NOWHERE)
    assert error.startswith("Error: can't use the data folder ")
    assert expected in error
    assert "--data-dir" in error


def test_run_on_a_full_disk_reports_it(tmp_path: Path) -> None:
    error = end(tmp_path, "run", "--listen", "127.0.0.1:0", limit=no_files)
    assert error.startswith("Error: can't use the data folder ")


@pytest.mark.parametrize("name", ["valkey.lock", "valkey.log"])
def test_run_names_the_file_that_blocks_its_data_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / ".receiver" / name).mkdir(parents=True)
    error = end(tmp_path, "run", "--listen", "127.0.0.1:0")
    assert "Error: the embedded Valkey can't use " in error
    assert name in error


def test_a_data_folder_that_is_a_file_is_refused_by_its_flag(tmp_path: Path) -> None:
    (tmp_path / "routing.yaml").write_text(ROUTING)
    ended = call(tmp_path, "run", "--data-dir", "routing.yaml")
    assert ended.returncode == 2
    assert "--data-dir" in ended.stderr


@pytest.mark.parametrize("command", ["run", "web", "worker", "check"])
def test_a_deleted_current_folder_is_reported(tmp_path: Path, command: str) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    (tmp_path / "routing.yaml").write_text(ROUTING)
    started = Path.cwd()
    os.chdir(folder)
    try:
        folder.rmdir()
        ended = subprocess.run(
            [*RECEIVER, command],
            env=clean_environ(REDIS_URL=NOWHERE),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    finally:
        os.chdir(started)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "routing.yaml:1: the file can't be read" in ended.stdout + ended.stderr
