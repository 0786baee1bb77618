"""The largest bodies that have to be mended: each costs time or memory in a way of its own.

`python -m tests.integrations.alertmanager.odd_bodies` reads them all and prints how many MiB the process took at most.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from receiver.errors import PayloadError
from receiver.integrations import payload
from receiver.integrations.alertmanager.webhook import parse_webhook

NOW = 1_795_435_200.0
_ROOM = payload.MAX_REPAIRED - 1024
_VALUES = payload.MAX_REPAIRED_VALUES - 100


def _fill(piece: bytes, values: int) -> bytes:
    """Return as many alerts like *piece* as the bounds allow; each has so many values."""
    return b'{"alerts":[' + piece * min(_ROOM // len(piece), _VALUES // values) + b'{"labels":{"z":1}}]}'


def _hold(text: bytes) -> bytes:
    """Return one alert with *text* in a label."""
    return b'{"alerts":[{"labels":{"n":1,"a":"' + text + b'"}}]}'


def _count_to(number: int) -> bytes:
    return b",".join(b'"k%d":1' % n for n in range(number))


BODIES: dict[str, Callable[[], bytes]] = {
    "odd alerts": lambda: _fill(
        b'{"status":"firing","labels":{"a":1,"b":"x"},"annotations":{},"startsAt":"2026-11-29T00:00:00Z"},', 7
    ),
    "long labels": lambda: _fill(b'{"labels":{"a":1,"b":"' + b"x" * 300 + b'"}},', 4),
    "many labels": lambda: _fill(b'{"labels":{' + _count_to(120) + b"}},", 123),
    "empty alerts": lambda: _fill(b'{"labels":{}},', 3),
    "numbers": lambda: _fill(b"7,", 1),
    "escapes": lambda: _hold(b"\\u00e9" * (_ROOM // 6)),
    "emoji": lambda: _hold("😀".encode() * (_ROOM // 4)),
    "no UTF-8": lambda: _hold(b"\xff" * _ROOM),
    "UTF-16": lambda: _hold(b"x" * (_ROOM // 2)).decode().encode("utf-16"),
    "digits": lambda: b'{"alerts":[{"labels":{"a":' + b"9" * _ROOM + b"}}]}",
    "a label for each value": lambda: b'{"alerts":[{"labels":{' + _count_to(_VALUES) + b"}}]}",
    "a field for each value": lambda: b"{" + _count_to(_VALUES) + b',"alerts":[{"labels":{"a":1}}]}',
    "depth": lambda: b'{"alerts":[' + b"[" * _VALUES + b"]" * _VALUES + b"]}",
    "no end": lambda: b'{"alerts":[{"labels":{"a":"' + b"x" * _ROOM,
    "long annotations": lambda: json.dumps(
        {
            "alerts": [
                {"labels": {"n": n}, "annotations": {f"k{i}": "v" * 7000 for i in range(100)}}
                for n in range(11)
            ]
        }
    ).encode(),
}


def read_all() -> Iterator[str]:
    for name, write in BODIES.items():
        with suppress(PayloadError):
            parse_webhook(write(), "", NOW)
        yield name


if __name__ == "__main__":
    for _ in read_all():
        pass
    # Not by getrusage: what the process that started this one took counts there, too.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) // 1024)
