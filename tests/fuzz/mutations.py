"""Mutated bodies: real ones with random changes, and bytes of any kind.

FUZZ_EXAMPLES sets how many of them each test tries; a longer run finds more. A failure prints how to
reproduce it (`@reproduce_failure`).
"""

from __future__ import annotations

import json
import os
import random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "80"))

FUZZED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=False,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


def _nested(depth: int) -> object:
    inner: object = "deep"
    for n in range(depth):
        inner = [inner] if n % 2 else {"a": inner}
    return inner


# Values that have caused errors in similar programs.
NASTY: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    2**63,
    2**70,
    -(2**70),
    1e308,
    float("inf"),
    float("nan"),
    "",
    " ",
    "\x00",
    "\n",
    "\ud800",
    "a\udfffb",
    "\u202e\u200b\ufeff",
    "é" * 300,
    "x" * 5000,
    "😀" * 2000,
    "<!channel> <@U0ALICE1> <https://a|b> &amp; `*_~",
    "<script>alert(1)</script>",
    "javascript:alert(1)",
    "../../../etc/passwd",
    "%s %n {} {0.__class__} ${HOME} {{7*7}}",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    "2026-11-23T12:00:00+99:99",
    "-1",
    "firing",
    "resolved",
    "incident.resolved",
    [],
    {},
    [[]],
    [None],
    {"": ""},
    {"a": {"b": [1, {"c": None}]}},
    _nested(80),
    {f"label{n}": "v" for n in range(200)},
    list(range(300)),
]


def _places(value: object, found: list[Any] | None = None) -> list[Any]:
    """Return every list and object in *value*, itself first."""
    found = [] if found is None else found
    if isinstance(value, dict | list):
        found.append(value)
        for inner in value.values() if isinstance(value, dict) else value:
            _places(inner, found)
    return found


def mutate(rng: random.Random, body: Any, times: int) -> Any:
    """Change *body* in *times* places."""
    for _ in range(times):
        places = _places(body)
        if not places or rng.random() < 0.02:
            body = json.loads(json.dumps(rng.choice(NASTY)))
            continue
        place = rng.choice(places)
        new = rng.choice([*NASTY, *places[:20]])
        new = json.loads(json.dumps(new))  # a copy without reference cycles
        if isinstance(place, dict):
            keys = list(place) or ["a"]
            key = rng.choice(keys)
            step = rng.randrange(5)
            if step == 0:
                place.pop(key, None)
            elif step == 1:
                place[str(rng.choice(NASTY))[:2000]] = new
            elif step == 2:
                place[rng.choice(["status", "labels", "alerts", "type", "id", "value"])] = new
            else:
                place[key] = new
        elif place and rng.random() < 0.3:
            place.pop(rng.randrange(len(place)))
        elif place and rng.random() < 0.5:
            place[rng.randrange(len(place))] = new
        else:
            place.insert(rng.randrange(len(place) + 1), new)
    return body


def scramble(rng: random.Random, body: bytes) -> bytes:
    """Cut, duplicate, overwrite or re-encode some of the bytes."""
    if rng.random() < 0.1:
        return body.decode("utf-8", "replace").encode(rng.choice(["utf-16", "utf-32-le", "utf-8-sig"]))
    for _ in range(rng.randrange(1, 4)):
        start = rng.randrange(len(body) + 1)
        end = min(len(body), start + rng.choice([0, 1, 1, 5, 50]))
        piece = rng.choice(
            [b"", b"\x00", b"\xff", b'"', b"{", b"]", b",", b"NaN", b"\\ud800", body[start:end] * 3]
        )
        body = body[:start] + piece + body[end:]
    return body


@st.composite
def bodies(draw: st.DrawFn, originals: list[Any]) -> bytes:
    """Draw a body mutated from one of *originals*, or bytes of any kind."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.binary(max_size=300))
    rng = random.Random(draw(st.integers(0, 2**32)))
    original = json.loads(json.dumps(rng.choice(originals)))
    body = json.dumps(mutate(rng, original, draw(st.integers(0, 6)))).encode()
    return scramble(rng, body) if kind == 1 else body
