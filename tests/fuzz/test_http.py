"""Any bytes on a connection: never a 500, never a traceback, and the next request is served."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutations import FUZZED, scramble
from tests.web.test_gunicorn import Serving

REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: y\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET http://a/ HTTP/1.0\r\nX-Forwarded-Proto: https\r\nForwarded: for=1\r\n\r\n",
]
PIECES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\x00",
    b"\xff",
    b": ",
    b" ",
    b"HTTP/9.9",
    b"Content-Length: -1\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"SCRIPT_NAME: /x\r\n",
    b"fffffffffffffffff\r\n",
    b"%zz",
    b"a" * 9000,
]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    serving = Serving(tmp_path)
    serving.ask()
    yield serving
    serving.process.kill()
    serving.process.wait(5)


def test_no_bytes_cause_an_error(serving: Serving) -> None:
    @FUZZED
    @given(st.integers(0, 2**32))
    def send(seed: int) -> None:
        rng = random.Random(seed)
        request = b"".join(rng.choices(REQUESTS, k=rng.randrange(1, 4)))
        for _ in range(rng.randrange(4)):
            start = rng.randrange(len(request) + 1)
            request = request[:start] + rng.choice(PIECES) + request[start + rng.choice([0, 0, 2, 9]) :]
        request = scramble(rng, request) if rng.random() < 0.3 else request
        answer = serving.exchange(request)
        assert not re.search(rb"^HTTP/1.1 500 ", answer, re.MULTILINE), request
        assert b"text/html" not in answer, request
        assert "Traceback" not in serving.log(), request

    send()
    assert serving.ask().startswith("first")
