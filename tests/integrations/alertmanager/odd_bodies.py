"""The largest webhook bodies that need repair: each costs time or memory in its own way.

`python -m tests.integrations.alertmanager.odd_bodies` parses them all and prints the peak memory of the
process in MiB.
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
    """Return as many alerts like *piece*, with *values* JSON values each, as the limits allow."""
    return b'{"alerts":[' + piece * min(_ROOM // len(piece), _VALUES // values) + b'{"labels":{"z":1}}]}'


def _wrap(text: bytes) -> bytes:
    """Return a body with one alert and *text* in a label."""
    return b'{"alerts":[{"labels":{"n":1,"a":"' + text + b'"}}]}'


def _list_labels(number: int) -> bytes:
    return b",".join(b'"k%d":1' % n for n in range(number))


BODIES: dict[str, Callable[[], bytes]] = {
    "odd alerts": lambda: _fill(
        b'{"status":"firing","labels":{"a":1,"b":"x"},"annotations":{},"startsAt":"2026-11-29T00:00:00Z"},', 7
    ),
    "long labels": lambda: _fill(b'{"labels":{"a":1,"b":"' + b"x" * 300 + b'"}},', 4),
    "many labels": lambda: _fill(b'{"labels":{' + _list_labels(120) + b"}},", 123),
    "empty alerts": lambda: _fill(b'{"labels":{}},', 3),
    "numbers": lambda: _fill(b"7,", 1),
    "escapes": lambda: _wrap(b"\\u00e9" * (_ROOM // 6)),
    "emoji": lambda: _wrap("😀".encode() * (_ROOM // 4)),
    "no UTF-8": lambda: _wrap(b"\xff" * _ROOM),
    "UTF-16": lambda: _wrap(b"x" * (_ROOM // 2)).decode().encode("utf-16"),
    "digits": lambda: b'{"alerts":[{"labels":{"a":' + b"9" * _ROOM + b"}}]}",
    "a label for each value": lambda: b'{"alerts":[{"labels":{' + _list_labels(_VALUES) + b"}}]}",
    "a field for each value": lambda: b"{" + _list_labels(_VALUES) + b',"alerts":[{"labels":{"a":1}}]}',
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
    # Not by getrusage, which includes the memory of the process that started this one.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) // 1024)
