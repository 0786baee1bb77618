"""No two servers of the tests get the same port."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from tests.support.ports import free_port

HOME = Path(__file__).parents[2]


def test_no_port_is_returned_twice_although_none_is_used_yet() -> None:
    ports = [free_port() for _ in range(100)]
    assert len(set(ports)) == 100


def test_a_port_in_use_is_not_returned() -> None:
    with socket.socket() as server:
        taken = free_port()
        server.bind(("127.0.0.1", taken))
        assert taken not in [free_port() for _ in range(700)]  # more than there are


def test_two_processes_of_pytest_xdist_return_different_ports() -> None:
    code = "from tests.support.ports import free_port; print(*(free_port() for _ in range(200)))"
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTEST_XDIST_WORKER": worker},
            cwd=HOME,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for worker in ("gw0", "gw1")
    ]
    assert not set(found[0]) & set(found[1])


def test_the_kernel_gives_no_such_port_to_a_connection() -> None:
    ranges = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(ranges.read_text().split()[0]) if ranges.exists() else 49_152  # of macOS
    assert free_port() + 10_000 < lowest
