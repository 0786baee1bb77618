"""The library that shifts the wall clock shifts nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD and glibc are Linux' own"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed (Debian: apt install gcc)"),
]

SOURCE = Path(__file__).with_name("shifted_clock.c")
DAYS_400_S = 400 * 86400

# Each wait is until a time 0.3 s ahead by the clock that its program reads.
PROGRAM = """
import ctypes, json, subprocess, sys, threading, time

libc = ctypes.CDLL(None, use_errno=True)

class Timespec(ctypes.Structure):
    _fields_ = [("s", ctypes.c_long), ("ns", ctypes.c_long)]

def soon(clock):
    at = time.clock_gettime_ns(clock) + 300_000_000
    return ctypes.byref(Timespec(at // 10**9, at % 10**9))

def measure(wait):
    begun = time.monotonic()
    wait()
    return time.monotonic() - begun

def sem_timedwait():
    sem = ctypes.create_string_buffer(64)
    libc.sem_init(sem, 0, 0)
    libc.sem_timedwait(sem, soon(time.CLOCK_REALTIME))

def cond_timedwait(clock):
    cond, mutex, attr = (ctypes.create_string_buffer(64) for _ in range(3))
    libc.pthread_condattr_init(attr)
    libc.pthread_condattr_setclock(attr, clock)
    libc.pthread_cond_init(cond, attr)
    libc.pthread_mutex_init(mutex, None)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_cond_timedwait(cond, mutex, soon(clock))

def mutex_timedlock():
    mutex = ctypes.create_string_buffer(64)
    libc.pthread_mutex_init(mutex, None)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_timedlock(mutex, soon(time.CLOCK_REALTIME))

def locked():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire(timeout=0.3)

TIMER_ABSTIME = 1
print(json.dumps({
    "wall": time.time(),
    "clock_gettime": time.clock_gettime(time.CLOCK_REALTIME),
    "gmtime": time.mktime(time.localtime()),
    "child": float(subprocess.check_output(["date", "+%s"])),
    "monotonic": time.monotonic(),
    "waits": {
        "time.sleep": measure(lambda: time.sleep(0.3)),
        "Event.wait": measure(lambda: threading.Event().wait(0.3)),
        "Lock.acquire": measure(locked),
        "sem_timedwait": measure(sem_timedwait),
        "cond, wall clock": measure(lambda: cond_timedwait(time.CLOCK_REALTIME)),
        "cond, monotonic": measure(lambda: cond_timedwait(time.CLOCK_MONOTONIC)),
        "mutex": measure(mutex_timedlock),
        "nanosleep, wall clock": measure(
            lambda: libc.clock_nanosleep(time.CLOCK_REALTIME, TIMER_ABSTIME, soon(time.CLOCK_REALTIME), None)
        ),
        "nanosleep, monotonic": measure(
            lambda: libc.clock_nanosleep(time.CLOCK_MONOTONIC, TIMER_ABSTIME, soon(time.CLOCK_MONOTONIC), None)
        ),
    },
}))
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, compiled as `.ci/run` compiles it."""
    built = tmp_path_factory.mktemp("shim") / "shifted_clock.so"
    flags = ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *flags, "-o", str(built), str(SOURCE), "-ldl"], check=True)
    return built


@pytest.mark.parametrize("shift_s", [DAYS_400_S, -DAYS_400_S, 0])
def test_the_wall_clock_is_shifted_and_no_wait_is(shim: Path, shift_s: int) -> None:
    # These tests may themselves run with a shifted clock.
    plain = {
        name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "LD_SHIFTED_CLOCK_S")
    }
    here = read_real_clock(plain)
    environ = plain | {"LD_PRELOAD": str(shim), "LD_SHIFTED_CLOCK_S": str(shift_s)}
    clocks = json.loads(subprocess.check_output([sys.executable, "-c", PROGRAM], env=environ, timeout=60))
    for name in ("wall", "clock_gettime", "gmtime", "child"):
        assert clocks[name] == pytest.approx(here + shift_s, abs=30), name
    assert clocks["monotonic"] == pytest.approx(time.monotonic(), abs=30)
    assert {name: took for name, took in clocks["waits"].items() if not 0.29 <= took < 5} == {}


def read_real_clock(environ: dict[str, str]) -> float:
    return float(subprocess.check_output(["date", "+%s"], env=environ))
