"""Malformed HTTP requests, on gunicorn as `receiver web` starts it: the error response quotes nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.client import HTTPResponse

import pytest

from tests.web.test_gunicorn import Serving

# This text must appear in no response and no log: it may be a token, or an attacker's HTML.
SAID = b"<b>s3cret</b>"
GET = b"GET /" + SAID + b" HTTP/1.1\r\nHost: a\r\n"
CHUNKED = GET + b"Transfer-Encoding: chunked\r\n\r\n"

MALFORMED_REQUESTS = {
    "no request line": (SAID + b"\r\n\r\n", 400, "bad_request", "METHOD PATH HTTP/1.1"),
    "bare line feeds": (b"GET / HTTP/1.1\nX: " + SAID + b"\n\n", 400, "bad_request", "CR LF"),
    "no method": (b"a" + SAID + b" / HTTP/1.1\r\n\r\n", 400, "bad_request", "GET or POST"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SAID, 400, "bad_request", "HTTP/1.1"),
    "another version": (
        b"GET /" + SAID + b" HTTP/9.9\r\n\r\n",
        505,
        "version_not_supported",
        "send HTTP/1.1",
    ),
    "a long address": (b"GET /" + SAID * 9000 + b" HTTP/1.1\r\n\r\n", 414, "uri_too_long", "4094 bytes"),
    "a long header": (GET + b"X: " + SAID * 9000 + b"\r\n\r\n", 431, "headers_too_large", "8190 bytes"),
    "many headers": (GET + (b"X: " + SAID + b"\r\n") * 65 + b"\r\n", 431, "headers_too_large", "64 headers"),
    "no header": (GET + b"Authorization " + SAID + b"\r\n\r\n", 400, "bad_request", "Name: value"),
    "no header name": (GET + SAID + b": a\r\n\r\n", 400, "bad_request", "Name: value"),
    "a folded header": (GET + b"X: a\r\n " + SAID + b"\r\n\r\n", 400, "bad_request", "a line of its own"),
    "two lengths": (GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "bad_request", "lengths"),
    "two ways to tell the length": (
        GET + b"Content-Length: 1\r\n" + CHUNKED[len(GET) :],
        400,
        "bad_request",
        "either",
    ),
    "an unknown coding": (
        GET + b"Transfer-Encoding: " + SAID + b", chunked\r\n\r\n",
        501,
        "not_implemented",
        "as it is, or chunked",
    ),
    "an unknown expectation": (
        GET + b"Expect: " + SAID + b"\r\n\r\n",
        417,
        "expectation_failed",
        "leave Expect out",
    ),
    "https and not": (
        GET + b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n\r\n",
        400,
        "bad_request",
        "X-Forwarded-Proto",
    ),
    "no chunk": (CHUNKED + SAID + b"\r\n\r\n", 400, "bad_request", "hexadecimal"),
    "a chunk that is too long": (
        CHUNKED + b"2\r\n" + SAID + b"\r\n0\r\n\r\n",
        400,
        "bad_request",
        "hexadecimal",
    ),
    "long trailers": (
        CHUNKED + b"0\r\nX: " + SAID * 9000 + b"\r\n\r\n",
        431,
        "headers_too_large",
        "send less",
    ),
}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    serving = Serving(tmp_path_factory.mktemp("serving"))
    serving.ask()
    yield serving
    serving.process.kill()
    serving.process.wait(5)


def exchange(serving: Serving, request: bytes) -> tuple[HTTPResponse, bytes, bytes]:
    """Return the response to a request, its body, and the data after it until the connection is closed.

    A reset instead of a close fails the test: a client could lose the response by it.
    """
    with socket.create_connection(("127.0.0.1", serving.port), timeout=5) as client:
        client.sendall(request)
        response = HTTPResponse(client)
        response.begin()
        return response, response.read(), client.recv(1)


@pytest.mark.parametrize(
    ("request_", "status", "kind", "words"), MALFORMED_REQUESTS.values(), ids=MALFORMED_REQUESTS
)
def test_a_malformed_request_is_answered_as_json_and_the_connection_is_closed(
    serving: Serving, request_: bytes, status: int, kind: str, words: str
) -> None:
    response, body, behind = exchange(serving, request_)
    assert (response.status, response.getheader("Content-Type")) == (status, "application/json")
    assert response.getheader("Connection") == "close"
    assert behind == b""
    error = json.loads(body)
    assert error.keys() == {"error"}
    assert error["error"].keys() == {"type", "message"}
    assert error["error"]["type"] == kind
    assert words in error["error"]["message"]
    assert b"s3cret" not in body
    assert len(body) < 300


def test_the_log_names_the_error_and_quotes_nothing_of_the_request(serving: Serving) -> None:
    for request, *_ in MALFORMED_REQUESTS.values():
        serving.exchange(request)
    lines = [json.loads(line) for line in serving.log().splitlines()]
    refused = [line for line in lines if line["event"] == "request could not be read"]
    assert {line["from"] for line in refused} == {"127.0.0.1"}
    assert {line["status"] for line in refused} == {status for _, status, *_ in MALFORMED_REQUESTS.values()}
    assert "s3cret" not in serving.log()
    assert not any("error" in line for line in refused)  # no traceback


def test_a_valid_request_before_it_on_the_connection_is_answered_first(serving: Serving) -> None:
    right = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    answers = serving.exchange(right + SAID + b"\r\n\r\n")
    assert answers.startswith(b"HTTP/1.1 200 ")
    assert answers.count(b"HTTP/1.1 400 ") == 1


def test_an_unhandled_error_is_500_without_its_text(serving: Serving) -> None:
    response, body, behind = exchange(serving, b"GET /fault HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (response.status, behind) == (500, b"")
    assert json.loads(body)["error"]["type"] == "internal"
    assert b"nobody" not in body


def test_a_client_can_not_set_the_script_name(serving: Serving) -> None:
    response, *_ = exchange(
        serving, b"GET / HTTP/1.1\r\nHost: a\r\nSCRIPT_NAME: /elsewhere\r\nConnection: close\r\n\r\n"
    )
    assert response.status == 200
