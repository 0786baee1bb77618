"""The folder where `receiver run` keeps its data: private, and for one `run` at a time."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from pathlib import Path

from receiver.errors import ReceiverError

logger = logging.getLogger(__name__)


class DataDirError(ReceiverError):
    """The data folder can't be used."""


class DataDir:
    """A data folder that is ours until `close()` or our end; made, with mode 700, when it is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.path = path.resolve()
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.path / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._acquire_lock()
        except OSError as error:
            raise self._describe_os_error(error) from error
        self._make_private()

    def close(self) -> None:
        """Let another `run` have the folder."""
        os.close(self._lock)

    def empty_metrics_dir(self) -> Path:
        """Return an empty folder for the numbers of this run's processes."""
        folder = self.path / "metrics"
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise self._describe_os_error(error) from error
        return folder

    def _describe_os_error(self, error: OSError) -> DataDirError:
        reason = error.strerror or type(error).__name__
        return DataDirError(
            f"can't use the data folder {self.path}: {reason}. "
            "Make it a folder that this user can write to, or choose another with --data-dir"
        )

    def _acquire_lock(self) -> None:
        try:
            # The lock goes with us, even at kill -9; the number in the file is only for people.
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

    def _make_private(self) -> None:
        try:
            self.path.chmod(0o700)
        except PermissionError:  # a mounted volume of somebody else's that we may write to
            logger.warning("data folder is not private", extra={"fields": {"path": str(self.path)}})
