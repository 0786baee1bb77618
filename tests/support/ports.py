"""Ports for the servers that tests start, so that no two get the same one.

A port that the kernel chooses may be given away again before its server listens, or while a test restarts the
server: to another test, or as the local port of any connection. Ours are below the range from which the kernel
chooses (https://docs.kernel.org/networking/ip-sysctl.html, ip_local_port_range), and each process of pytest-xdist
takes those of its own part.
"""

from __future__ import annotations

import itertools
import os
import random
import socket

_FIRST = 10_000
_PARTS = 16
_PART_SIZE = 10_000 // _PARTS
# A node of a Redis Cluster uses its port + 10,000 for the bus, which is below the kernel's range, too.
BUS_OFFSET = 10_000


def _list_ports() -> list[int]:
    """Return the ports of this process, from a random one on: another run of the tests takes others first."""
    part = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PARTS
    first, turn = _FIRST + part * _PART_SIZE, random.randrange(_PART_SIZE)
    return [first + (turn + n) % _PART_SIZE for n in range(_PART_SIZE)]


_ports = itertools.cycle(_list_ports())


def free_port() -> int:
    """Return a port of loopback that is free and not yet returned, whose port + 10,000 is free too."""
    return next(port for port in _ports if _is_free(port) and _is_free(port + BUS_OFFSET))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
