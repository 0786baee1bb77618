"""The environment variables of gunicorn and prometheus_client, checked before either is imported."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import MutableMapping
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path

from receiver.errors import ConfigError, Problem, ReceiverError

# systemd and gunicorn's own re-execution set the last three; --workers says how many workers there are.
_NUMBERS = ("WEB_CONCURRENCY", "GUNICORN_PID", "LISTEN_PID", "LISTEN_FDS")
_PROXIES = "FORWARDED_ALLOW_IPS"


def correct_gunicorn_variables(environ: MutableMapping[str, str]) -> None:
    """Remove variables from *environ* that would make gunicorn fail.

    Raises ConfigError where FORWARDED_ALLOW_IPS can't be parsed.
    """
    for name in _NUMBERS:
        value = environ.get(name, "").strip()
        if not (value.isascii() and value.isdigit() and int(value)):
            environ.pop(name, None)
    proxies = environ.get(_PROXIES, "").strip()
    if not proxies:
        environ.pop(_PROXIES, None)
        return
    try:
        for proxy in proxies.split(","):
            if proxy.strip() != "*":
                ip_network(proxy.strip())
    except ValueError:
        what = f"{_PROXIES} holds something that is no address and no network"
        expected = "those of your proxies, separated by commas, like 10.0.0.5,10.1.0.0/16"
        raise ConfigError([Problem("environment", 1, what, expected)]) from None


VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "receiver-metrics-"
# In memory, and writable in most containers whose own file system is read-only.
_SHARED_MEMORY = "/dev/shm"  # noqa: S108  # we make a folder of our own in it, by mkdtemp
_PROBE_BYTES = 4096


class MetricsDirError(ReceiverError):
    """There is no writable folder for the metrics."""


def check_metrics_dir(environ: MutableMapping[str, str]) -> None:
    """Raise MetricsDirError where the variable names a folder that is not writable.

    An empty variable is removed: prometheus_client would take it for the current folder.
    """
    for name in (VARIABLE, VARIABLE.lower()):
        given = environ.get(name, "").strip()
        if not given:
            environ.pop(name, None)
            continue
        try:
            _try_writing(given)
        except OSError as error:
            raise MetricsDirError(
                f"{name} names a folder that can't be written ({_reason(error)}): {given}. "
                f"Make the folder writable, or unset {name}"
            ) from error


def provide_metrics_dir(environ: MutableMapping[str, str]) -> None:
    """Make *environ* name a writable folder, a new one where it names none; raises MetricsDirError."""
    check_metrics_dir(environ)
    if VARIABLE not in environ:
        environ[VARIABLE] = environ.get(VARIABLE.lower()) or _make_folder()


def remove_metrics_dir(environ: MutableMapping[str, str]) -> None:
    """Remove the folder if `provide_metrics_dir` created it."""
    folder = Path(environ[VARIABLE])
    if folder.name.startswith(_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)


def _make_folder() -> str:
    parents = [_SHARED_MEMORY]
    with suppress(OSError):  # tempfile finds no folder that it can write to
        parents.insert(0, tempfile.gettempdir())
    reasons = []
    for parent in parents:
        folder = ""
        try:
            folder = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
            _try_writing(folder)
        except OSError as error:
            reasons.append(f"{parent}: {_reason(error)}")
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
        else:
            return folder
    raise MetricsDirError(
        f"no folder for temporary files can be written ({'; '.join(reasons)}). "
        f"Set TMPDIR or {VARIABLE} to one that can, or mount a tmpfs on /tmp"
    )


def _try_writing(folder: str) -> None:
    """Write some bytes: only that reveals a full disk or a limit on file sizes."""
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(bytes(_PROBE_BYTES))


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
